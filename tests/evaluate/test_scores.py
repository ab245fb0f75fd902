"""The scores table: what is written is what is read, byte for byte the same whatever the order."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import ScoreCollector, score_documents, score_windows
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scores import DocumentScores, Mode, write_scores
from numbered_model import NumberedModel
from score_tables import read_scores


def build_scores(name: str = "test", mode: str = "windowed", seed: int = 0) -> DocumentScores:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 50, 7)
    return DocumentScores(name, mode, [f"d{i}" for i in range(7)], tokens, tokens * 4, rng.random(7) * tokens)


def test_round_trip(tmp_path):
    parts = [build_scores("validation", "alone", 1), build_scores("test", "windowed", 2)]
    write_scores(tmp_path / "scores.parquet", parts)
    back = read_scores(tmp_path / "scores.parquet")
    assert [(part.set, part.mode) for part in back] == [("test", "windowed"), ("validation", "alone")]
    np.testing.assert_array_equal(back[0].sum_nll, parts[1].sum_nll)
    assert back[1].nats_per_token == parts[0].nats_per_token


def test_bytes_depend_on_the_content_only(tmp_path):
    one, other = build_scores("a"), build_scores("b", seed=5)
    order = np.random.default_rng(1).permutation(7)
    shuffled = DocumentScores(
        "a",
        "windowed",
        [one.document_ids[i] for i in order],
        one.num_tokens[order],
        one.num_bytes[order],
        one.sum_nll[order],
    )
    write_scores(tmp_path / "1", [one, other])
    write_scores(tmp_path / "2", [other, shuffled])
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_nan_is_kept_and_a_repeated_set_refused(tmp_path):
    broken = build_scores()
    broken.sum_nll[2] = np.nan
    write_scores(tmp_path / "s", [broken])
    assert np.isnan(read_scores(tmp_path / "s")[0].nats_per_token)
    with pytest.raises(InputError, match="twice"):
        write_scores(tmp_path / "s", [broken, build_scores()])


HAND = DocumentScores(
    "held", "alone", ["b", "a"], np.array([3, 5]), np.array([7, 11]), np.array([1.5, np.inf]), num_dropped_tokens=4
)
COLUMNS = {
    "set": "string",
    "mode": "string",
    "document_id": "string",
    "num_tokens": "int64",
    "num_bytes": "int64",
    "sum_nll": "double",
}


def test_the_file_whole(tmp_path):
    early = DocumentScores("early", "windowed", ["z"], np.array([1]), np.array([2]), np.array([0.25]))
    write_scores(tmp_path / "s", [HAND, early])
    table = pq.read_table(tmp_path / "s")
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    assert [tuple(line.values()) for line in table.to_pylist()] == [
        ("early", "windowed", "z", 1, 2, 0.25),
        ("held", "alone", "a", 5, 11, np.inf),
        ("held", "alone", "b", 3, 7, 1.5),
    ]
    group = pq.ParquetFile(tmp_path / "s").metadata.row_group(0)
    assert {group.column(index).compression for index in range(group.num_columns)} == {"ZSTD"}


def test_a_file_of_no_scores_has_the_same_columns(tmp_path):
    write_scores(tmp_path / "s", [])
    table = pq.read_table(tmp_path / "s")
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    assert table.num_rows == 0


def test_a_repeated_set_is_refused_in_full_and_nothing_is_written(tmp_path):
    with pytest.raises(InputError) as caught:
        write_scores(tmp_path / "s", [HAND, build_scores(), HAND])
    assert str(caught.value) == (
        f"a set and mode comes twice in the scores\n  where: {tmp_path / 's'}\n  to do: write each once"
    )
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("column", ["num_tokens", "num_bytes", "sum_nll", "document_ids"])
def test_columns_of_different_lengths_are_refused(tmp_path, column):
    cut = dataclasses.replace(HAND, **{column: getattr(HAND, column)[:1]})
    with pytest.raises(ValueError, match="zip"):
        write_scores(tmp_path / "s", [cut])
    assert not (tmp_path / "s").exists()


def test_both_ratios_by_hand():
    scores = DocumentScores("held", "alone", ["a", "b"], np.array([3, 5]), np.array([4, 12]), np.array([6.0, 10.0]))
    assert (len(scores), scores.num_dropped_tokens) == (2, 0)
    assert scores.nats_per_token == 2.0
    assert scores.bits_per_byte == pytest.approx(1 / np.log(2))


def test_the_headline_is_summed_exactly():
    """Plain addition would lose the small ones: 1e16 + 1 is 1e16."""
    scores = DocumentScores("x", "alone", list("abc"), np.array([1, 1, 2]), np.array([1, 1, 2]), np.array([1e16, 1, 1]))
    assert scores.nats_per_token == (10**16 + 2) / 4
    assert scores.bits_per_byte == (10**16 + 2) / 4 / np.log(2)


def test_the_modes_are_those_that_scoring_writes():
    data = EvaluationSet("held", ["a"], [np.arange(8)], [8])
    model = NumberedModel().scoring_model()
    across = ScoreCollector(data, "windowed_across", 1).scores()[0]  # as the scoring step names a second way
    scores = (score_windows(model, data, context_length=4), across, score_documents(model, data, context_length=4))
    assert tuple(part.mode for part in scores) == get_args(Mode)
