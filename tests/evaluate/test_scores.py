"""The scores table: what is written is what is read, byte for byte the same whatever the order."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.errors import InputError
from megadocs.evaluate.scores import DocumentScores, write_scores
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
