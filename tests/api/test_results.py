"""Answers, tables and figures of a finished workspace."""

import csv
import json
from xml.etree import ElementTree

import pytest
from markupsafe import escape

import megadocs
from megadocs.errors import InputError


def test_answer_and_data_are_the_reports(finished):
    written = json.loads((finished.path / "results.json").read_text(encoding="utf-8"))
    assert finished.results.data == written
    assert finished.results.answer[0] == written["answer"][0]


def test_tables_are_those_that_analyze_writes(finished, tmp_path):
    from megadocs.report.tables import write_tables

    files = [path for path in write_tables(finished.results.data, tmp_path) if path.suffix == ".csv"]
    assert finished.results.tables == sorted(path.stem for path in files)
    for path in files:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        table = finished.results.table(path.stem)
        assert (table.num_rows, table.column_names) == (len(rows), list(rows[0])), path.stem


def test_frames_hold_numbers(finished):
    frame = finished.results.frame("losses")
    losses = {row["arm"]: row["loss"] for row in finished.results.data["sets"][0]["losses"]}
    assert frame[frame["set"] == "test"].set_index(["mode", "arm"]).loc["windowed"]["loss"].to_dict() == losses


@pytest.mark.parametrize("name", ["worth", "differences", "training"])
@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_figures_are_whole_drawings(finished, name, theme, tmp_path):
    drawn = finished.results.figure(name, theme=theme)
    root = ElementTree.parse(drawn.save(tmp_path / "figure.svg")).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not list(root.iter("{http://www.w3.org/2000/svg}a"))
    style = root.find("{http://www.w3.org/2000/svg}style").text
    named = {part.split(")")[0].split(",")[0] for part in style.split("var(")[1:]}
    assert all(f"{variable}:" in style for variable in named)
    assert ("prefers-color-scheme" in style) == (theme == "auto")
    assert "var(--" not in drawn.description


def test_a_notebook_sees_answer_figure_and_table(finished):
    shown = finished.results._repr_html_()
    assert f"<p><b>{escape(finished.results.answer[0])}</b></p>" in shown
    assert shown.count("<tr>") == 1 + len(finished.arms)
    assert "data:image/svg+xml;base64," in shown
    assert "real_only" in shown


def test_what_is_not_there_is_named(finished, tmp_path):
    with pytest.raises(InputError, match="no table 'nothing'"):
        finished.results.table("nothing")
    with pytest.raises(InputError, match="no figure 'nothing'"):
        finished.results.figure("nothing")
    with pytest.raises(InputError, match="no recipe has run there"):
        megadocs.open_workspace(tmp_path)


def test_text_of_documents_never_becomes_markup(finished):
    data = {**finished.results.data, "answer": ["<script>x</script>"]}
    shown = megadocs.Results(data, finished.path)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
