"""Where prompts cut documents, and what identities say of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from megadocs.kinds import equal_cuts, task_kind
from megadocs.text.tokenizer import train_tokenizer

TEXT = "The first sentence of several. A second one follows it, with a few more words; then a third and last one."
TRAINED = train_tokenizer([TEXT], 280)
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=80)


def cuts(text: str, num_cuts: int) -> list[int]:
    return equal_cuts(TRAINED.offsets(text), text, num_cuts)


def test_cuts_are_at_equal_token_counts() -> None:
    starts = [start for start, _ in TRAINED.offsets(TEXT)]
    assert cuts(TEXT, 3) == [starts[index * len(starts) // 4] for index in (1, 2, 3)]


@given(ANY_TEXT, st.integers(1, 40))
def test_cuts_are_increasing_and_inside(text: str, num_cuts: int) -> None:
    found = cuts(text, num_cuts)
    assert found == sorted(set(found))
    assert all(0 < cut < len(text) for cut in found)
    assert len(found) <= min(num_cuts, max(0, len(TRAINED.offsets(text)) - 1))


def test_cuts_of_short_texts() -> None:
    assert cuts("", 3) == []
    assert cuts("é", 3) == []  # two tokens, one character
    assert len(cuts("x y", 8)) == 2


def test_only_tasks_that_do_not_nest_say_their_number_of_generations() -> None:
    assert task_kind("rephrase").place(None, 4) == ""
    assert task_kind("thought").place(17, 4) == "17/4"
