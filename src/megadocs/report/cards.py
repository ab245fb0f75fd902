"""Tables that a narrow screen shows as cards: every cell carries its column's title, so that no column needs scrolling.

    html = with_labels(html)      # <td> -> <td data-label="loss">

The style sheet hides the head and puts the label before the cell below a width, a higher one for tables of more
columns (`card_rules`); wide screens and print show the table as it is. A cell over two columns has both titles, one
over more is a remark on its row and has none. Works on the page's own markup: text of documents is escaped, so it holds
no tags.
"""

from __future__ import annotations

import re

from markupsafe import Markup

_TABLE = re.compile(r'<div class="table"([^>]*)>(<table>.*?</table>)', re.DOTALL)
#: Columns from which on, the table's class, the width in rem up to which its rows are cards. In the pages of results/
#: seven columns take up to 910 pixels, twelve to fourteen 1,180, fifteen 1,290, beside 64 of margin.
_LEVELS = ((0, "", 46), (7, "many", 61), (12, "dense", 80), (15, "packed", 90), (17, "over", 110))
#: A row is a block of titled values.
_RULES = """
@media screen and (max-width: WIDTHrem) {
  TABLE { max-width: 100%; margin-left: 0; transform: none; background: none; overflow-x: visible; }
  TABLE thead { display: none; } TABLE :is(table, tbody, td, th) { display: block; }
  TABLE tbody tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 0 2rem;
    padding: .7rem 0; border-bottom: 1px solid var(--rule); }
  TABLE :is(tbody th, tbody td) { padding: .12rem 0; border: 0; text-align: right; white-space: normal;
    overflow-wrap: anywhere; }
  TABLE .again { visibility: visible; } TABLE tbody th { position: static; grid-column: 1 / -1; text-align: left; }
  TABLE td:empty { display: none; } TABLE th.pair span { white-space: normal; }
  TABLE td[data-label]:not(:empty) { display: flow-root; }
  TABLE td[data-label]::before { content: attr(data-label); float: left; max-width: 55%; padding-right: 1rem;
    color: var(--soft); text-align: left; }
}"""
_HEAD = re.compile(r"<thead>.*?</thead>", re.DOTALL)
_ROW = re.compile(r"<tr[ >].*?</tr>", re.DOTALL)
_CELL = re.compile(r"<(th|td)((?: [^>]*)?)>(.*?)</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_SPAN = re.compile(r'(col|row)span="(\d+)"')


def card_rules() -> str:
    """The style sheet's part on cards: a block for each number of columns from which on they begin at another width."""
    tables = [(f".table.{name}" if name else ".table", width) for _, name, width in _LEVELS]
    return "".join(_RULES.replace("TABLE", table).replace("WIDTH", str(width)) for table, width in tables) + "\n"


def with_labels(html: str) -> str:
    """The page with `data-label` on every cell that stands under a titled column."""
    return _TABLE.sub(lambda found: _labelled(found.group(1), found.group(2)), html)


def _labelled(attributes: str, table: str) -> str:
    head = _HEAD.search(table)
    if head is None:
        return f'<div class="table"{attributes}>{table}'
    titles = [_words(cell.group(3)) for cell in _CELL.finditer(head.group())]
    body, blocked = table[head.end() :], [0] * len(titles)  # rows that a cell from above still takes in each column

    def label_row(row: re.Match[str]) -> str:
        place = 0
        taken = [rows > 0 for rows in blocked]
        blocked[:] = [max(0, rows - 1) for rows in blocked]

        def label_cell(cell: re.Match[str]) -> str:
            nonlocal place
            while place < len(titles) and taken[place]:
                place += 1
            spans = {kind: int(number) for kind, number in _SPAN.findall(cell.group(2))}
            own, width = place, spans.get("col", 1)
            for column in range(own, min(own + width, len(titles))):
                blocked[column] = spans.get("row", 1) - 1
            place += width
            title = ", ".join(filter(None, titles[own : own + width])) if width <= 2 else ""
            if cell.group(1) == "th" or not title:
                return cell.group()
            label = Markup(' data-label="{}"').format(title)
            return f"<td{cell.group(2)}{label}>{cell.group(3)}</td>"

        return _CELL.sub(label_cell, row.group())

    css = " ".join(["table", *(name for least, name, _ in _LEVELS if name and len(titles) >= least)])
    return f'<div class="{css}"{attributes}>{table[: head.end()]}{_ROW.sub(label_row, body)}'


def _words(cell: str) -> str:
    """The text of a head cell, entities resolved."""
    return str(Markup(" ".join(_TAG.sub("", re.sub(r"<br>", " ", cell)).split())).unescape())
