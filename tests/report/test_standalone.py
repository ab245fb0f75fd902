"""Figures as files of their own: the report's drawing, the rules that it uses and nothing else."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from megadocs.report.figures import difference_figure, efficiency_figure
from megadocs.report.standalone import standalone_svg
from megadocs.report.tables import result_tables

RESULTS = json.loads((Path(__file__).parents[2] / "results" / "small" / "results.json").read_text(encoding="utf-8"))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("figure", [efficiency_figure, difference_figure])
@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_every_class_is_coloured_and_every_colour_is_there(figure, theme):
    root = ElementTree.fromstring(standalone_svg(figure(RESULTS, RESULTS["sets"][0]), theme))
    style = root.find(f"{SVG}style").text
    shapes = [node for node in root.iter() if node.tag in {SVG + tag for tag in ("path", "circle", "line", "rect")}]
    assert all(set(node.attrib["class"].split()) & set(re.findall(r"\.([\w-]+)", style)) for node in shapes)
    defined = set(re.findall(r"(--[\w-]+):", style))
    assert set(re.findall(r"var\((--[\w-]+)", style)) <= defined
    assert not list(root.iter(f"{SVG}a"))
    assert ("prefers-color-scheme" in style) == (theme == "auto")


def test_the_drawing_is_the_reports():
    wide = str(efficiency_figure(RESULTS, RESULTS["sets"][0])).partition("</svg>")[0]
    root = ElementTree.fromstring(standalone_svg(efficiency_figure(RESULTS, RESULTS["sets"][0])))
    circles = [(node.attrib["cx"], node.attrib["cy"]) for node in root.iter(f"{SVG}circle")]
    assert circles == re.findall(r'<circle [^>]*cx="([^"]+)" cy="([^"]+)"', wide)
    assert [node.text for node in root.iter(f"{SVG}text")] == re.findall(r"<text [^>]*>([^<]*)<", wide)
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    assert (left, top) == (-12, -12)
    assert (width, height) == (float(root.attrib["width"]), float(root.attrib["height"]))


def test_results_of_before_still_make_tables():
    assert result_tables(RESULTS)["data_efficiency"]
