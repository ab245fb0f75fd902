"""A stream by hand: its numbers, its defaults, windows of several epochs, what it keeps, and every refusal."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from megadocs.errors import RecipeError
from megadocs.streams import Stream
from streams.helpers import RowSpec, make_table

#: Rows of 5, 3, 4 and 6 tokens; a row's tokens are its number. Every epoch turns them by one more.
SPECS: list[RowSpec] = [("a", "real", 0, 5), ("a", "rephrase", 0, 3), ("b", "real", 0, 4), ("b", "rephrase", 0, 6)]
LENGTHS = [5, 3, 4, 6]


def turned(epoch: int) -> np.ndarray:
    return np.roll(np.arange(4), epoch)


def make(order=turned, *, specs: list[RowSpec] = SPECS, context: int = 4, **options: object) -> Stream:
    table, tokens = make_table(specs, num_segments=2)
    return Stream("name", table, tokens, order, seed=5, context_length=context, **options)


def written_out(epoch: int) -> list[int]:
    return [row for row in turned(epoch).tolist() for _ in range(LENGTHS[row])]


def test_numbers_with_and_without_a_cap() -> None:
    for options, windows, dropped in (({}, 4, 2), ({"max_windows": 3}, 3, 6), ({"max_windows": 9}, 4, 2)):
        stream = make(**options)
        assert (stream.name, stream.context_length, stream.num_rows, stream.num_tokens) == ("name", 4, 4, 18)
        assert (stream.num_uncapped_windows, stream.num_windows) == (4, windows)
        assert (stream.num_tail_tokens, stream.num_dropped_tokens) == (2, dropped)
        assert len(stream.window_order()) == windows


def test_by_itself_a_stream_keeps_its_first_order() -> None:
    stream = make()
    assert (stream.weight, stream.num_missing) == (Decimal(1), 0)
    assert stream.order(3).tolist() == stream.order().tolist() == [0, 1, 2, 3]
    assert stream.layout(3) is stream.layout()
    assert stream.window_order(3).tolist() == stream.window_order().tolist()
    assert stream.window_tokens(3, 1).tolist() == written_out(0)[4:8]
    assert (make(num_missing=4).num_missing, make(weight=Decimal(3)).weight) == (4, Decimal(3))


def test_order_and_layout_are_epoch_0s_unless_told() -> None:
    stream = make(reorder_rows=True, reshuffle_windows=True)
    assert stream.order().tolist() == [0, 1, 2, 3]
    assert stream.order(1).tolist() == [3, 0, 1, 2]
    layout = stream.layout()
    assert (layout.rows.tolist(), layout.ends.tolist()) == ([0, 1, 2, 3], [5, 8, 12, 18])
    # Segment 0 holds rows 0 and 2, segment 1 rows 1 and 3: in the stream row 2 begins at 8, in its segment at 5.
    assert (layout.shifts.tolist(), layout.segments.tolist()) == ([0, -5, -3, -9], [0, 1, 0, 1])
    assert stream.layout(1).ends.tolist() == [6, 11, 14, 18]
    small = make(context=1, reshuffle_windows=True)
    assert small.window_order().tolist() == small.window_order(0).tolist() != small.window_order(1).tolist()


def test_windows_of_several_epochs_are_slices_of_each() -> None:
    stream = make(reorder_rows=True)
    wanted = [(1, 2), (0, 0), (1, 0), (2, 3), (0, 3)]
    found = stream.windows_batch(wanted)
    assert found.tolist() == [written_out(epoch)[4 * window : 4 * window + 4] for epoch, window in wanted]
    assert (found.dtype, found.shape) == (np.int32, (5, 4))
    assert stream.window_tokens(2, 1).tolist() == written_out(2)[4:8]


def test_positions_count_on_over_the_epochs() -> None:
    stream = make(reshuffle_windows=True, max_windows=3)
    epochs, windows = stream.windows_at(np.array([7, 0, 3, 4, 2, 8]))
    assert epochs.tolist() == [2, 0, 1, 1, 0, 2]
    expected = [(2, 1), (0, 0), (1, 0), (1, 1), (0, 2), (2, 2)]
    assert windows.tolist() == [int(stream.window_order(epoch)[entry]) for epoch, entry in expected]


def test_rows_and_segments_of_a_window() -> None:
    """Window 1 of 4: the last token of row 0 and all of row 1; window 2: row 2; window 3: four tokens of row 3."""
    stream = make()
    rows, begins = zip(*(stream.window_rows(0, window) for window in range(4)), strict=True)
    assert [part.tolist() for part in rows] == [[0], [0, 1], [2], [3]]
    assert [part.tolist() for part in begins] == [[0], [0, 1], [0], [0]]
    by_row, by_document = stream.window_segments(0, 1, "row"), stream.window_segments(0, 1, "document")
    assert (by_row.tolist(), by_document.tolist()) == ([0, 1, 1, 1], [0, 0, 0, 0])
    assert by_row.dtype == by_document.dtype == np.int32
    wide = make(context=18)
    assert wide.window_segments(0, 0, "row").tolist() == [0] * 5 + [1] * 3 + [2] * 4 + [3] * 6
    assert wide.window_segments(0, 0, "document").tolist() == [0] * 8 + [1] * 10


def test_two_epochs_are_kept_and_no_more() -> None:
    """A batch may straddle two epochs; a long run must not keep the orders of all of them."""
    asked = []

    def order(epoch: int) -> np.ndarray:
        asked.append(epoch)
        return turned(epoch)

    stream = make(order, reorder_rows=True, reshuffle_windows=True)
    for epoch in (0, 1, 0, 1, 2, 1, 2):
        stream.order(epoch)
    assert asked == [0, 1, 2]
    stream.order(0)
    assert asked == [0, 1, 2, 0]
    first, second = stream.window_order(0), stream.window_order(1)
    assert stream.window_order(0) is first
    assert stream.window_order(1) is second
    stream.window_order(2)
    assert stream.window_order(0) is not first


@pytest.mark.parametrize(
    ("rows", "copies"),
    [([0, 1, 2, 3, 4], 1.5), ([0, 1, 2, 0], 1.5), ([0, 2], 1.0), ([1, 3, 1], 0.0), ([4, 4, 4], 3.0), ([4, 0], 2.0)],
)
def test_copies_of_the_documents_that_a_stream_holds(rows: list[int], copies: float) -> None:
    """Rows of thoughts hold their document's text (row 4, of a); rephrases hold none."""
    stream = make(lambda _: np.array(rows), specs=[*SPECS, ("a", "latent_thoughts", 2, 9)])
    assert stream.copies_of_documents == copies


def test_less_than_a_window_is_refused() -> None:
    assert make(context=18).num_windows == 1
    for rows, num_tokens in ((range(4), 18), ([], 0)):
        with pytest.raises(RecipeError) as caught:
            make(lambda _, rows=rows: np.array(rows, dtype=np.int64), context=19)
        assert caught.value.what == f"the stream 'name' has {num_tokens} tokens: less than one window of 19"
        assert caught.value.where == "train.context_length"
        assert caught.value.remedy == "shorten the context or add documents"


@pytest.mark.parametrize("other", [[0, 1, 2], [0, 1, 2, 2]])
def test_an_epoch_of_other_rows_is_refused(other: list[int]) -> None:
    stream = make(lambda epoch: np.array(other) if epoch == 2 else np.arange(4), reorder_rows=True)
    assert stream.order(1).tolist() == [0, 1, 2, 3]
    with pytest.raises(RecipeError) as caught:
        stream.order(2)
    assert caught.value.what == f"the ordering of stream 'name' returns {len(other)} rows in epoch 2, 4 in 0"
    assert caught.value.where == "stream.ordering"
    assert caught.value.remedy == "an ordering holds the same rows in every epoch; only their sequence may change"


def test_the_type_of_the_tokens() -> None:
    """A segment without tokens has no say; wide ids come out as the int32 that training reads."""
    table, tokens = make_table(SPECS)
    empty = np.empty(0, dtype=np.int64)

    def stream(*arrays: np.ndarray) -> Stream:
        return Stream("s", table, arrays, lambda _: np.arange(4), seed=0, context_length=9)

    assert stream(tokens[0], empty).token_dtype == np.uint16
    assert stream(empty, empty).token_dtype == np.uint32
    wide = stream(tokens[0].astype(np.uint32) + 100_000, empty).windows_batch([(0, 0), (0, 1)])
    assert wide.tolist() == [[100_000 + row for row in written_out(0)[at : at + 9]] for at in (0, 9)]
    assert wide.dtype == np.int32
    with pytest.raises(ValueError, match=r"^token arrays of several types: int64, uint16, uint32$"):
        stream(tokens[0], tokens[0].astype(np.uint32), tokens[0].astype(np.int64))
