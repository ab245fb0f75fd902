"""Power laws over an experiment's own runs, in the form the results file holds.

A law needs at least three sizes and one run to spare. The real-only arms give the data law (and with it the second
definition of data efficiency); arms that differ in the number of generations give one law per stream ordering; arms
that differ in ensemble members give one law each; students of several sizes give one law per ordering and number of
generations. What cannot be fitted is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megadocs.analysis.law_intervals import fit_multiple, law_intervals, multiples_by_asymptote
from megadocs.analysis.power_law import LawFit, PowerLaw, fit_power_law
from megadocs.analysis.tables import RunFacts
from megadocs.errors import AnalysisError

_REAL_ONLY = "real documents only"


@dataclass(frozen=True, slots=True)
class LawSeries:
    """Observations of one law."""

    name: str  # what the series is ("real documents only", an ordering)
    x_name: str  # what x counts: "real_tokens", "num_generations", "num_members", "num_parameters"
    x: tuple[float, ...]  # one size per run
    losses: tuple[float, ...]  # one loss per run


def law_series(
    losses: Mapping[tuple[str, int], float],
    facts: Mapping[tuple[str, int], RunFacts],
    curve: Sequence[str],
    validation: Mapping[str, float],
    baseline: str | None = None,
) -> list[LawSeries]:
    """The series of an experiment: the real-only curve, and arms that differ in generations, members or parameters.

    Where several arms share a family and a size (a tuning grid, ablations), the one with the lowest validation loss
    stands for them. Laws over anything but the student's size are of students as large as the baseline's, and those
    over anything but real tokens of arms on as many real tokens as the baseline.

    Args:
        losses: (arm, seed) -> loss; runs whose loss is not finite are left out.
        facts: (arm, seed) -> facts; `settings` gives `ordering`, `num_generations` and `num_members`.
        curve: arms of the real-only curve.
        validation: arm -> validation loss.
        baseline: the arm whose student and real tokens the series are of; None: all arms are alike in them.
    """
    base = next((run for run in facts.values() if run.arm == baseline), None)
    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    families: dict[tuple[str, str, float], dict[str, list[float]]] = {}
    for key, loss in sorted(losses.items()):
        if not np.isfinite(loss):
            continue
        run = facts[key]
        if run.arm in curve:
            points.setdefault((_REAL_ONLY, "real_tokens"), []).append((float(run.real_tokens), loss))
        for place in _places(run, base):
            families.setdefault(place, {}).setdefault(run.arm, []).append(loss)
    for (family_name, x_name, size), arms in families.items():
        chosen = min(sorted(arms), key=lambda arm: validation.get(arm, np.inf))
        points.setdefault((family_name, x_name), []).extend((size, loss) for loss in arms[chosen])
    return [
        LawSeries(name, x_name, tuple(x for x, _ in found), tuple(loss for _, loss in found))
        for (name, x_name), found in points.items()
        if len({x for x, _ in found}) > 1
    ]


def _places(run: RunFacts, base: RunFacts | None) -> list[tuple[str, str, float]]:
    """(family, what x counts, size) of every law that a run is a point of, besides that over real tokens."""
    if base is not None and run.real_tokens != base.real_tokens:
        return []
    family = run.settings.get("ordering")
    generations, members = (run.settings.get(name) for name in ("num_generations", "num_members"))
    places = []
    if base is None or run.num_parameters == base.num_parameters:
        if isinstance(generations, int) and family is not None:
            places.append((str(family), "num_generations", float(generations)))
        if isinstance(members, int):
            places.append((str(family or "real_only"), "num_members", float(members)))
    if run.num_parameters is not None and members is None and (family is not None) == (run.synthetic_tokens > 0):
        name = _REAL_ONLY if family is None else str(family)
        name = name if generations is None or family is None else f"{family}, G = {generations}"
        places.append((name, "num_parameters", float(run.num_parameters)))
    return places


def law_rows(series: Sequence[LawSeries], confidence: float) -> list[dict[str, Any]]:
    """One row per series: the fit with its intervals and checks, or the reason why there is none."""
    return [_law_row(item, confidence) for item in series]


def law_efficiency(
    series: Sequence[LawSeries], base_tokens: float, arms: Mapping[str, Sequence[float]], confidence: float
) -> list[dict[str, Any]]:
    """Data efficiency by the inverse of the real-only law, per synthetic arm; empty where there is no such law.

    Args:
        base_tokens: real tokens of the baseline.
        arms: arm -> losses, one per seed.
    """
    real = next((item for item in series if item.x_name == "real_tokens"), None)
    if real is None or base_tokens not in real.x:
        return []
    try:
        fit = fit_power_law(real.x, real.losses)
    except AnalysisError:
        return []
    intervals = law_intervals(fit, confidence)
    rows = []
    for arm, losses in arms.items():
        found = fit_multiple(fit, base_tokens, losses, confidence)
        if found is not None and intervals is not None:
            by_asymptote = multiples_by_asymptote(fit, intervals, base_tokens, float(np.mean(losses)))
            sensitivity = [{"asymptote": c, "estimate": multiple} for c, multiple in by_asymptote]
            rows.append(
                {"arm": arm, "estimate": found.estimate, "interval": found.interval, "by_asymptote": sensitivity}
            )
    return rows


def _law_row(series: LawSeries, confidence: float) -> dict[str, Any]:
    row: dict[str, Any] = {"name": series.name, "x_name": series.x_name, "num_runs": len(series.x)}
    row |= {"points": [{"x": x, "loss": loss} for x, loss in zip(series.x, series.losses, strict=True)]}
    try:
        fit = fit_power_law(series.x, series.losses)
    except AnalysisError as error:
        return {**row, "law": None, "reason": error.what}
    intervals = law_intervals(fit, confidence)
    if fit.law.coefficient <= 0:
        return {**row, "law": None, "reason": "the loss does not fall as the size grows"}
    return {
        **row,
        "law": fit.law,
        "intervals": intervals,
        "is_asymptote_identified": intervals is not None and intervals.is_asymptote_identified,
        "residual_sd": fit.residual_sd,
        "lack_of_fit_p": fit.lack_of_fit_p,
        "residuals": list(fit.residuals),
        "leave_one_out": [{"left_out": size, **_plain(law)} for size, law in fit.leave_one_out.items()],
        "reason": _caution(fit, intervals is not None),
    }


def _caution(fit: LawFit, has_intervals: bool) -> str | None:
    if not has_intervals:
        return "three runs for three parameters: no interval, and the form is not tested"
    if fit.lack_of_fit_p is not None and fit.lack_of_fit_p < 0.01:
        return "the losses do not follow a power law (lack-of-fit test): read the measured curve instead"
    if not fit.leave_one_out:
        return "three sizes: the form of the law is not tested"
    return None


def _plain(law: PowerLaw) -> dict[str, float]:
    return {"coefficient": law.coefficient, "exponent": law.exponent, "asymptote": law.asymptote}
