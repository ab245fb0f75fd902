"""Sharing statistics and sample windows, against counts by hand and by brute force."""

from __future__ import annotations

from collections import Counter

import pytest
from rich.console import Console

from megadocs.streams import Stream
from megadocs.streams.inspection import describe_stream, render_plain, render_rich, sample_window
from streams.helpers import make_table, rephrased
from streams.test_properties import build


def stream_of(ordering: str, *, context: int = 12, length: int = 4, documents: str = "abcdefgh") -> Stream:
    table, tokens = make_table(rephrased(documents, 2, length))
    return build(table, tokens, ordering=ordering, fraction="1", batch=1, context=context).streams[0]


def test_a_megadoc_that_fills_its_window_is_whole() -> None:
    facts = describe_stream(stream_of("stitched"))
    assert facts.siblings_per_window == {3: 8}
    assert facts.rephrases_beside_real == {2: 8}
    assert (facts.num_rows, facts.num_documents, facts.num_windows, facts.num_dropped_tokens) == (24, 8, 8, 0)
    assert facts.rows_by_kind == {"real": 8, "rephrase": 16}
    assert facts.mean_rows_per_window == 3


@pytest.mark.parametrize("ordering", ["simple", "stitched", "mis_stitched"])
@pytest.mark.parametrize("context", [5, 9, 31])
def test_sharing_by_brute_force(ordering: str, context: int) -> None:
    stream = stream_of(ordering, context=context)
    table = stream.table
    siblings, beside = Counter(), Counter()
    for window in range(stream.num_windows):
        rows = sorted(set(stream.window_tokens(0, window).tolist()))
        documents = Counter(int(table.document_index[row]) for row in rows)
        siblings.update(documents.values())
        for row in rows:
            if table.kind[row] == 0:
                beside[documents[int(table.document_index[row])] - 1] += 1
    facts = describe_stream(stream)
    assert facts.siblings_per_window == dict(sorted(siblings.items()))
    assert facts.rephrases_beside_real == dict(sorted(beside.items()))


def test_a_window_is_shown_in_pieces() -> None:
    stream = stream_of("stitched", context=10, documents="ab")
    decode = lambda tokens: ".".join(map(str, tokens))  # noqa: E731
    pieces = sample_window(stream, window=1, decode=decode)
    order = stream.order(0).tolist()
    assert [piece.num_tokens for piece in pieces] == [2, 4, 4]
    assert [(piece.begins, piece.ends) for piece in pieces] == [(False, True), (True, True), (True, True)]
    assert pieces[0].text == f"{order[2]}.{order[2]}"
    assert pieces[0].label.startswith("... ")
    whole = sample_window(stream, window=0, decode=decode)
    assert [(piece.begins, piece.ends) for piece in whole] == [(True, True), (True, True), (True, False)]
    assert whole[0].label.endswith(": rephrase 0")
    assert whole[2].label.endswith(": real ...")


def test_plain_and_rich_rendering_say_the_same() -> None:
    stream = stream_of("stitched", context=10, documents="ab")
    facts, pieces = describe_stream(stream), sample_window(stream, window=1, decode=lambda tokens: "some text")
    plain = render_plain(facts, pieces)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render_rich(facts, pieces))
    shown = console.export_text()
    for words in ("stitched: 24 tokens, 6 rows (2 real, 4 rephrase) of 2 documents, 2 windows of 10", "some text"):
        assert words in plain
        assert words in shown
