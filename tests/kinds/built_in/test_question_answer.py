"""Question-answer megadocs: asked for, stitched behind their document, trained on, reported."""

from __future__ import annotations

import json
from itertools import groupby

import pytest

from kinds.toy import Toy, run_toy

TASK = {"question_answer": {"num_generations": 2, "max_new_tokens": 60}}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    arms = {
        "real_only": {"mixture.synthetic_fraction": 0},
        "answers": {"stream.ordering": "question_answer"},
        "alone": {"stream.ordering": "question_answer", "stream.real_document": "none"},
    }
    return run_toy(tmp_path_factory.mktemp("toy"), TASK, arms, stage="report")


def test_each_generation_is_a_row(toy: Toy) -> None:
    written = {(item["document_id"], item["generation"]): item["text"] for item in toy.generations("question_answer")}
    assert len(written) == 2 * len(toy.documents)
    assert toy.texts("question_answer") == written


def test_pairs_stand_behind_their_document(toy: Toy) -> None:
    for place in ("last", "first"):
        stream = toy.stream("question_answer", real_document=place, num_generations=2)
        megadocs = {name: [row[1:] for row in rows] for name, rows in groupby(stream, key=lambda row: row[0])}
        assert set(megadocs) == set(toy.documents)
        answers = [("question_answer", 0), ("question_answer", 1)]
        assert all(rows == [("real", 0), *answers] for rows in megadocs.values())


def test_the_report_has_the_arm(toy: Toy) -> None:
    results = json.loads((toy.root / "results.json").read_text())
    assert {arm["arm"] for arm in results["arms"]} == {"real_only", "answers", "alone"}
    streams = {(stream["arm"], stream["stream"]): stream["num_rows"] for stream in results["streams"]}
    assert streams["answers", "question_answer"] == 3 * len(toy.documents)
    assert streams["alone", "question_answer"] == 2 * len(toy.documents)
