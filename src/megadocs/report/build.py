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
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from megadocs.analysis.sentences import level_text, multiple_interval_text, multiple_text, ratio_text
from megadocs.report import wording
from megadocs.report.cards import card_rules, with_labels
from megadocs.report.figures import MAX_CURVES, arm_links, arm_styles
from megadocs.report.inputs import ReportInputs
from megadocs.report.names import IN_TABLES, short_names
from megadocs.report.sections import SECTIONS


def build_report(inputs: ReportInputs) -> str:
    """The page as text.

    Args:
        inputs: results and everything shown beside them; what is missing is shown as missing.
    """
    css, policy = page_style()
    results = inputs.results
    common = {
        "inputs": inputs,
        "results": results,
        "headline": results["sets"][0],
        "styles": arm_styles(results),
        "links": arm_links(results),
        "names": short_names(_names(results), IN_TABLES),
        "max_curves": MAX_CURVES,
    }
    views = {section: section.view(inputs) for section in SECTIONS}
    bodies = [
        (section, Markup(page_template(f"sections/{section.name}.html.j2").render(common | dict(view))))
        for section, view in views.items()
        if view is not None
    ]
    page = page_template("page.html.j2").render(
        common,
        css=css,
        policy=policy,
        bodies=bodies,
    )
    return with_labels(page)


def _names(results: Mapping[str, Any]) -> list[str]:
    """What people named and tables show: arms, then ensembles."""
    return [*(row["arm"] for row in results["arms"]), *(row["ensemble"] for row in results.get("ensembles") or ())]


def page_style() -> tuple[Markup, str]:
    """The style sheet of our pages, and the policy that allows it and nothing else."""
    sheet = resources.files("megadocs.report").joinpath("page.css").read_text(encoding="utf-8")
    css = Markup(sheet + card_rules())
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    return css, f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


def page_template(name: str) -> Template:
    """A template of this package, with our filters; what it is given is escaped."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
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
        said=wording.said,
        significant=wording.significant,
        signed=wording.signed,
        visible=wording.visible,
    )
    return environment
