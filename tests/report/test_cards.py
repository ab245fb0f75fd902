"""Cells know their column, also beside cells that span columns or rows: what a narrow screen shows has its title."""

from __future__ import annotations

import re

from megadocs.report import build_report
from megadocs.report.cards import card_rules, with_labels

from .fixtures_report import make_complete_inputs


def table(head: str, body: str) -> str:
    return f'<div class="table" role="region"><table><thead><tr>{head}</tr></thead>{body}</table></div>'


def labels(html: str) -> list[tuple[str, str]]:
    return re.findall(r'<td[^>]*? data-label="([^"]*)">([^<]*)<', with_labels(html))


def test_cells_get_the_title_of_their_column() -> None:
    head = '<th scope="col">arm</th><th class="n">tokens<br>trained &amp; read</th><th></th>'
    html = table(head, '<tbody><tr><th scope="row">a</th><td class="n">1</td><td>2</td></tr></tbody>')
    assert labels(html) == [("tokens trained &amp; read", "1")]
    assert with_labels(html).startswith('<div class="table" role')


def test_spans_keep_the_columns_in_step() -> None:
    head = "<th>arm</th><th>stream</th><th>rows</th><th>tokens</th>"
    body = (
        '<tbody><tr><th rowspan="2">a</th><td>real</td><td>1</td><td>2</td></tr>'
        "<tr><td>simple</td><td>3</td><td>4</td></tr>"
        '<tr><th>b</th><td colspan="2">missing</td><td>5</td></tr></tbody>'
    )
    found = [("stream", "real"), ("rows", "1"), ("tokens", "2"), ("stream", "simple"), ("rows", "3"), ("tokens", "4")]
    assert labels(table(head, body)) == [*found, ("stream, rows", "missing"), ("tokens", "5")]


def test_a_remark_over_many_columns_is_not_a_value_of_the_first() -> None:
    head = "<th>arm</th><th>loss</th><th>each seed</th><th>verdict</th><th>worth</th><th>tokens</th>"
    body = '<tbody><tr><th>floor</th><td>5</td><td colspan="3">counted, not trained</td><td>7</td></tr></tbody>'
    assert labels(table(head, body)) == [("loss", "5"), ("tokens", "7")]


def test_a_table_of_many_columns_is_marked() -> None:
    for columns, css in ((6, "table"), (7, "table many"), (11, "table many"), (12, "table many dense")):
        assert with_labels(table("<th>c</th>" * columns, "")).startswith(f'<div class="{css}" role')
    assert with_labels(table("<th>c</th>" * 17, "")).startswith('<div class="table many dense packed over" role')


def test_more_columns_are_cards_up_to_a_greater_width() -> None:
    widths = re.findall(r"max-width: (\d+)rem\) \{\n  (\S+) \{", card_rules())
    assert widths == [
        ("46", ".table"),
        ("61", ".table.many"),
        ("80", ".table.dense"),
        ("90", ".table.packed"),
        ("110", ".table.over"),
    ]
    assert card_rules().count("{") == card_rules().count("}")
    assert "TABLE" not in card_rules() and "WIDTH" not in card_rules()


def test_every_titled_cell_of_the_page_has_its_title() -> None:
    html = build_report(make_complete_inputs())
    without = [cell for cell in re.findall(r"<td[^>]*>", html) if "data-label" not in cell]
    assert html.count("data-label=") > 500
    assert [cell for cell in without if not re.search(r'colspan="([3-9]|\d\d)"', cell)] == []
    assert all("thead" in found for found in re.findall(r"<table>.*?</table>", html, re.DOTALL))
