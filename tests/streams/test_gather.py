"""Gathered windows against the plain definition: concatenate the rows in order, cut every T tokens."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.streams.gather import Layout, Pieces, byte_views, gather, layout_pieces, merge_pieces


def make(dtype: str, seed: int = 0) -> tuple[list[np.ndarray], Layout, np.ndarray]:
    """Three segments of random rows (some of one token), their shuffled layout, and the stream written out."""
    draw = np.random.default_rng(seed)
    tokens, where = [], []
    for segment in range(3):
        lengths = draw.integers(1, 30, 40)
        tokens.append(draw.integers(0, 60_000, int(lengths.sum())).astype(dtype))
        starts = np.cumsum(lengths) - lengths
        where += [(segment, int(start), int(length)) for start, length in zip(starts, lengths, strict=True)]
    rows = draw.permutation(len(where))
    segments, starts, lengths = (np.array([where[row][column] for row in rows]) for column in range(3))
    ends = np.cumsum(lengths)
    layout = Layout(rows, ends, starts - (ends - lengths), segments.astype(np.int32))
    pieces = [tokens[s][a : a + n] for s, a, n in zip(segments, starts, lengths, strict=True)]
    return tokens, layout, np.concatenate(pieces)


@pytest.mark.parametrize("dtype", ["<u2", "<u4", "int64"])
@pytest.mark.parametrize("context_length", [1, 8, 64, 500])
def test_windows_are_slices_of_the_stream(dtype: str, context_length: int) -> None:
    tokens, layout, stream = make(dtype)
    windows = np.random.default_rng(1).permutation(len(stream) // context_length)
    pieces = layout_pieces(layout, windows, context_length)
    batch = gather(byte_views(tokens), tokens[0].dtype, pieces, context_length)
    expected = np.stack([stream[w * context_length : (w + 1) * context_length] for w in windows.tolist()])
    assert batch.dtype == np.int32
    assert batch.flags.writeable
    assert np.array_equal(batch, expected)


def test_pieces_of_two_stores_are_merged_by_place() -> None:
    one, two = make("<u4", 1), make("<u4", 2)
    views = [*byte_views(one[0]), *byte_views(two[0])]
    first, second = layout_pieces(one[1], np.array([3, 0]), 16), layout_pieces(two[1], np.array([5]), 16)
    merged = merge_pieces([(first, np.array([0, 2]), 0), (second, np.array([1]), 3)])
    batch = gather(views, np.dtype("<u4"), merged, 16)
    assert np.array_equal(batch, np.stack([one[2][48:64], two[2][80:96], one[2][:16]]))


def test_a_torn_segment_is_an_error_not_a_shorter_batch() -> None:
    tokens, layout, stream = make("<u4")
    tokens[1] = tokens[1][:5]
    pieces = layout_pieces(layout, np.arange(len(stream) // 8), 8)
    with pytest.raises(ValueError, match="reshape"):
        gather(byte_views(tokens), np.dtype("<u4"), pieces, 8)


def test_pieces_by_hand() -> None:
    """Rows of 5, 3 and 8 tokens at 10, 0 and 20 of segments 1, 0, 1: windows of 4 in any order."""
    layout = Layout(np.array([7, 8, 9]), np.array([5, 8, 16]), np.array([10, -5, 12]), np.array([1, 0, 1], np.int32))
    pieces = layout_pieces(layout, np.array([1, 3, 0]), 4)
    assert columns(pieces) == [(0, 1, 14, 15), (0, 0, 0, 3), (1, 1, 24, 28), (2, 1, 10, 14)]


def columns(pieces: Pieces) -> list[tuple[int, int, int, int]]:
    parts = (pieces.owners.tolist(), pieces.segments.tolist(), pieces.starts.tolist(), pieces.stops.tolist())
    return list(zip(*parts, strict=True))


def test_merged_pieces_of_a_window_keep_their_sequence() -> None:
    """Forty pieces a window: a sort that is not stable would turn them."""
    owners = np.repeat([0, 1, 2], 40)
    one = Pieces(owners, np.arange(120) % 3, np.arange(120), np.arange(120) + 1)
    merged = merge_pieces([(one, np.array([5, 1, 3]), 2), (one, np.array([0, 4, 2]), 7)])
    expected = []
    for place, base, first in ((0, 7, 0), (1, 2, 40), (2, 7, 80), (3, 2, 80), (4, 7, 40), (5, 2, 0)):
        expected += [(place, piece % 3 + base, piece, piece + 1) for piece in range(first, first + 40)]
    assert columns(merged) == expected


def test_views_are_bytes_of_the_arrays_themselves() -> None:
    array = np.array([1, 2, 258], dtype="<u2")
    views = byte_views([array, np.empty(0, dtype="<u2"), array[::2]])
    assert [bytes(view) for view in views] == [b"\1\0\2\0\2\1", b"", b"\1\0\2\1"]
    array[0] = 515
    assert bytes(views[0][:2]) == b"\3\2"
