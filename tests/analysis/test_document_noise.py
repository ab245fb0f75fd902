"""Portable random numbers, the noise over documents and sources, and joint draws of it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megadocs.analysis.document_noise import document_noise, uniforms, unit_index
from megadocs.analysis.tables import ScoreBlock, build_block
from megadocs.seeding import mix

from .fixtures_experiment import make_experiment


def block_of(tokens: list[int], nll: list[list[float]]) -> ScoreBlock:
    ids = tuple(f"d{number:02d}" for number in range(len(tokens)))
    counts = np.asarray(tokens)
    runs = tuple((f"arm{number}", 0) for number in range(len(nll)))
    return ScoreBlock("test", "windowed", ids, counts, counts * 4, runs, np.asarray(nll, dtype=np.float64), ())


def test_uniforms_are_fixed_for_ever_and_uniform() -> None:
    values = uniforms(7, 100_000)
    assert values[1:3].tolist() == uniforms(7, 2, 1).tolist()
    assert values.min() > 0
    assert values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.005)
    assert values.var() == pytest.approx(1 / 12, abs=0.002)
    assert uniforms(5, 64).tolist() == [((mix(mix(place) ^ 5) >> 11) + 0.5) / 2**53 for place in range(64)]
    assert uniforms(0, 1)[0] == 0.6524484863740323


def test_equal_documents_give_the_textbook_t_interval() -> None:
    values = np.array([1.0, 1.5, 0.7, 2.0, 1.1])
    block = block_of([100] * 5, [list(values * 100)])
    noise = document_noise(block, None)
    assert noise.degrees == pytest.approx(4)
    assert noise.variance(np.ones(1)) == pytest.approx(stats.sem(values) ** 2)
    assert (noise.kind, noise.num_units) == ("documents", 5)


def test_the_variance_is_the_jackknife_over_whole_sources() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.integers(50, 300, 12)
    nll = rng.normal(3, 1, 12) * tokens
    groups = {f"d{number:02d}": f"source{number % 4}" for number in range(12)}
    noise = document_noise(block_of(tokens.tolist(), [nll.tolist()]), groups)
    source = np.arange(12) % 4
    losses = np.array([nll[source != left].sum() / tokens[source != left].sum() for left in range(4)])
    whole = nll.sum() / tokens.sum()
    assert noise.variance(np.ones(1)) == pytest.approx(3 / 4 * np.square(losses - whole).sum())
    assert (noise.kind, noise.num_units, noise.num_sources) == ("sources", 4, 4)
    assert noise.degrees < 3  # unequal sources count as fewer


def test_spread_matches_the_ratio_estimators_theory_and_runs_are_paired() -> None:
    block = build_block(make_experiment().scores, "test", "windowed")
    noise = document_noise(block, None)
    losses = block.losses()
    residual = block.sum_nll[0] - losses[0] * block.num_tokens
    expected = np.sqrt((residual**2).sum()) / block.num_tokens.sum()
    first, difference = np.zeros(len(losses)), np.zeros(len(losses))
    first[0] = difference[0] = 1.0
    difference[1] = -1.0
    assert np.sqrt(noise.variance(first)) == pytest.approx(expected, rel=0.02)
    assert noise.variance(difference) < 0.05 * noise.variance(first)


@pytest.mark.parametrize("num_sources", [1, 2])
def test_one_or_two_sources_are_parted_into_blocks_of_neighbours(num_sources: int) -> None:
    rng = np.random.default_rng(0)
    tokens = [100] * 40
    groups = {f"d{number:02d}": f"s{number * num_sources // 40}" for number in range(40)}
    noise = document_noise(block_of(tokens, [(rng.normal(3, 1, 40) * 100).tolist()]), groups)
    assert (noise.kind, noise.num_units, noise.num_sources) == ("blocks", 10, num_sources)
    assert noise.is_known


def test_units_are_documents_sources_or_blocks() -> None:
    def units(*sources: str) -> tuple[list[int], int, str, int]:
        ids = [f"d{number}" for number in range(len(sources))]
        index, *more = unit_index(ids, dict(zip(ids, sources, strict=True)))
        return index.tolist(), *more

    assert units("x", "y") == ([0, 1], 2, "documents", 2)  # each a source of its own: nothing to part
    assert units("y", "x", "x", "z") == ([1, 0, 0, 2], 3, "sources", 3)
    assert units("x", "y", "x", "y") == ([0, 2, 1, 3], 4, "blocks", 2)
    assert units(*["x"] * 33)[:3] == ([number // 4 for number in range(33)], 9, "blocks")
    index, *more = unit_index(["c", "a", "b"], {"a": "s", "b": "s"})  # c is of no source that is known: its own, last
    assert (index.tolist(), *more) == ([0, 1, 2], 3, "blocks", 2)
    index, *more = unit_index(["a", "b"], None)
    assert (index.tolist(), *more) == ([0, 1], 2, "documents", 2)


def test_one_document_alone_says_nothing_of_others() -> None:
    noise = document_noise(block_of([100], [[300.0]]), None)
    assert not noise.is_known
    assert np.isnan(noise.variance(np.ones(1)))
    assert not noise.draws(np.ones((1, 1)), 10, 0).any()


def test_draws_have_the_variances_and_tails_of_students_t() -> None:
    rng = np.random.default_rng(1)
    nll = rng.normal(3, 1, (3, 5))
    nll[1] = nll[0] + rng.normal(0, 0.1, 5)
    noise = document_noise(block_of([100] * 5, (nll * 100).tolist()), None)
    draws = noise.draws(np.eye(3), 40_000, 0)
    for weights in (np.array([1.0, 0, 0]), np.array([1.0, -1.0, 0]), np.array([0.2, 0.3, -1.0])):
        wanted = stats.t.ppf(0.975, noise.degrees) * np.sqrt(noise.variance(weights))
        assert np.quantile(draws @ weights, 0.975) == pytest.approx(wanted, rel=0.04)


def test_draws_of_more_arms_than_units_are_not_lost() -> None:
    rng = np.random.default_rng(2)
    noise = document_noise(block_of([100] * 4, (rng.normal(3, 1, (6, 4)) * 100).tolist()), None)
    weights = np.zeros(6)
    weights[5] = 1.0
    draws = noise.draws(np.eye(6), 40_000, 0)[:, 5]
    wanted = stats.t.ppf(0.9, noise.degrees) * np.sqrt(noise.variance(weights))
    assert np.quantile(draws, 0.9) == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("num_units", [3, 8])
@pytest.mark.parametrize("size_sd", [0.0, 0.9])
def test_intervals_cover_at_few_unequal_sources(num_units: int, size_sd: float) -> None:
    """The interval at 90 % of an uncorrected variance would cover some 80 % here."""
    rng = np.random.default_rng(num_units)
    hits, trials = 0, 600
    for _ in range(trials):
        tokens = np.maximum(1, 100 * rng.lognormal(1.5, size_sd, num_units)).astype(int)
        losses = rng.normal(0, 0.3, num_units)
        noise = document_noise(block_of(tokens.tolist(), [(losses * tokens).tolist()]), None)
        half = stats.t.ppf(0.975, noise.degrees) * np.sqrt(noise.variance(np.ones(1)))
        hits += abs((losses * tokens).sum() / tokens.sum()) <= half
    assert 0.925 <= hits / trials <= 0.98
