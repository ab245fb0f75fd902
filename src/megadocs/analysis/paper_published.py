"""The published values in the form of the paper's figures: `published.json` as series of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.power_law import PowerLaw, fit_power_law
from megadocs.analysis.published import load_published, published_steps
from megadocs.errors import AnalysisError

#: Parameters of the student that the published figures show.
_STUDENT_PARAMETERS = 299_649_792
_NUMERIC = {
    "generations": "loss_by_generations",
    "sets": "arxiv_loss_by_generations",
    "real_epochs": "loss_by_real_epochs",
    "ensembles": "ensembles",
}
_CATEGORIES = {
    "order": "order",
    "attention": "cross_document_attention",
    "mixing": "separate_real_stream",
    "self_distillation": "self_distillation",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a series; `low` and `high` are the lowest and highest seed, the value itself where there is one."""

    x: float | str  # place on the axis, or the name of a condition
    value: float  # loss, or error
    low: float
    high: float
    arm: str = ""  # whose value it is; empty for published ones


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one method, with the law fitted to them where the figure shows one."""

    name: str
    points: tuple[Point, ...]  # in the order of x
    law: PowerLaw | None = None
    is_asymptote_shown: bool = True  # whether the law's asymptote is drawn: not where these points do not identify it


def published_series(figure: str, *, against_compute: bool = False) -> tuple[Series, ...]:
    """The published series of one figure; empty where no values were published (or none over compute)."""
    values = load_published()
    if figure in _CATEGORIES:
        group = values[_CATEGORIES[figure]]["series"]
        return (Series("published", tuple(Point(x, loss, loss, loss) for x, loss in group.items())),)
    if figure not in _NUMERIC or (against_compute and figure != "generations"):
        return ()
    group = values[_NUMERIC[figure]]
    series = []
    for label, found in group["series"].items():
        sizes, losses = (found["x"], found["loss"]) if isinstance(found, dict) else (group["x"], found)
        if against_compute:
            sizes = [published_compute(values, label, int(size)) for size in sizes]
        points = [Point(float(x), loss, loss, loss) for x, loss in zip(sizes, losses, strict=True)]
        series.append(build_series(label, points, with_law=figure == "ensembles"))
    return tuple(series)


def published_compute(values: Mapping[str, Any], method: str, num_generations: int) -> float:
    """Training FLOPs of a published run: 6 x parameters x tokens, the tokens from its published settings."""
    epochs, fraction = values["best_settings"][method][str(num_generations)][:2]
    training = values["training"]
    steps = published_steps(training, epochs, fraction)
    return 6.0 * _STUDENT_PARAMETERS * steps * float(training["tokens_per_step"])


def build_series(name: str, points: list[Point], *, with_law: bool) -> Series:
    """Points in the order of x, with a power law where it is asked for and three sizes allow it."""
    ordered = tuple(sorted(points, key=lambda point: (float(point.x), point.arm)))
    law = None
    if with_law and len({point.x for point in ordered}) > 2:
        try:
            law = fit_power_law([float(point.x) for point in ordered], [point.value for point in ordered]).law
        except AnalysisError:  # too few different sizes: the points are shown without a law
            law = None
    return Series(name, ordered, law)
