"""Builds the report: one HTML file that opens offline, asks for nothing, and is the same bytes when built again.

    html = build_report(ReportInputs(results=results, curves=curves, ...))
    write_bytes_atomic(workspace.root / "report.html", html.encode("utf-8"))

The page holds no script. Its Content-Security-Policy allows nothing but its one style sheet, by hash; text from
documents and engines is escaped by the template engine and its hidden characters are spelled out (`wording.visible`).
Nothing here reads a clock, a file or the environment.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from megadocs.analysis.arm_settings import settings_table
from megadocs.analysis.gate import gate_sentences
from megadocs.analysis.statement import level_text, multiple_interval_text, multiple_text, ratio_text
from megadocs.report import wording
from megadocs.report.audit import audit_view
from megadocs.report.cards import with_labels
from megadocs.report.figures import (
    MAX_CURVES,
    MAX_ROWS,
    arm_links,
    arm_styles,
    difference_figure,
    efficiency_figure,
    training_figure,
)
from megadocs.report.inputs import Generated, ReportInputs, Sample
from megadocs.report.names import IN_TABLES, short_names
from megadocs.report.paper import compute_view, paper_views
from megadocs.report.positions import position_views
from megadocs.report.stream_windows import CSS as WINDOWS_CSS
from megadocs.report.stream_windows import stream_windows_section

_MAX_SAMPLES = 12
_MAX_SAMPLE_CHARACTERS = 12_000


def build_report(inputs: ReportInputs) -> str:
    """The page as text.

    Args:
        inputs: results and everything shown beside them; what is missing is shown as missing.
    """
    css = Markup(resources.files("megadocs.report").joinpath("page.css").read_text(encoding="utf-8") + WINDOWS_CSS)
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    results = inputs.results
    headline = results["sets"][0]
    page = _template().render(
        css=css,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'",
        inputs=inputs,
        results=results,
        max_curves=MAX_CURVES,
        max_rows=MAX_ROWS,
        headline=headline,
        rows=_loss_rows(results, headline),
        other_sets=results["sets"][1:],
        styles=arm_styles(results),
        efficiency=efficiency_figure(results, headline),
        differences=difference_figure(results, headline),
        links=arm_links(results),
        benchmarks=results.get("benchmarks"),
        ensembles=_ensemble_rows(results),
        searches=results.get("searches", []),
        audit=audit_view(results.get("audit")),
        compute=compute_view(results),
        positions=position_views(results),
        world=results.get("world"),
        gate=results.get("gate"),
        gate_sentence=next(iter(gate_sentences(results.get("gate", ()), results)), ""),
        paper=paper_views(results),
        tokens_of={arm["arm"]: arm.get("train_tokens") for arm in results["arms"]},
        setting=_setting_text,
        settings=settings_table(results["arms"]),
        training=training_figure(results, inputs.curves),
        samples=[_sample_view(sample) for sample in inputs.samples[:_MAX_SAMPLES]],
        stream_windows=stream_windows_section(inputs.windows),
        streams_by_arm=[(arm, list(rows)) for arm, rows in groupby(inputs.streams, key=lambda row: row.arm)],
        names=short_names([row["arm"] for row in results["arms"]], IN_TABLES),
    )
    return with_labels(page)


def _setting_text(values: Sequence[Any] | None) -> str:
    """(real epochs, synthetic fraction, learning rate, weight decay) in a line."""
    if values is None:
        return "not published"
    return " · ".join("-" if value is None else f"{float(value):g}" for value in values)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("megadocs.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=wording.count,
        duration=wording.duration,
        flops=wording.flops,
        interval=wording.interval,
        level=level_text,
        multiple=multiple_text,
        multiple_interval=multiple_interval_text,
        num=wording.number,
        p_value=wording.p_value,
        open_interval=wording.open_interval,
        percent=wording.percent,
        plain_value=wording.plain_value,
        ratio=ratio_text,
        record_link=wording.record_link,
        significant=wording.significant,
        signed=wording.signed,
        visible=wording.visible,
    )
    return environment.get_template("page.html.j2")


def _loss_rows(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per arm of the recipe, also for arms without a finished run."""
    losses = {row["arm"]: row for row in block["losses"]}
    differences = {row["arm"]: row for row in block["differences"]}
    worth = {row["arm"]: row for row in block["data_efficiency"]}
    records = {(run["arm"], run["seed"]): run["record"] for run in results["runs"]}
    own_tokens = _real_multiples(results, block)
    return [
        {
            "arm": arm["arm"],
            "facts": arm,
            "loss": losses.get(arm["arm"]),
            "difference": differences.get(arm["arm"]),
            "worth": worth.get(arm["arm"]),
            "own_tokens": own_tokens.get(arm["arm"]),
            "records": {seed: records[arm["arm"], seed] for seed in arm["seeds"]},
            "absent": [row for row in results["missing"] if row["arm"] == arm["arm"]],
        }
        for arm in results["arms"]
    ]


def _real_multiples(results: Mapping[str, Any], block: Mapping[str, Any]) -> dict[str, float]:
    """Arm of the real-only curve -> its real tokens as a multiple of the baseline's."""
    tokens = {point["arm"]: float(point["real_tokens"]) for point in block["curve"]}
    base = tokens.get(results["baseline"])
    return {arm: num / base for arm, num in tokens.items()} if base else {}


def _ensemble_rows(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Per ensemble and average its losses by size on the headline set, and their law; None without ensembles."""
    headline = results["headline"]
    series: dict[tuple[str, str], dict[str, Any]] = {}
    for row in results.get("ensembles", ()):
        if (row["set"], row["mode"]) == (headline["set"], headline["mode"]):
            found = series.setdefault((row["ensemble"], row["average"]), {"sizes": {}, **row})
            found["sizes"][row["num_members"]] = row
    if not series:
        return None
    laws = {row["name"]: row for row in results["ensemble_laws"]}
    return {
        "sizes": sorted({size for found in series.values() for size in found["sizes"]}),
        "rows": [{**found, "law": laws.get(f"{name}, {average}")} for (name, average), found in series.items()],
    }


def _sample_view(sample: Sample) -> dict[str, Any]:
    """A document cut at its thoughts' split points, and its generations in order."""
    thoughts = sorted(
        (item for item in sample.generations if item.split_character is not None),
        key=lambda item: (item.split_character or 0, item.generation),
    )
    return {
        "id": sample.document_id,
        "pieces": _pieces(_shortened(sample.text), thoughts),
        "generations": [
            {
                "item": item,
                "text": _shortened(item.text),
                "mark": thoughts.index(item) + 1 if item in thoughts else None,
            }
            for item in sorted(sample.generations, key=lambda item: (item.kind, item.generation))
        ],
    }


def _pieces(text: str, thoughts: Sequence[Generated]) -> list[dict[str, Any]]:
    """The text between split points; each piece but the last is followed by the mark of a thought."""
    pieces, start = [], 0
    for mark, thought in enumerate(thoughts, start=1):
        end = min(max(thought.split_character or 0, start), len(text))
        pieces.append({"text": text[start:end], "mark": mark})
        start = end
    return [*pieces, {"text": text[start:], "mark": None}]


def _shortened(text: str) -> str:
    if len(text) <= _MAX_SAMPLE_CHARACTERS:
        return text
    return f"{text[:_MAX_SAMPLE_CHARACTERS]} … ({len(text) - _MAX_SAMPLE_CHARACTERS:,} more characters)"
