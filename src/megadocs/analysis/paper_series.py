"""The paper's figures as data: the same quantities from the user's own runs, and the published values beside them.

Arms are found by their settings (`RunFacts.settings`), never by their names: `ordering`, `num_generations`,
`synthetic_fraction`, `learning_rate`, `weight_decay`, `real_document`, `attention_boundary`, `separate_real_stream`,
`num_members`. Where several arms share a method and a number of generations, the tuned one is the one with the lowest
*validation* loss, and its headline loss is what is shown: the set that chooses is not the set that reports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.power_law import PowerLaw, fit_power_law
from megadocs.analysis.published import load_published
from megadocs.analysis.results_json import number_of
from megadocs.errors import AnalysisError

_SETTINGS = ("planned_real_epochs", "synthetic_fraction", "learning_rate", "weight_decay")


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a series; `low` and `high` are the lowest and highest seed, equal to the loss where there is one."""

    x: float | str
    loss: float
    low: float
    high: float
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one method, with the law fitted to them where the figure shows one."""

    name: str
    points: tuple[Point, ...]
    law: PowerLaw | None = None


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One figure: own series, published series, what the axes are.

    Attributes:
        name: short, unique.
        title: what it shows.
        x_label: what x counts; categories where `is_category`.
        is_category: x is a condition, not a number.
        own: from the user's runs; empty where there are none of this kind.
        published: empty where no values were published.
        source: where the published values come from.
    """

    name: str
    title: str
    x_label: str
    is_category: bool
    own: tuple[Series, ...]
    published: tuple[Series, ...]
    source: str


@dataclass(frozen=True, slots=True)
class ArmView:
    """An arm as the figures need it."""

    arm: str
    method: str
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    loss: float
    low: float
    high: float
    validation: float

    def get(self, key: str) -> Any:
        """A setting, or a fact where there is no such setting; `None` where neither is known."""
        return self.settings[key] if key in self.settings else self.facts.get(key)

    @property
    def compute(self) -> float | None:
        """Training compute in FLOPs: 6 x parameters x tokens."""
        parameters, tokens = self.facts.get("num_parameters"), self.facts.get("train_tokens")
        return None if parameters is None or tokens is None else 6.0 * parameters * tokens


def paper_figures(results: Mapping[str, Any], *, against_compute: bool = False) -> list[PaperFigure]:
    """Every figure of the paper that has own or published values.

    Args:
        results: of `analyze_experiment`.
        against_compute: x is training compute wherever it would be a number of generations, epochs or a fraction.
    """
    arms = arm_views(results)
    synthetic = [arm for arm in arms if arm.facts["kind"] == "synthetic"]
    tuned, controlled = tuned_arms(synthetic), controlled_arms(synthetic)
    base = next((arm.facts["real_tokens"] for arm in arms if arm.arm == results["baseline"]), None)
    same_real = [arm for arm in arms if arm.facts["real_tokens"] == base]
    published = load_published()

    def numeric(
        name: str, title: str, key: str, chosen: Sequence[ArmView], group: Callable[[ArmView], str]
    ) -> PaperFigure:
        return _numeric(name, title, "compute" if against_compute else key, chosen, group, published)

    figures = [
        numeric("generations", "Loss against generations, tuned", "num_generations", tuned, _method),
        numeric("controlled", "The same settings for every method", "num_generations", controlled, _method),
        numeric("real_epochs", "Loss against real epochs", "planned_real_epochs", synthetic, _method_and_generations),
        numeric(
            "fraction", "Loss against the synthetic fraction", "synthetic_fraction", synthetic, _method_and_generations
        ),
        _numeric("ensembles", "Ensembles", "num_members", arms, _method, published),
        _numeric("students", "Larger students", "num_parameters", tuned_arms(same_real), _method, published),
        _category("order", "Where the real document stands", synthetic, _order_label, published),
        _category("attention", "Attention across documents", arms, _attention_label, published),
        _category("mixing", "With and without a separate real stream", synthetic, _mixing_label, published),
        _sets(results, tuned, published),
    ]
    return [figure for figure in figures if figure.own or figure.published]


def arm_views(results: Mapping[str, Any]) -> list[ArmView]:
    """The arms with finite losses, joined with their settings and their validation loss."""
    block = results["sets"][0]
    mode = block["mode"]
    validation = next((b for b in results["sets"] if b["set"] == "validation" and b["mode"] == mode), block)
    chosen_by = {row["arm"]: number_of(row["loss"]) for row in validation["losses"]}
    losses = {row["arm"]: row for row in block["losses"]}
    views = []
    for facts in results["arms"]:
        row = losses.get(facts["arm"])
        if row is None or not math.isfinite(number_of(row["loss"])):
            continue
        seeds = [number_of(seed["loss"]) for seed in row["seeds"]]
        settings = facts.get("settings", {})
        method = str(settings.get("ordering") or "real_only")
        loss = number_of(row["loss"])
        chosen = chosen_by.get(facts["arm"], math.inf)
        views.append(ArmView(facts["arm"], method, facts, settings, loss, min(seeds), max(seeds), chosen))
    return views


def tuned_arms(arms: Sequence[ArmView]) -> list[ArmView]:
    """Per method, number of generations and student the arm with the lowest validation loss."""
    best: dict[tuple[Any, ...], ArmView] = {}
    for arm in arms:
        if arm.get("real_document") in ("first", "none") or arm.get("attention_boundary") in ("row", "document"):
            continue  # ablations are not candidates
        key = (arm.method, arm.get("num_generations"), arm.get("num_parameters"))
        if key not in best or arm.validation < best[key].validation:
            best[key] = arm
    return list(best.values())


def controlled_arms(arms: Sequence[ArmView]) -> list[ArmView]:
    """The arms of the settings that cover the most (method, generations): one setting for all."""
    cells: dict[tuple[Any, ...], dict[tuple[Any, ...], ArmView]] = {}
    for arm in arms:
        settings = tuple(str(arm.get(key)) for key in _SETTINGS)
        cells.setdefault(settings, {}).setdefault((arm.method, arm.get("num_generations")), arm)
    return list(max(cells.values(), key=len).values()) if cells else []


def best_settings(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per method and number of generations: the tuned arm's settings beside the published ones."""
    published = load_published()["best_settings"]
    rows = []
    for arm in tuned_arms([view for view in arm_views(results) if view.facts["kind"] == "synthetic"]):
        generations = arm.get("num_generations")
        beside = published.get(arm.method, {})
        values = beside.get(str(generations)) if isinstance(beside, dict) else None
        own = [arm.get(key) for key in _SETTINGS]
        rows.append(
            {"arm": arm.arm, "method": arm.method, "num_generations": generations, "own": own, "published": values}
        )
    return rows


def _numeric(
    name: str,
    title: str,
    key: str,
    arms: Sequence[ArmView],
    group: Callable[[ArmView], str],
    published: Mapping[str, Any],
) -> PaperFigure:
    points: dict[str, list[Point]] = {}
    for arm in arms:
        x = arm.compute if key == "compute" else arm.get(key)
        if x is not None:
            points.setdefault(group(arm), []).append(Point(float(x), arm.loss, arm.low, arm.high, arm.arm))
    own = [_series(label, found, with_law=name == "ensembles") for label, found in points.items()]
    if key in ("planned_real_epochs", "synthetic_fraction"):
        own = [series for series in own if len({point.x for point in series.points}) > 1]
    if not any(len({point.x for point in series.points}) > 1 for series in own):
        own = []  # one size only: nothing to see over x
    return PaperFigure(
        name, title, key, False, tuple(own), _published(name, published), published["sources"]["megadocs"]
    )


def _series(name: str, points: Sequence[Point], *, with_law: bool) -> Series:
    ordered = tuple(sorted(points, key=lambda point: (float(point.x), point.arm)))
    law = None
    if with_law and len({point.x for point in ordered}) > 2:
        try:
            law = fit_power_law([float(point.x) for point in ordered], [point.loss for point in ordered]).law
        except AnalysisError:  # too few different sizes: the points are shown without a law
            law = None
    return Series(name, ordered, law)


def _category(
    name: str, title: str, arms: Sequence[ArmView], label: Callable[[ArmView], str | None], published: Mapping[str, Any]
) -> PaperFigure:
    points: dict[str, Point] = {}
    for arm in arms:
        words = label(arm)
        if words is not None and (words not in points or arm.loss < points[words].loss):
            points[words] = Point(words, arm.loss, arm.low, arm.high, arm.arm)
    own = (Series("these runs", tuple(points.values())),) if len(points) > 1 else ()
    return PaperFigure(name, title, "", True, own, _published(name, published), published["sources"]["megadocs"])


def _sets(results: Mapping[str, Any], tuned: Sequence[ArmView], published: Mapping[str, Any]) -> PaperFigure:
    generations = {arm.arm: (arm.method, arm.get("num_generations")) for arm in tuned}
    headline = results["sets"][0]
    points: dict[str, list[Point]] = {}
    for block in results["sets"]:
        if block["set"] in ("test", "validation") or block["mode"] != headline["mode"]:
            continue
        for row in block["losses"]:
            method, number = generations.get(row["arm"], ("", None))
            if number is not None:
                seeds = [number_of(seed["loss"]) for seed in row["seeds"]]
                point = Point(float(number), number_of(row["loss"]), min(seeds), max(seeds), row["arm"])
                points.setdefault(f"{block['set']}: {method}", []).append(point)
    own = tuple(_series(label, found, with_law=False) for label, found in points.items())
    beside = _published("sets", published)
    return PaperFigure("sets", "Other sets", "num_generations", False, own, beside, published["sources"]["megadocs"])


def _published(name: str, values: Mapping[str, Any]) -> tuple[Series, ...]:
    keys = {
        "generations": "loss_by_generations",
        "sets": "arxiv_loss_by_generations",
        "real_epochs": "loss_by_real_epochs",
        "ensembles": "ensembles",
        "order": "order",
        "attention": "cross_document_attention",
        "mixing": "separate_real_stream",
    }
    group = values.get(keys.get(name, ""))
    if group is None:
        return ()
    if name in ("order", "attention", "mixing"):
        return (Series("published", tuple(Point(x, loss, loss, loss) for x, loss in group["series"].items())),)
    series = []
    for label, found in group["series"].items():
        sizes, losses = (found["x"], found["loss"]) if isinstance(found, dict) else (group["x"], found)
        points = [Point(float(x), loss, loss, loss) for x, loss in zip(sizes, losses, strict=True)]
        series.append(_series(f"arXiv-CS: {label}" if name == "sets" else label, points, with_law=name == "ensembles"))
    return tuple(series)


def _method(arm: ArmView) -> str:
    return arm.method


def _method_and_generations(arm: ArmView) -> str:
    generations = arm.get("num_generations")
    return arm.method if generations is None else f"{arm.method}, G = {generations}"


def _order_label(arm: ArmView) -> str | None:
    words = {"last": "real document last", "first": "real document first", "none": "without the real document"}
    where = words.get(str(arm.get("real_document")))
    return None if where is None or arm.method not in ("simple", "stitched") else f"{arm.method}, {where}"


def _attention_label(arm: ArmView) -> str | None:
    boundary = arm.get("attention_boundary")
    return None if boundary is None else f"{_method_and_generations(arm)}, {'on' if boundary == 'none' else 'off'}"


def _mixing_label(arm: ArmView) -> str | None:
    separate = arm.get("separate_real_stream")
    if separate is None:
        return None
    return f"{_method_and_generations(arm)}, {'mixed with the real stream' if separate else 'synthetic stream alone'}"
