"""Sharing statistics and sample windows, against counts by hand and by brute force; what is shown of them, word for
word and with its colours."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from megadocs.streams import Stream
from megadocs.streams.inspection import (
    StreamFacts,
    WindowPiece,
    describe_stream,
    render_plain,
    render_rich,
    sample_window,
)
from streams.helpers import RowSpec, make_table, rephrased
from streams.test_properties import build


def stream_of(ordering: str, *, context: int = 12, length: int = 4, documents: str = "abcdefgh") -> Stream:
    table, tokens = make_table(rephrased(documents, 2, length))
    return build(table, tokens, ordering=ordering, fraction="1", batch=1, context=context).streams[0]


def seven_rows(*, max_windows: int | None = 2) -> Stream:
    """Windows of 8 over rows of 3, 5 | 5, 3 | 3, 4 and the first of 2 tokens, then a tail of one; epoch 1 backwards.

    a1 A | B a2 | b1 C* u1: of c only the thoughts, and u was written about no document. A row's tokens are its number.
    """
    specs: list[RowSpec] = [
        ("a", "real", 0, 5),
        ("a", "rephrase", 0, 3),
        ("a", "rephrase", 1, 3),
        ("b", "real", 0, 5),
        ("b", "rephrase", 0, 3),
        ("c", "latent_thoughts", 2, 4),
        ("u", "self_distilled", 0, 2),
    ]
    table, tokens = make_table(specs, num_segments=2)
    order = np.array([1, 0, 3, 2, 4, 5, 6])
    return Stream(
        "seven",
        table,
        tokens,
        lambda epoch: order[::-1] if epoch else order,
        seed=1,
        context_length=8,
        reorder_rows=True,
        max_windows=max_windows,
        num_missing=3,
    )


SEVEN = StreamFacts(
    name="seven",
    num_rows=7,
    num_documents=4,
    num_tokens=25,
    context_length=8,
    num_windows=2,
    num_tail_tokens=1,
    num_dropped_tokens=9,
    num_missing=3,
    rows_by_kind={"real": 2, "rephrase": 3, "latent_thoughts": 1, "self_distilled": 1},
    mean_rows_per_window=7 / 3,
    siblings_per_window={1: 5, 2: 1},
    rephrases_beside_real={0: 1, 1: 1},
)


def test_every_fact_by_hand() -> None:
    """Window 0 holds two rows of a, the others one of each document; A has a1 beside it, B nothing."""
    assert describe_stream(seven_rows()) == SEVEN
    assert describe_stream(seven_rows(max_windows=None)) == dataclasses.replace(
        SEVEN, num_windows=3, num_dropped_tokens=1
    )


def test_without_samples_there_is_nothing_beside_a_document() -> None:
    table, tokens = make_table([("a", "real", 0, 4), ("b", "real", 0, 4), ("b", "latent_thoughts", 1, 4)])
    facts = describe_stream(Stream("s", table, tokens, lambda _: np.arange(3), seed=0, context_length=6))
    assert (facts.siblings_per_window, facts.rephrases_beside_real) == ({1: 2, 2: 1}, {})
    assert "rephrases" not in render_plain(facts)


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
    num_rows = 0
    for window in range(stream.num_windows):
        rows = sorted(set(stream.window_tokens(0, window).tolist()))
        num_rows += len(rows)
        documents = Counter(int(table.document_index[row]) for row in rows)
        siblings.update(documents.values())
        for row in rows:
            if table.kind[row] == 0:
                beside[documents[int(table.document_index[row])] - 1] += 1
    facts = describe_stream(stream)
    assert facts.siblings_per_window == dict(sorted(siblings.items()))
    assert facts.rephrases_beside_real == dict(sorted(beside.items()))
    assert facts.mean_rows_per_window == num_rows / stream.num_windows


def decode(tokens: np.ndarray) -> str:
    return ".".join(map(str, tokens))


def test_the_pieces_of_each_window() -> None:
    """Rows that begin or end at a window's edge are whole; one that goes on has its end in the tail."""
    stream = seven_rows()
    assert sample_window(stream, epoch=0, window=1, decode=decode) == [
        WindowPiece("b", "real", 0, 5, True, True, "3.3.3.3.3"),
        WindowPiece("a", "rephrase", 1, 3, True, True, "2.2.2"),
    ]
    assert sample_window(stream, epoch=0, window=2, decode=decode) == [
        WindowPiece("b", "rephrase", 0, 3, True, True, "4.4.4"),
        WindowPiece("c", "latent_thoughts", 2, 4, True, True, "5.5.5.5"),
        WindowPiece("u", "self_distilled", 0, 1, True, False, "6"),
    ]
    assert sample_window(stream, epoch=1, window=1, decode=decode) == [
        WindowPiece("b", "rephrase", 0, 1, False, True, "4"),
        WindowPiece("a", "rephrase", 1, 3, True, True, "2.2.2"),
        WindowPiece("b", "real", 0, 4, True, False, "3.3.3.3"),
    ]
    first = [
        WindowPiece("a", "rephrase", 0, 3, True, True, "1.1.1"),
        WindowPiece("a", "real", 0, 5, True, True, "0.0.0.0.0"),
    ]
    assert sample_window(stream, decode=decode) == sample_window(stream, epoch=0, window=0, decode=decode) == first


def test_a_row_longer_than_its_window_neither_begins_nor_ends() -> None:
    table, tokens = make_table([("a", "real", 0, 12)])
    stream = Stream("s", table, tokens, lambda _: np.arange(1), seed=0, context_length=4)
    labels = [sample_window(stream, window=window, decode=decode)[0].label for window in range(3)]
    assert labels == ["a: real ...", "... a: real ...", "... a: real"]


def test_labels() -> None:
    piece = WindowPiece("doc", "rephrase", 3, 9, True, True, "text")
    assert piece.label == "doc: rephrase 3"
    assert dataclasses.replace(piece, begins=False).label == "... doc: rephrase 3"
    assert dataclasses.replace(piece, kind="real", ends=False).label == "doc: real ..."


def test_what_is_printed_word_for_word() -> None:
    stream = seven_rows()
    pieces = sample_window(stream, window=2, decode=decode)
    headline = (
        "seven: 25 tokens, 7 rows (2 real, 3 rephrase, 1 latent_thoughts, 1 self_distilled) of 4 documents, "
        "2 windows of 8 (9 tokens dropped, 3 generations missing)"
    )
    sharing = [
        "  rows in a window: 2.3 on average",
        "  rows that a document has in a window: 1 in 83.3 % of cases, 2 in 16.7 %",
        "  rephrases in the window of their real document: none in 50.0 % of cases, 1 in 50.0 %",
    ]
    shown = [
        "  --- b: rephrase 0 (3 tokens)",
        "4.4.4",
        "  --- c: latent_thoughts 2 (4 tokens)",
        "5.5.5.5",
        "  --- u: self_distilled 0 ... (1 tokens)",
        "6",
    ]
    assert render_plain(describe_stream(stream), pieces).split("\n") == [headline, *sharing, *shown]
    assert render_plain(describe_stream(stream)).split("\n") == [headline, *sharing]


def test_large_numbers_have_separators_and_certain_shares_no_percent() -> None:
    facts = StreamFacts(
        name="stitched",
        num_rows=1_200_000,
        num_documents=100_000,
        num_tokens=5_000_000_000,
        context_length=4096,
        num_windows=1_220_703,
        num_tail_tokens=512,
        num_dropped_tokens=1_024,
        num_missing=0,
        rows_by_kind={"real": 100_000, "rephrase": 1_100_000},
        mean_rows_per_window=1.96,
        siblings_per_window={12: 7},
        rephrases_beside_real={0: 1},
    )
    assert render_plain(facts).split("\n") == [
        "stitched: 5,000,000,000 tokens, 1,200,000 rows (100,000 real, 1,100,000 rephrase) of 100,000 documents, "
        "1,220,703 windows of 4096 (1,024 tokens dropped)",
        "  rows in a window: 2.0 on average",
        "  rows that a document has in a window: always 12",
        "  rephrases in the window of their real document: always none",
    ]
    more = dataclasses.replace(facts, num_missing=1_500, siblings_per_window={1: 1, 2: 2, 3: 5})
    lines = render_plain(more).split("\n")
    assert lines[0].endswith("(1,024 tokens dropped, 1,500 generations missing)")
    assert lines[2].endswith(": 1 in 12.5 % of cases, 2 in 25.0 %, 3 in 62.5 %")


def test_colours_of_a_window() -> None:
    """Each document has a colour of its own, again from the seventh on; only real text is bold."""
    pieces = [WindowPiece(name, "rephrase", 0, 1, True, True, f"of {name}") for name in "abcdefg"]
    pieces += [WindowPiece("b", "real", 0, 1, True, True, "B itself")]
    shown = [line.markup for line in render_rich(SEVEN, pieces).renderables]
    assert shown[:4] == [f"[bold]{render_plain(SEVEN).split(chr(10))[0]}[/bold]", *render_plain(SEVEN).split("\n")[1:]]
    colours = ["cyan", "green", "yellow", "magenta", "blue", "red", "cyan"]
    assert shown[4:] == [
        *(
            rf"[bold reverse {colour}]\[{name}: rephrase 0] [{colour}]of {name}[/{colour}][/bold reverse {colour}]"
            for name, colour in zip("abcdefg", colours, strict=True)
        ),
        r"[bold reverse green]\[b: real] [bold green]B itself[/bold green][/bold reverse green]",
    ]
    assert len(render_rich(SEVEN).renderables) == 4
