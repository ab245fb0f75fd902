"""Gathered windows against the plain definition: concatenate the rows in order, cut every T tokens."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.streams.gather import Layout, byte_views, gather, layout_pieces, merge_pieces


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
