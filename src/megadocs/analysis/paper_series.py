"""The paper's figures as data: the same quantities from the user's own runs, and the published values beside them.

Arms are found by their settings (`RunFacts.settings`), never by their names: `ordering`, `num_generations`,
`synthetic_fraction`, `learning_rate`, `weight_decay`, `real_document`, `attention_boundary`, `separate_real_stream`,
`num_members`. Where several arms share a method and a number of generations, the tuned one is the one with the lowest
*validation* loss, and its headline loss is what is shown: the set that chooses is not the set that reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from megadocs.analysis.paper_arms import (
    SETTINGS,
    ArmView,
    arm_views,
    controlled_arms,
    differing_only_in,
    is_untuned,
    of_baseline_size,
    tuned_arms,
)
from megadocs.analysis.paper_published import Point, Series, build_series, published_series
from megadocs.analysis.published import load_published
from megadocs.analysis.results_json import number_of
from megadocs.kinds import orderings_of_role, row_kind

LOSS = "loss, nats per token"
ERROR = "error, zero-shot"


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One figure: own series, published series, what the axes are."""

    name: str
    title: str
    x_label: str  # what x counts; categories where `is_category`
    is_category: bool  # x is a condition, not a number
    own: tuple[Series, ...]  # from the user's runs; empty where there are none of this kind
    published: tuple[Series, ...]  # empty where no values were published
    source: str
    y_label: str = LOSS
    note: str = ""  # what was published in words


def paper_figures(results: Mapping[str, Any], *, against_compute: bool = False) -> list[PaperFigure]:
    """Every figure of the paper that has own or published values.

    Args:
        results: of `analyze_experiment`.
        against_compute: x is training compute wherever it would be a number of generations, epochs or a fraction.
    """
    every_size = arm_views(results)
    arms = of_baseline_size(every_size, results["baseline"])
    synthetic = [arm for arm in arms if arm.facts["kind"] == "synthetic"]
    methods = [arm for arm in synthetic if arm.method not in _controls()]
    tuned, controlled = tuned_arms(methods), controlled_arms(methods)
    base = next((arm.facts["real_tokens"] for arm in arms if arm.arm == results["baseline"]), None)
    same_real = [arm for arm in arms if arm.facts["real_tokens"] == base]

    is_one_setting = is_untuned(methods)
    title = "Loss against generations, " + ("one setting for every method" if is_one_setting else "tuned")

    def numeric(
        name: str, title: str, key: str, chosen: Sequence[ArmView], group: Callable[[ArmView], str]
    ) -> PaperFigure:
        return _numeric(name, title, "compute" if against_compute else key, chosen, group)

    figures = [
        numeric("generations", title, "num_generations", tuned, _method),
        numeric(
            "controlled",
            "The same settings for every method",
            "num_generations",
            [] if is_one_setting else controlled,
            _method,
        ),
        _benchmarks(results, tuned, against_compute=against_compute),
        numeric(
            "real_epochs",
            "Loss against real epochs",
            "planned_real_epochs",
            differing_only_in("planned_real_epochs", synthetic),
            _method_and_generations,
        ),
        numeric(
            "fraction",
            "Loss against the synthetic fraction",
            "synthetic_fraction",
            differing_only_in("synthetic_fraction", synthetic),
            _method_and_generations,
        ),
        _ensembles(results, arms),
        numeric("students", "Larger students", "num_parameters", _students(every_size, base), _method),
        *_categories(arms, synthetic, same_real),
        *_sets(results, tuned),
    ]
    return [figure for figure in figures if figure.own or figure.published]


def _categories(
    arms: Sequence[ArmView], synthetic: Sequence[ArmView], same_real: Sequence[ArmView]
) -> list[PaperFigure]:
    """The figures that compare conditions instead of sizes."""
    return [
        _category("self_distillation", "Self-distillation", same_real, _distilled_label),
        _category(
            "order",
            "Where the real document stands",
            _contrasting(synthetic, "real_document", lambda arm: arm.get("num_generations")),
            _order_label,
        ),
        _category(
            "attention",
            "Attention across documents",
            _contrasting(arms, "attention_boundary", _method_and_generations),
            _attention_label,
        ),
        _category(
            "mixing",
            "With and without a separate real stream",
            _contrasting(synthetic, "separate_real_stream", _method_and_generations),
            _mixing_label,
        ),
        _category("controls", "Controls", _beside_controls(same_real), _control_label),
    ]


def _numeric(name: str, title: str, key: str, arms: Sequence[ArmView], group: Callable[[ArmView], str]) -> PaperFigure:
    points: dict[str, list[Point]] = {}
    for arm in arms:
        x = arm.compute if key == "compute" else arm.get(key)
        if x is not None:
            points.setdefault(group(arm), []).append(Point(float(x), arm.loss, arm.low, arm.high, arm.arm))
    own = [build_series(label, found, with_law=False) for label, found in points.items()]
    return _figure(name, title, key, own, published_series(name, against_compute=key == "compute"))


def _figure(
    name: str, title: str, key: str, own: Sequence[Series], published: tuple[Series, ...], **more: Any
) -> PaperFigure:
    """A numeric figure; without a series over several sizes there is nothing to see over x."""
    has_sizes = any(len({point.x for point in series.points}) > 1 for series in own)
    source = load_published()["sources"]["megadocs"]
    return PaperFigure(name, title, key, False, tuple(own) if has_sizes else (), published, source, **more)


def _ensembles(results: Mapping[str, Any], arms: Sequence[ArmView]) -> PaperFigure:
    """Ensembles of the recipe by their averaged logits, and arms that count members themselves."""
    headline = results["headline"]
    points: dict[str, list[Point]] = {}
    for row in results.get("ensembles", ()):
        if (row["set"], row["mode"], row["average"]) == (headline["set"], headline["mode"], "logits"):
            loss = number_of(row["loss"])
            points.setdefault(row["ensemble"], []).append(Point(float(row["num_members"]), loss, loss, loss))
    for arm in arms:
        if arm.get("num_members") is not None:
            point = Point(float(arm.get("num_members")), arm.loss, arm.low, arm.high, arm.arm)
            points.setdefault(arm.method, []).append(point)
    own = [build_series(label, found, with_law=True) for label, found in points.items()]
    laws = {row["name"]: row for row in results.get("ensemble_laws", ())}
    unknown = {name for name, law in laws.items() if not law.get("is_asymptote_identified")}
    own = [replace(series, is_asymptote_shown=f"{series.name}, logits" not in unknown) for series in own]
    return _figure("ensembles", "Ensembles", "num_members", own, published_series("ensembles"))


def _benchmarks(results: Mapping[str, Any], tuned: Sequence[ArmView], *, against_compute: bool) -> PaperFigure:
    """Mean zero-shot error of the tuned arms."""
    table = results.get("benchmarks")
    rows = {row["arm"]: row for row in table["rows"]} if table else {}
    points: dict[str, list[Point]] = {}
    for arm in tuned:
        x, row = arm.compute if against_compute else arm.get("num_generations"), rows.get(arm.arm)
        if x is not None and row is not None and row["error"] is not None:
            errors = [number_of(seed["error"]) for seed in row["seed_errors"]] or [number_of(row["error"])]
            point = Point(float(x), number_of(row["error"]), min(errors), max(errors), arm.arm)
            points.setdefault(arm.method, []).append(point)
    own = [build_series(label, found, with_law=False) for label, found in points.items()]
    gains = load_published()["benchmark_gain_percent"]
    words = ", ".join(f"{method.replace('_', ' ')} +{gain} %" for method, gain in gains["series"].items())
    note = f"Published: mean accuracy at G = {gains['num_generations']} against real text alone: {words}."
    title = "Benchmark error against generations"
    key = "compute" if against_compute else "num_generations"
    return _figure("benchmarks", title, key, own, (), y_label=ERROR, note=note)


def _category(name: str, title: str, arms: Sequence[ArmView], label: Callable[[ArmView], str | None]) -> PaperFigure:
    """One point per condition; of several arms with one label the best on validation."""
    chosen: dict[str, ArmView] = {}
    for arm in arms:
        words = label(arm)
        if words is not None and (words not in chosen or arm.validation < chosen[words].validation):
            chosen[words] = arm
    points = tuple(Point(words, arm.loss, arm.low, arm.high, arm.arm) for words, arm in chosen.items())
    own = (Series("these runs", points),) if _is_contrast(name, chosen) else ()
    source = load_published()["sources"]["megadocs"]
    return PaperFigure(name, title, "", True, own, published_series(name), source)


def _contrasting(arms: Sequence[ArmView], key: str, group: Callable[[ArmView], Any]) -> list[ArmView]:
    """The arms of groups in which a setting takes more than one value: without that there is nothing to compare.

    Where a method has arms that differ in this setting only, its other arms are left out: they were trained otherwise.
    """

    def several(of: Callable[[ArmView], Any]) -> list[ArmView]:
        values: dict[Any, set[str]] = {}
        for arm in arms:
            values.setdefault(of(arm), set()).add(str(arm.get(key)))
        return [arm for arm in arms if len(values[of(arm)]) > 1]

    alike = several(lambda arm: (_method_and_generations(arm), *(str(arm.get(other)) for other in SETTINGS)))
    matched = {_method_and_generations(arm) for arm in alike}
    return [arm for arm in several(group) if arm in alike or _method_and_generations(arm) not in matched]


def _students(arms: Sequence[ArmView], real_tokens: Any) -> list[ArmView]:
    """Per method the tuned arms at the number of generations that the most student sizes have, the larger of equals."""
    found: dict[str, dict[Any, list[ArmView]]] = {}
    for arm in tuned_arms([arm for arm in arms if arm.facts["real_tokens"] == real_tokens]):
        if arm.method not in _controls():
            found.setdefault(arm.method, {}).setdefault(arm.get("num_generations"), []).append(arm)
    largest = [max(by.items(), key=lambda entry: (len(entry[1]), entry[0] or 0))[1] for by in found.values()]
    return [arm for chosen in largest if len(chosen) > 1 for arm in chosen]


def _beside_controls(arms: Sequence[ArmView]) -> list[ArmView]:
    """The controls, and what stands beside them: real text alone and the methods at the same generations."""
    generations = {arm.get("num_generations") for arm in arms if arm.method in _shown_as_controls()}
    return [arm for arm in arms if arm.method == "real_only" or arm.get("num_generations") in generations]


def _is_contrast(name: str, chosen: Mapping[str, ArmView]) -> bool:
    """Whether there are two conditions to compare, the special one among them."""
    special = {"self_distillation": ("self_distilled",), "controls": _shown_as_controls()}.get(name)
    return len(chosen) > 1 and (special is None or any(arm.method in special for arm in chosen.values()))


def _sets(results: Mapping[str, Any], tuned: Sequence[ArmView]) -> list[PaperFigure]:
    """A figure for each additional set; the published one, of arXiv-CS papers, beside that of the longest documents."""
    generations = {arm.arm: (arm.method, arm.get("num_generations")) for arm in tuned}
    mode = results["sets"][0]["mode"]
    blocks = [b for b in results["sets"] if b["set"] not in ("test", "validation") and b["mode"] == mode]
    published, source = published_series("sets"), load_published()["sources"]["megadocs"]
    longest = max(blocks, key=lambda block: block["num_tokens"] / block["num_documents"], default=None)
    figures = []
    for block in blocks:
        points: dict[str, list[Point]] = {}
        for row in block["losses"]:
            method, number = generations.get(row["arm"], ("", None))
            if number is not None:
                seeds = [number_of(seed["loss"]) for seed in row["seeds"]]
                point = Point(float(number), number_of(row["loss"]), min(seeds), max(seeds), row["arm"])
                points.setdefault(method, []).append(point)
        own = [build_series(label, found, with_law=False) for label, found in points.items()]
        beside = published if block is longest else ()
        name, title = f"set-{block['set']}", f"Set {block['set']}: loss against generations"
        figures.append(_figure(name, title, "num_generations", own, beside))
    if not any(figure.own and figure.published for figure in figures):
        figures.append(
            _figure("sets", "Papers of arXiv-CS: loss against generations", "num_generations", (), published)
        )
    return [replace(figure, source=f"papers of arXiv-CS, {source}") for figure in figures]


def _controls() -> tuple[str, ...]:
    return tuple(spec.name for spec in orderings_of_role("control"))


def _shown_as_controls() -> tuple[str, ...]:
    """The controls, and the merged megadocs that the paper shows beside them."""
    return (*_controls(), "merged")


def _method(arm: ArmView) -> str:
    return arm.method


def _method_and_generations(arm: ArmView) -> str:
    generations = arm.get("num_generations")
    return arm.method if generations is None else f"{arm.method}, G = {generations}"


def _order_label(arm: ArmView) -> str | None:
    words = {"last": "real document last", "first": "real document first", "none": "without the real document"}
    words["random"] = "real document at random"
    where = words.get(str(arm.get("real_document")))
    if where is None or arm.method not in ("simple", "stitched"):
        return None
    place = where if arm.method == "stitched" or "without" in where else "shuffled"
    return f"{_method_and_generations(arm)}, {place}"


def _attention_label(arm: ArmView) -> str | None:
    words = {"none": "on", "row": "off", "document": "within documents"}
    boundary = words.get(str(arm.get("attention_boundary")))
    return None if boundary is None else f"{_method_and_generations(arm)}, {boundary}"


def _mixing_label(arm: ArmView) -> str | None:
    separate = arm.get("separate_real_stream")
    if separate is None:
        return None
    return f"{_method_and_generations(arm)}, {'mixed with the real stream' if separate else 'synthetic stream alone'}"


def _distilled_label(arm: ArmView) -> str | None:
    if arm.method == "self_distilled":
        return f"self-distilled, fraction {float(arm.get('synthetic_fraction')):g}"
    return "real documents only" if arm.method == "real_only" else None


def _control_label(arm: ArmView) -> str | None:
    if arm.method == "real_only":
        return "real documents only"
    methods = [spec for spec in orderings_of_role("method") if not row_kind(spec.kinds[0]).is_unconditional]
    known = (*_shown_as_controls(), *(spec.name for spec in methods))
    return _method_and_generations(arm) if arm.method in known else None
