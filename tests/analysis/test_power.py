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
