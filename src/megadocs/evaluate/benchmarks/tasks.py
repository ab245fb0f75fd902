"""The benchmarks: how a record becomes an item, in the prompt formats of lm-evaluation-harness.

An item is one question: for every choice a context and the continuation whose likelihood counts. The formats (the
"Question: ...\\nAnswer:" lines, the order of SciQ's choices, HellaSwag's clean-up) are those of lm-evaluation-harness
0.4, as numbers are compared across papers through them; `PROMPT_VERSION` goes up when one changes here.

    items = [TASKS["piqa"].build_item(i, record) for i, record in enumerate(records)]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megadocs.errors import InputError

PROMPT_VERSION = 1

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One multiple-choice question with C choices.

    Attributes:
        id: the record's id, or its number in the file.
        contexts: C texts that come before the scored part (usually the same text C times).
        continuations: C texts that are scored; each starts with its space.
        lengths: characters of each choice, for `acc_norm`.
        gold: index of the right choice.
    """

    id: str
    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    lengths: tuple[int, ...]
    gold: int


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark.

    Attributes:
        name: as in the recipe and in lm-evaluation-harness.
        splits: splits it may be scored on, the customary one first.
        hub_name: dataset on the hub, with `hub_folder` where it holds several.
        fields: keys a record must have.
        build: record -> (contexts, continuations, choice texts, gold).
    """

    name: str
    splits: tuple[str, ...]
    hub_name: str
    hub_folder: str | None
    fields: tuple[str, ...]
    build: Callable[[Record], tuple[list[str], list[str], list[str], int]]

    def build_item(self, number: int, record: Record, *, where: str | None = None) -> Item:
        """The item of a record, `number` from 0; `where` is its file, for messages.

        Raises:
            InputError: the record is not one of this benchmark.
        """
        where = where or self.name
        try:
            contexts, continuations, choices, gold = self.build(record)
            "".join([*contexts, *continuations]).encode("utf-8")  # half of a surrogate pair cannot be encoded
        except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
            raise InputError(
                f"record {number} is not a {self.name} record: {type(error).__name__} {error}",
                where=where,
                remedy=f"a record has the fields {', '.join(self.fields)}",
            ) from error
        if not 0 <= gold < len(choices) or not all(choices):
            raise InputError(
                f"record {number} has an empty choice, or none that is the right one",
                where=where,
                remedy="give every record its choices and the right one among them, or leave it out",
            )
        name = str(record.get("id", number))
        return Item(name, tuple(contexts), tuple(continuations), tuple(len(choice) for choice in choices), gold)


def _text(value: Any) -> str:
    """The value, which is text: an f-string would score the word "None" for a null."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} stands where a text is expected")
    return value


def _index(value: Any) -> int:
    """A choice's number, which comes as 1 or "1": `int` would take 0.9 for 0."""
    if not isinstance(value, int | str):
        raise TypeError(f"{value!r} stands where the number of a choice is expected")
    return int(value)


def _texts(values: Any) -> list[str]:
    """A list of texts: `list` would take a text for a list of letters."""
    if not isinstance(values, list | tuple):
        raise TypeError(f"{values!r} stands where a list of choices is expected")
    return [_text(value) for value in values]


def _shared_context(context: str, choices: list[str], gold: int) -> tuple[list[str], list[str], list[str], int]:
    return [context] * len(choices), [f" {choice}" for choice in choices], choices, gold


def _piqa(record: Record) -> tuple[list[str], list[str], list[str], int]:
    return _shared_context(
        f"Question: {_text(record['goal'])}\nAnswer:", _texts([record["sol1"], record["sol2"]]), _index(record["label"])
    )


def _sciq(record: Record) -> tuple[list[str], list[str], list[str], int]:
    context = f"{record['support'].lstrip()}\nQuestion: {_text(record['question'])}\nAnswer:"
    choices = [_text(record[key]) for key in ("distractor1", "distractor2", "distractor3", "correct_answer")]
    return _shared_context(context, choices, 3)


def _arc(record: Record) -> tuple[list[str], list[str], list[str], int]:
    """The dataset's own records, or prepared ones with `query`, a list of `choices` and `gold`."""
    if "query" in record:
        return _shared_context(_text(record["query"]), _texts(record["choices"]), _index(record["gold"]))
    labels, texts = list(record["choices"]["label"]), _texts(record["choices"]["text"])
    return _shared_context(f"Question: {_text(record['question'])}\nAnswer:", texts, labels.index(record["answerKey"]))


def _hellaswag(record: Record) -> tuple[list[str], list[str], list[str], int]:
    context = f"{_text(record['activity_label'])}: {_text(record['ctx_a'])} {record['ctx_b'].capitalize()}"
    return _shared_context(
        _wikihow_clean(context), [_wikihow_clean(e) for e in _texts(record["endings"])], _index(record["label"])
    )


def _wikihow_clean(text: str) -> str:
    """Without the marks that WikiHow's articles left in HellaSwag."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def _winogrande(record: Record) -> tuple[list[str], list[str], list[str], int]:
    """The blank is filled with each option; what is scored is the rest of the sentence."""
    before, rest = record["sentence"].split("_", 1)
    contexts = [before + _text(record[key]) for key in ("option1", "option2")]
    return contexts, [f" {rest.strip()}"] * 2, contexts, _index(record["answer"]) - 1


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("piqa", ("validation",), "baber/piqa", None, ("goal", "sol1", "sol2", "label"), _piqa),
        Task(
            "sciq",
            ("test", "validation"),
            "allenai/sciq",
            None,
            ("support", "question", "distractor1", "distractor2", "distractor3", "correct_answer"),
            _sciq,
        ),
        Task(
            "arc_easy",
            ("test", "validation"),
            "allenai/ai2_arc",
            "ARC-Easy",
            ("question", "choices", "answerKey"),
            _arc,
        ),
        Task(
            "arc_challenge",
            ("test", "validation"),
            "allenai/ai2_arc",
            "ARC-Challenge",
            ("question", "choices", "answerKey"),
            _arc,
        ),
        Task(
            "hellaswag",
            ("validation",),
            "Rowan/hellaswag",
            None,
            ("activity_label", "ctx_a", "ctx_b", "endings", "label"),
            _hellaswag,
        ),
        Task(
            "winogrande",
            ("validation",),
            "allenai/winogrande",
            "winogrande_xl",
            ("sentence", "option1", "option2", "answer"),
            _winogrande,
        ),
    )
}
