"""Accuracies and standard errors by hand, from a model whose likelihoods are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from megadocs.evaluate.benchmarks.data import load_benchmark
from megadocs.evaluate.benchmarks.prompts import PromptEncoder
from megadocs.evaluate.benchmarks.score import BenchmarkScores, mean_accuracy, score_benchmark, write_items
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE
from megadocs.text.tokenizer import train_tokenizer

TEXTS = ["Question: what\nAnswer: yes no", "Question: which one\nAnswer: no, it is not so"] * 5


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def uniform_model(tokenizer):
    return ScoringModel.from_callable(lambda t: torch.zeros(*t.shape, tokenizer.vocab_size), tokenizer.vocab_size)


@pytest.fixture
def benchmark(tmp_path):
    """Fewer tokens win under a uniform model: item 0 right, item 1 wrong, item 2 right."""
    records = [
        {"goal": "what", "sol1": "yes", "sol2": "no, it is not so at all", "label": 0},
        {"goal": "what", "sol1": "yes", "sol2": "no, it is not so at all", "label": 1},
        {"goal": "which", "sol1": "qqqqqqqqq zzzz", "sol2": "no", "label": 1},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, records)))
    return load_benchmark("piqa", source=str(tmp_path / "p.jsonl"))


def test_accuracy_and_standard_error_by_hand(uniform_model, tokenizer, benchmark):
    result = score_benchmark(uniform_model, PromptEncoder(tokenizer), benchmark)
    assert result.choices.tolist() == [0, 0, 1]
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.standard_error == pytest.approx(np.std([1, 0, 1], ddof=1) / math.sqrt(3))
    ids = tokenizer.encode_batch(["Question: what\nAnswer:", "Question: what\nAnswer: yes"])
    expected = -(len(ids[1]) - len(ids[0])) * math.log(tokenizer.vocab_size)
    assert result.log_likelihoods[0][0] == pytest.approx(expected)


def test_acc_norm_divides_by_characters():
    result = BenchmarkScores(
        "piqa", "local", SINGLE, ["a"], np.array([1]), [np.array([-10.0, -12.0])], [np.array([5, 10])]
    )
    assert (result.accuracy, result.accuracy_norm) == (0.0, 1.0)
    assert result.standard_error is None


def test_nan_is_not_an_answer():
    lines = [np.array([np.nan, -1.0]), np.array([-1.0, -2.0])]
    result = BenchmarkScores("piqa", "local", SINGLE, ["a", "b"], np.array([0, 0]), lines, [np.array([1, 1])] * 2)
    assert math.isnan(result.accuracy)
    assert result.summary()["acc"] is None
    assert math.isnan(mean_accuracy([result])[0])


def test_mean_over_benchmarks_and_its_error():
    def made(right: int, n: int) -> BenchmarkScores:
        gold = np.array([0] * right + [1] * (n - right))
        return BenchmarkScores(
            "x", "local", SINGLE, ["i"] * n, gold, [np.array([0.0, -1.0])] * n, [np.array([1, 1])] * n
        )

    mean, error = mean_accuracy([made(50, 101), made(90, 101)])
    assert mean == pytest.approx((50 + 90) / 202)
    p, q = 50 / 101, 90 / 101
    assert error == pytest.approx(math.sqrt(p * (1 - p) / 100 + q * (1 - q) / 100) / 2)


def test_items_are_kept(uniform_model, tokenizer, benchmark, tmp_path):
    result = score_benchmark(uniform_model, PromptEncoder(tokenizer), benchmark)
    write_items(tmp_path / "items.parquet", [result])
    rows = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert [row["gold"] for row in rows] == [0, 1, 1]
    assert rows[0]["log_likelihoods"] == result.log_likelihoods[0].tolist()


def test_prompts_split_after_the_context_and_may_start_with_bos(tokenizer):
    plain, with_bos = PromptEncoder(tokenizer), PromptEncoder(tokenizer, add_bos=True)
    assert plain.add_bos is False  # its tokenizer.json has no post-processor
    context, continuation = "Question: what\nAnswer:", " yes"
    (pair,), (bos_pair,) = (e.encode_pairs([context], [continuation]) for e in (plain, with_bos))
    assert tokenizer.decode(pair.context + pair.continuation) == context + continuation
    assert tokenizer.decode(pair.continuation) == " yes"
    assert bos_pair.context == (tokenizer.bos_id, *pair.context)
    (blank,) = plain.encode_pairs(["Answer: "], ["yes"])
    assert tokenizer.decode(blank.continuation) == " yes"
    (empty,) = plain.encode_pairs([""], ["yes"])
    assert empty.context == (tokenizer.bos_id,)
