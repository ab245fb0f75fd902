"""Records become items in the prompt formats that other papers use."""

from __future__ import annotations

import pytest

from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.tasks import TASKS

RECORDS = {
    "piqa": {"goal": "dry a cup", "sol1": "use a towel", "sol2": "use a fork", "label": 0},
    "sciq": {
        "support": " Water boils.",
        "question": "What boils?",
        "distractor1": "rock",
        "distractor2": "iron",
        "distractor3": "gold",
        "correct_answer": "water",
    },
    "arc_easy": {
        "id": "Q7",
        "question": "Which is hot?",
        "choices": {"text": ["ice", "fire"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "hellaswag": {
        "activity_label": "Cooking",
        "ctx_a": "A cook [step] stirs.",
        "ctx_b": "he",
        "endings": ["eats [title] it.", "flies  away.", "x", "y"],
        "label": "2",
    },
    "winogrande": {"sentence": "Ann beat Bea as _ was faster.", "option1": "Ann", "option2": "Bea", "answer": "1"},
}


def build(name: str):
    return TASKS[name].build_item(3, RECORDS[name])


def test_questions_and_choices():
    piqa, sciq, arc = build("piqa"), build("sciq"), build("arc_easy")
    assert piqa.contexts == ("Question: dry a cup\nAnswer:",) * 2
    assert piqa.continuations == (" use a towel", " use a fork")
    assert (piqa.lengths, piqa.gold, piqa.id) == ((11, 10), 0, "3")
    assert sciq.contexts[0] == "Water boils.\nQuestion: What boils?\nAnswer:"
    assert (sciq.continuations[3], sciq.gold) == (" water", 3)
    assert (arc.id, arc.gold, arc.contexts[0]) == ("Q7", 1, "Question: Which is hot?\nAnswer:")


def test_prepared_arc_records_give_the_same_item():
    prepared = {"id": "Q7", "query": "Question: Which is hot?\nAnswer:", "choices": ["ice", "fire"], "gold": 1}
    assert TASKS["arc_easy"].build_item(0, prepared) == build("arc_easy")


def test_hellaswag_is_cleaned_and_winogrande_scores_the_rest_of_the_sentence():
    item = build("hellaswag")
    assert item.contexts[0] == "Cooking: A cook stirs. He"
    assert item.continuations[:2] == (" eats. it.", " flies away.")
    item = build("winogrande")
    assert item.contexts == ("Ann beat Bea as Ann", "Ann beat Bea as Bea")
    assert item.continuations == (" was faster.",) * 2
    assert item.gold == 0


@pytest.mark.parametrize("name", ["piqa", "sciq", "arc_easy", "hellaswag", "winogrande"])
def test_a_foreign_record_is_refused(name):
    with pytest.raises(InputError, match=f"record 5 is not a {name} record"):
        TASKS[name].build_item(5, {"text": "no question"})
    with pytest.raises(InputError, match="no usable choices"):
        TASKS["piqa"].build_item(5, {**RECORDS["piqa"], "label": 2})
