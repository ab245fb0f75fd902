"""Continuations: cut at half of the document, the second half never shown, rows that begin with the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinds.toy import Toy, run_toy
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.generate import plan_requests
from megadocs.kinds import Tags, Written, ordering_spec, row_kind
from megadocs.recipe import GenerateConfig

TASK = {"continuation": {"num_generations": 2, "max_new_tokens": 60}}
TEXT = "one two three four five six seven eight"


def requests(num_generations: int, text: str = TEXT):
    config = {"engine": {"kind": "fake"}, "continuation": {"num_generations": num_generations}}
    return plan_requests(GenerateConfig.model_validate(config), "continuation", [Document("d", text)])


def test_every_generation_goes_on_from_the_same_half_and_they_nest() -> None:
    two, four = requests(2), requests(4)
    assert {request.split_character for request in four} == {len("one two three four")}
    assert [request.identity for request in two] == [request.identity for request in four[:2]]
    assert len({request.identity for request in four}) == 4
    assert requests(2, "one") == []


def test_the_second_half_is_not_shown() -> None:
    for message in (message for request in requests(1) for message in request.messages()):
        assert "five" not in message["content"]
    assert "four" in requests(1)[0].messages()[-1]["content"]


def test_a_row_is_the_first_half_and_what_follows() -> None:
    make, tags = row_kind("continuation").text, Tags("", "")
    assert make is not None
    assert make(TEXT, [Written(18, "and so on")], tags) == "one two three four and so on"
    assert make(TEXT, [Written(19, "and so on")], tags) == "one two three four and so on"
    with pytest.raises(InputError, match="does not fit a text of 39"):
        make(TEXT, [Written(40, "x")], tags)


def test_it_is_a_control() -> None:
    assert ordering_spec("continuation").role == "control"


def test_rows_of_a_recipe(tmp_path: Path) -> None:
    toy: Toy = run_toy(tmp_path, TASK, {"control": {"stream.ordering": "continuation"}})
    texts, documents = toy.texts("continuation"), toy.documents
    assert set(texts) == {(name, generation) for name in documents for generation in (0, 1)}
    for item in toy.generations("continuation"):
        document, text = documents[item["document_id"]], texts[item["document_id"], item["generation"]]
        assert text.startswith(document[: item["split_character"]])
        assert text.endswith(item["text"])
    stream = toy.stream("continuation", num_generations=2)
    assert {row[1] for row in stream} == {"real", "continuation"}
    assert len(stream) == 3 * len(documents)
