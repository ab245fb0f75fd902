"""Power against simulation, and the A/A check."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megadocs.analysis.power import power_of, same_arm_check, seeds_needed
from megadocs.errors import AnalysisError


def test_power_agrees_with_simulated_paired_t_tests() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.005, (4000, 5, 2))
    p_values = stats.ttest_1samp(0.01 + noise[..., 0] - noise[..., 1], 0, axis=1).pvalue
    assert power_of(0.01, 5, 0.005, 0.0, 0.95) == pytest.approx((p_values < 0.05).mean(), abs=0.025)


def test_seeds_needed_is_the_smallest_number() -> None:
    num = seeds_needed(0.01, 0.005)
    assert num == 7
    assert power_of(0.01, num, 0.005, 0, 0.95) >= 0.8 > power_of(0.01, num - 1, 0.005, 0, 0.95)
    assert seeds_needed(0.01, 0.005, document_sd=0.01) is None  # documents, not seeds, are what is short
    with pytest.raises(AnalysisError):
        seeds_needed(0.0, 0.005)


def test_same_arm_check_rarely_separates_an_arm_from_itself() -> None:
    rng = np.random.default_rng(1)
    shares = [same_arm_check(rng.normal(3, 0.01, 8), 0.95).share_separated for _ in range(40)]
    assert np.mean([share for share in shares if share is not None]) == pytest.approx(0.05, abs=0.03)
    two = same_arm_check(np.array([3.0, 3.01, np.nan]), 0.95)
    assert (two.num_runs, two.share_separated) == (2, None)
    assert two.seed_sd_interval[0] < two.seed_sd < two.seed_sd_interval[1]
    with pytest.raises(AnalysisError):
        same_arm_check(np.array([3.0]), 0.95)


def test_power_without_noise_and_with_documents() -> None:
    assert (power_of(0.01, 3, 0.0, 0.0, 0.95), power_of(0.0, 3, 0.0, 0.0, 0.95)) == (1.0, 0.0)
    assert power_of(0.0, 4, 0.01, 0.0, 0.95) == pytest.approx(0.05)
    assert power_of(-0.01, 4, 0.01, 0.0, 0.95) == pytest.approx(power_of(0.01, 4, 0.01, 0.0, 0.95))
    error = np.sqrt(2 * 0.01**2 / 4 + 0.02**2)
    critical = stats.t.ppf(0.95, 3)
    by_hand = stats.nct.sf(critical, 3, 0.03 / error) + stats.nct.cdf(-critical, 3, 0.03 / error)
    assert power_of(0.03, 4, 0.01, 0.02, 0.9) == pytest.approx(by_hand)


def test_seeds_needed_by_confidence_power_and_documents() -> None:
    assert seeds_needed(1.0, 0.001) == 2
    assert seeds_needed(0.01, 0.005, power=0.95) > seeds_needed(0.01, 0.005) > seeds_needed(0.01, 0.005, power=0.3)
    assert seeds_needed(0.01, 0.005, confidence=0.99) > seeds_needed(0.01, 0.005, confidence=0.9)
    assert seeds_needed(0.01, 0.005, document_sd=0.001) == 7
    assert (
        400 < (seeds_needed(0.01, 0.03, document_sd=0.003) or 0) < 600
    )  # while the seeds' noise is more than the documents'
    assert seeds_needed(1e-5, 0.01) is None  # more seeds than anybody trains
    with pytest.raises(AnalysisError) as caught:
        seeds_needed(0.0, 0.005)
    assert caught.value.what == "no number of seeds separates a difference of 0"
    assert caught.value.remedy == "name the smallest difference of use"


def test_same_arm_check_by_hand() -> None:
    values = np.array([3.0, 3.02, 3.01, 3.05, np.inf])
    found = same_arm_check(values, 0.9)
    assert (found.num_runs, found.num_splits) == (4, 6)
    assert found.seed_sd == pytest.approx(np.std(values[:4], ddof=1))
    bounds = [np.sqrt(3 * found.seed_sd**2 / stats.chi2.ppf(q, 3)) for q in (0.95, 0.05)]
    assert found.seed_sd_interval == pytest.approx(bounds)
    assert found.largest_difference == pytest.approx((3.02 + 3.05) / 2 - (3.0 + 3.01) / 2)
    splits = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    p_values = [stats.ttest_ind(values[list(one)], values[list(two)]).pvalue for one, two in splits]
    assert found.share_separated == pytest.approx(np.mean([p < 0.1 for p in p_values]))
    three = same_arm_check(np.array([3.0, 3.02, 3.01]), 0.95)
    assert (three.num_splits, three.share_separated) == (3, None)
    assert three.largest_difference == pytest.approx(3.015 - 3.0)
    with pytest.raises(AnalysisError) as caught:
        same_arm_check(np.array([3.0, np.nan]), 0.95)
    assert caught.value.what == "the A/A check needs two finished runs of one arm"
    assert caught.value.remedy == "add a seed"
