"""A cached number is served to the model, tokenizer, data and prompt it was computed from, and to nothing else."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import pytest

from benchmark_records import RECORDS, write_lines
from megadocs.evaluate.benchmarks.score import BenchmarkScores, Item
from megadocs.evaluate.benchmarks.tasks import Benchmark, LocalData
from megadocs.evaluate.cache import ScoreCache, benchmark_key, documents_key
from megadocs.evaluate.document_losses import score_windows
from megadocs.evaluate.ensembles import EnsembleScores
from megadocs.evaluate.scores import DocumentScores
from megadocs.evaluate.scoring_model import as_scoring_model
from megadocs.evaluate.target_losses import SINGLE, Average
from megadocs.recipe import fingerprint

A = {"weights": "a" * 64, "tokenizer": "t", "dtype": "float32"}
B = {**A, "weights": "b" * 64}


class Counter:
    """Computes scores and counts how often."""

    def __init__(self, scores) -> None:
        self.scores, self.calls = scores, 0

    def __call__(self):
        self.calls += 1
        return self.scores


@pytest.fixture
def computed(hf_llama, make_set):
    data = make_set([20, 30, 9])
    return data, Counter([EnsembleScores(SINGLE, score_windows(as_scoring_model(hf_llama), data, context_length=16))])


def test_a_second_request_is_served_and_equal_to_the_last_bit(tmp_path, computed):
    data, compute = computed
    cache, key = ScoreCache(tmp_path / "cache"), documents_key([A], data, "windowed", context_length=16)
    first, second = cache.documents(key, compute)[0], ScoreCache(tmp_path / "cache").documents(key, compute)[0]
    assert compute.calls == 1
    np.testing.assert_array_equal(first.scores.sum_nll, second.scores.sum_nll)
    np.testing.assert_array_equal(compute.scores[0].scores.sum_nll, second.scores.sum_nll)
    assert second.scores.num_dropped_tokens == compute.scores[0].scores.num_dropped_tokens > 0
    assert second.average == SINGLE


def test_whatever_differs_is_computed_anew(tmp_path, computed, make_set):
    data, compute = computed
    cache = ScoreCache(tmp_path)
    other = make_set([20, 30, 9], seed=1)
    keys = [
        documents_key([A], data, "windowed", context_length=16),
        documents_key([B], data, "windowed", context_length=16),
        documents_key([{**A, "tokenizer": "u"}], data, "windowed", context_length=16),
        documents_key([{**A, "dtype": "bfloat16"}], data, "windowed", context_length=16),
        documents_key([A, B], data, "windowed", context_length=16),
        documents_key([B, A], data, "windowed", context_length=16),
        documents_key([A], other, "windowed", context_length=16),
        documents_key([A], data, "alone", context_length=16),
        documents_key([A], data, "windowed", context_length=32),
    ]
    for key in keys:
        cache.documents(key, compute)
    assert compute.calls == len(keys)
    assert len({fingerprint(key) for key in keys}) == len(keys)


def test_an_entry_under_a_wrong_name_is_never_served(tmp_path, computed, caplog):
    data, compute = computed
    cache = ScoreCache(tmp_path)
    mine, theirs = (documents_key([m], data, "windowed", context_length=16) for m in (A, B))
    cache.documents(theirs, compute)
    (tmp_path / f"{fingerprint(theirs)}.json").rename(tmp_path / f"{fingerprint(mine)}.json")
    cache.documents(mine, compute)
    assert compute.calls == 2
    assert "another model's" in caplog.text


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-3], lambda raw: raw.replace(b"9", b"8"), lambda raw: b"", lambda raw: b"x"]
)
def test_a_damaged_entry_is_computed_again_and_replaced(tmp_path, computed, damage):
    data, compute = computed
    cache, key = ScoreCache(tmp_path), documents_key([A], data, "windowed", context_length=16)
    cache.documents(key, compute)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    cache.documents(key, compute)
    cache.documents(key, compute)
    assert compute.calls == 2


def test_benchmark_scores_and_nan_survive(tmp_path):
    pytest.importorskip("lm_eval", reason="needs the extra `eval`")
    items = [Item("piqa", 0, "0", [-1.0, np.nan], {"acc": 1.0}), Item("piqa", 1, "1", [-2.0, -3.0], {"acc": 0.0})]
    scores = BenchmarkScores("piqa", "local", SINGLE, 1, 0.5, {"acc": None}, {"acc": None}, items)
    data = LocalData(write_lines(tmp_path / "p.jsonl", RECORDS["piqa"]), "local", {}, {})
    keys = [
        benchmark_key([A], Benchmark("piqa", data), add_bos=False),
        benchmark_key([A], Benchmark("piqa", data), add_bos=True),
        benchmark_key([B], Benchmark("piqa", data), add_bos=False),
        benchmark_key([A], Benchmark("piqa", data, num_fewshot=1), add_bos=False),
    ]
    assert len({fingerprint(key) for key in keys}) == 4
    cache, compute = ScoreCache(tmp_path / "c"), Counter([scores])
    for _ in range(2):
        (back,) = cache.benchmarks(keys[0], compute)
        np.testing.assert_array_equal(back.items[0].log_likelihoods, items[0].log_likelihoods)
        assert back.metrics == {"acc": None}
        assert back.num_truncated == 1
    assert compute.calls == 1


def test_a_sets_digest_sees_content_and_not_order(make_set):
    data = make_set([20, 30, 9])
    assert data.digest == data.subset([2, 0, 1]).digest
    assert data.digest != make_set([20, 30, 9], seed=1).digest
    assert data.digest != data.subset([0, 1]).digest


C = {"weights": "w1", "tokenizer": "t1", "dtype": "float32"}
TABLE = DocumentScores(
    set="held",
    mode="windowed",
    document_ids=("a", "ü"),
    num_tokens=np.array([3, 5]),
    num_bytes=np.array([7, 11]),
    sum_nll=np.array([1.5, np.nan]),
    num_dropped_tokens=4,
)


def test_the_keys_whole(make_set, monkeypatch):
    data = make_set([4, 5])
    assert documents_key([C, B], data, "alone", context_length=16, stride=None) == {
        "what": "documents",
        "version": 1,
        "models": [C, B],
        "set": "test",
        "data": data.digest,
        "mode": "alone",
        "settings": {"context_length": 16, "stride": None},
    }
    monkeypatch.setattr(Benchmark, "identity", lambda self: {"task": self.name, "fewshot": self.num_fewshot})
    assert benchmark_key([A], Benchmark("piqa", None, num_fewshot=2), add_bos=True, subsets="all") == {
        "what": "benchmark",
        "version": 1,
        "models": [A],
        "benchmark": {"task": "piqa", "fewshot": 2},
        "add_bos": True,
        "settings": {"subsets": "all"},
    }


def test_an_entry_is_a_line_of_its_key_and_digest_and_the_scores(tmp_path):
    """Byte by byte: entries that were written yesterday are found tomorrow."""
    cache = ScoreCache(str(tmp_path / "deep" / "cache"))
    result = EnsembleScores(Average((0, 2), "probabilities"), TABLE)
    cache.documents({"b": 1, "a": "ü"}, lambda: [result])
    payload = (
        '[{"average":[[0,2],"probabilities"],"set":"held","mode":"windowed","document_ids":["a","\\u00fc"],'
        '"num_tokens":[3,5],"num_bytes":[7,11],"sum_nll":[1.5,NaN],"num_dropped_tokens":4}]'
    )
    head = f'{{"key":{{"a":"ü","b":1}},"sha256":"{hashlib.sha256(payload.encode()).hexdigest()}"}}'
    name = hashlib.sha256('{"a":"ü","b":1}'.encode()).hexdigest()[:20]
    (path,) = (tmp_path / "deep" / "cache").iterdir()
    assert path.name == f"{name}.json"
    assert path.read_bytes() == f"{head}\n{payload}".encode()


def test_what_is_served_is_what_was_computed_in_every_part(tmp_path):
    empty = np.array([], dtype=np.int64)
    nothing = DocumentScores("none", "alone", [], empty, empty, empty.astype(np.float64))
    results = [EnsembleScores(Average((0, 2), "probabilities"), TABLE), EnsembleScores(SINGLE, nothing)]
    ScoreCache(tmp_path).documents({"k": 1}, lambda: results)
    served = ScoreCache(tmp_path).documents({"k": 1}, lambda: [])
    assert len(served) == 2
    for found, expected in zip(served, results, strict=True):
        assert found.average == expected.average
        for part in ("set", "mode", "num_dropped_tokens"):
            assert getattr(found.scores, part) == getattr(expected.scores, part)
        assert list(found.scores.document_ids) == list(expected.scores.document_ids)
        for column in ("num_tokens", "num_bytes", "sum_nll"):
            array, wanted = getattr(found.scores, column), getattr(expected.scores, column)
            np.testing.assert_array_equal(array, wanted, strict=True)


def test_a_first_answer_is_in_the_form_of_a_second(tmp_path):
    """Whatever follows from cached scores cannot depend on whether they were computed or read."""
    cache = ScoreCache(tmp_path)
    first, second = (cache.documents({"k": 1}, lambda: [EnsembleScores(SINGLE, TABLE)]) for _ in range(2))
    assert repr(first) == repr(second)


def test_a_damaged_entry_is_told_of_with_its_path(tmp_path, caplog):
    cache = ScoreCache(tmp_path)
    cache.documents({"k": 1}, lambda: [EnsembleScores(SINGLE, TABLE)])
    (path,) = tmp_path.iterdir()
    assert caplog.record_tuples == []
    path.write_bytes(path.read_bytes() + b" ")
    cache.documents({"k": 1}, lambda: [EnsembleScores(SINGLE, TABLE)])
    message = f"the cached scores in {path} are damaged or another model's: computing them again"
    assert caplog.record_tuples == [("megadocs.evaluate.cache", logging.WARNING, message)]
