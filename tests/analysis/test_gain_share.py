"""The share of a gain that a control has, too: its interval against a scan of every share, and where it has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from megadocs.analysis.document_noise import DocumentNoise
from megadocs.analysis.gain_share import GainShare, gain_share
from megadocs.analysis.paired import PairedLosses, paired_difference
from megadocs.analysis.seed_noise import seed_noise

LOSSES = {"real_only": 5.0, "simple": 4.6, "shuffled_words": 4.75}
DEGREES = 6.5


def table_of(
    *,
    scatter: float = 0.01,
    shared: float = 0.03,
    documents: float = 0.02,
    seeds: int = 3,
    lost: tuple[tuple[str, int], ...] = (),
    pool: bool = True,
    draw: int = 5,
    **losses: float,
) -> PairedLosses:
    """Losses with noise of runs, of seeds that all arms share, and of documents; `lost`: runs that are not there."""
    rng = np.random.default_rng(draw)
    arms = LOSSES | losses
    runs = tuple((arm, seed) for arm in arms for seed in range(seeds) if (arm, seed) not in lost)
    shift, taste = rng.normal(0, shared, seeds), {arm: rng.normal(0, documents / 3, 9) for arm in arms}
    values = np.array([arms[arm] + shift[seed] for arm, seed in runs]) + rng.normal(0, scatter, len(runs))
    noise = DocumentNoise(np.stack([taste[arm] for arm, _ in runs], axis=1), DEGREES, 9, "documents", 9)
    return PairedLosses(runs, values, noise, seed_noise(runs, values, dict.fromkeys(arms, ""), pool=pool))


def share_of(table: PairedLosses, confidence: float = 0.95, arm: str = "simple") -> GainShare | None:
    return gain_share(table, arm, "shuffled_words", "real_only", confidence)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("control", [4.75, 4.5, 5.1])
def test_the_interval_holds_the_shares_that_are_not_told_from_the_truth(
    pool: bool, confidence: float, control: float
) -> None:
    """Of every share on a fine grid: is (1 - r) b + r a - c within its half-width, written out here?"""
    table = table_of(pool=pool, shuffled_words=control)
    rows = {arm: list(table.arm_runs(arm).values()) for arm in LOSSES}
    by_arm = {arm: table.documents.deviations[:, rows[arm][0]] for arm in LOSSES}
    pooled = table.seeds.pooled
    assert pooled.variance is not None
    of_documents = stats.t.ppf((1 + confidence) / 2, DEGREES)
    of_seeds = stats.t.ppf((1 + confidence) / 2, pooled.degrees if pool else 2)
    inside = []
    for share in np.arange(-2.0, 3.0, 0.0005):
        weight = {"real_only": 1 - share, "simple": share, "shuffled_words": -1.0}
        contrast = sum(weight[arm] * table.losses[rows[arm]] for arm in LOSSES)  # one a seed
        variance = sum(w**2 for w in weight.values()) * pooled.variance if pool else np.var(contrast, ddof=1)
        square = of_documents**2 * np.square(sum(weight[arm] * by_arm[arm] for arm in LOSSES)).sum()
        if abs(contrast.mean()) <= math.sqrt(square + of_seeds**2 * variance / 3):
            inside.append(share)
    found = share_of(table, confidence)
    assert found is not None and found.interval == pytest.approx((min(inside), max(inside)), abs=0.001)
    assert found.interval[0] < found.value < found.interval[1]
    base, control_loss, own = (table.losses[rows[arm]].mean() for arm in ("real_only", "shuffled_words", "simple"))
    assert found.value == pytest.approx((base - control_loss) / (base - own))


@pytest.mark.parametrize("lost", [(), (("simple", 2),), (("real_only", 0), ("shuffled_words", 1))])
@pytest.mark.parametrize("pool", [True, False])
def test_seeds_that_shift_every_arm_do_not_blur_a_share(lost: tuple[tuple[str, int], ...], pool: bool) -> None:
    """Arms of different seeds are compared over those that they share, or what a seed does to all would be a gain."""
    noisy, quiet = ({"shared": shared, "seeds": 4, "lost": lost, "pool": pool} for shared in (2.0, 0.0))
    found, alike = share_of(table_of(**noisy)), share_of(table_of(**quiet))  # type: ignore[arg-type]
    assert found is not None and alike is not None and alike.interval is not None
    assert found.value == pytest.approx(alike.value)
    assert found.interval == pytest.approx(alike.interval, abs=1e-6)


@pytest.mark.parametrize("lost", [(), (("simple", 2),)])
def test_nineteen_in_twenty_intervals_hold_the_truth(lost: tuple[tuple[str, int], ...]) -> None:
    """400 draws of runs, documents alike; the share of .625 is in 95 %, give or take three standard errors of 1.1."""
    held = 0
    for draw in range(400):
        found = share_of(table_of(draw=draw, documents=0.0, lost=lost))
        assert found is not None and found.interval is not None
        held += found.interval[0] <= 0.625 <= found.interval[1]
    assert 0.917 <= held / 400 <= 0.983


@pytest.mark.parametrize("draw", range(6))
@pytest.mark.parametrize("pool", [True, False])
def test_all_and_none_of_a_gain_are_told_as_the_differences_are(draw: int, pool: bool) -> None:
    """At a share of 1 the contrast is arm against control, at 0 baseline against control, and it ends where a gain is
    told from nothing."""
    table = table_of(draw=draw, pool=pool, simple=4.97, shuffled_words=4.98, documents=0.01)

    def is_told(first: str, second: str) -> bool:
        found = paired_difference(table, first, second, 0.95)
        assert found is not None
        return not found.interval[0] <= 0 <= found.interval[1]

    found = share_of(table)
    if found is None:
        return  # this draw has no gain
    assert found.interval is not None
    assert math.isfinite(found.interval[0]) == math.isfinite(found.interval[1]) == is_told("real_only", "simple")
    if math.isfinite(found.interval[0]):
        assert (found.interval[0] <= 1 <= found.interval[1]) != is_told("simple", "shuffled_words")
        assert (found.interval[0] <= 0 <= found.interval[1]) != is_told("real_only", "shuffled_words")


@pytest.mark.parametrize("simple", [4.96, 4.98])
def test_a_gain_that_is_not_told_from_nothing_has_a_share_without_ends(simple: float) -> None:
    found = share_of(table_of(documents=0.1, simple=simple))
    assert found is not None and found.value > 0 and found.interval == (-math.inf, math.inf)


@pytest.mark.parametrize(("simple", "control"), [(4.95, 4.9), (4.98, 4.8)])
def test_a_control_far_better_than_the_arm_has_an_interval_far_above_one(simple: float, control: float) -> None:
    found = share_of(table_of(documents=0.0, scatter=0.006, simple=simple, shuffled_words=control, draw=1))
    assert found is not None and found.interval is not None
    assert 1 < found.interval[0] < found.value < found.interval[1] < 100


def test_noise_that_is_not_measured_leaves_the_interval_out() -> None:
    one_seed = share_of(table_of(seeds=1))
    assert one_seed is not None and one_seed.interval is None
    table = table_of()
    nothing = DocumentNoise(np.zeros((1, len(table.runs))), 0.0, 1, "documents", 1)
    found = share_of(PairedLosses(table.runs, table.losses, nothing, table.seeds))
    assert found is not None and found.interval is None


def test_without_a_common_seed_a_gain_or_a_control_there_is_no_share() -> None:
    table = table_of()
    assert share_of(table, arm="real_only") is None  # it gains nothing over itself
    assert gain_share(table, "simple", None, "real_only", 0.95) is None
    assert gain_share(table, "simple", "shuffled_words", "nobody", 0.95) is None
    assert gain_share(table, "simple", "real_only", "real_only", 0.95) is None
    assert share_of(table_of(lost=(("simple", 0), ("shuffled_words", 1), ("real_only", 2)))) is None
