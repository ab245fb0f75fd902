"""The mixture against a hand-computed example, and its exact counts."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from megadocs.errors import RecipeError
from megadocs.recipe import ExtraStream, MixtureConfig, StreamConfig, TrainConfig
from megadocs.streams import Mixture, Stream, StreamExposure, WindowId, build_mixture, build_streams, rank_part
from megadocs.streams import mixture as module
from megadocs.streams.mixture import rank_slice
from megadocs.streams.shares import Shares
from streams.helpers import RowSpec, make_table, rephrased

SEED = 42


def build(
    specs: list[RowSpec],
    *,
    context: int = 8,
    batch: int = 4,
    stream: dict | None = None,
    mixture: dict | None = None,
    num_segments: int = 1,
    seed: int = SEED,
    **train: object,
) -> Mixture:
    table, tokens = make_table(specs, num_segments=num_segments)
    stream_config, mixture_config = StreamConfig(**(stream or {})), MixtureConfig(**(mixture or {}))
    documents = sorted({spec[0] for spec in specs})
    streams = build_streams(
        table,
        tokens,
        stream=stream_config,
        mixture=mixture_config,
        context_length=context,
        seed=seed,
        real_documents=documents,
    )
    config = TrainConfig(context_length=context, batch_size=batch, **train)
    return build_mixture(streams, config=mixture_config, train=config, seed=seed, stream=stream_config)


def all_windows(mixture: Mixture) -> list:
    return [window for step in range(mixture.num_steps) for window in mixture.window_ids(step)]


@pytest.fixture
def twelve_rows() -> Mixture:
    """Documents a-d, two rephrases each: real rows of 5 tokens, rephrases of 3; 12 rows, context 8, block 4."""
    specs: list[RowSpec] = []
    for name in "abcd":
        specs += [(name, "real", 0, 5), (name, "rephrase", 0, 3), (name, "rephrase", 1, 3)]
    return build(
        specs,
        batch=2,
        num_segments=3,
        real_epochs=4,
        stream={"ordering": "stitched"},
        mixture={"synthetic_fraction": "0.5", "block_windows": 4},
    )


def test_hand_computed_windows(twelve_rows: Mixture) -> None:
    """By hand from docs/ordering.md's order `c0 c1 C a0 a1 A b0 b1 B d0 d1 D`; a row's tokens are its table index.

    Table rows: A 0, a0 1, a1 2, B 3, b0 4, b1 5, C 6, c0 7, c1 8, D 9, d0 10, d1 11; 44 tokens, five windows, tail 4.
    """
    stitched = twelve_rows.streams[1]
    assert (stitched.num_rows, stitched.num_tokens, stitched.num_windows, stitched.num_dropped_tokens) == (12, 44, 5, 4)
    expected = [
        [7, 7, 7, 8, 8, 8, 6, 6],
        [6, 6, 6, 1, 1, 1, 2, 2],
        [2, 0, 0, 0, 0, 0, 4, 4],
        [4, 5, 5, 5, 3, 3, 3, 3],
        [3, 10, 10, 10, 11, 11, 11, 9],
    ]
    windows = [(0, window) for window in range(5)]
    assert stitched.windows_batch(windows).tolist() == expected
    real = twelve_rows.streams[0]
    assert (real.num_tokens, real.num_windows, real.num_tail_tokens) == (20, 2, 4)


def test_hand_computed_mixture(twelve_rows: Mixture) -> None:
    """floor(4 epochs * 2 real windows / (batch 2 * 1/2)) = 8 steps; blocks of 4 take 2 real and 2 stitched windows."""
    assert twelve_rows.num_steps == 8
    assert twelve_rows.block_windows == 4
    given = all_windows(twelve_rows)
    assert [Counter(window.stream for window in given[b : b + 4]) for b in range(0, 16, 4)] == [
        {"real": 2, "stitched": 2}
    ] * 4
    assert twelve_rows.exposures() == [
        StreamExposure("real", 2, 20, 4, 8, 4.0, 4.0, 0),
        StreamExposure("stitched", 5, 44, 4, 8, 1.6, 1.6, 0),
    ]
    assert twelve_rows.real_document_exposures() == pytest.approx(5.6)


def test_slots_follow_the_specification_by_a_second_implementation(twelve_rows: Mixture) -> None:
    """Plain Python over whole numbers, straight from the text of the specification."""
    from megadocs.seeding import derive_seed, mix

    def permuted(count: int, *labels: str | int) -> list[int]:
        seed = derive_seed(SEED, *labels)
        return sorted(range(count), key=lambda entry: (mix(seed ^ entry), entry))

    sizes = {"real": 2, "stitched": 5}
    expected = []
    for sample in range(16):
        block, entry = divmod(sample, 4)
        slot = permuted(4, "block_order", block)[entry]
        name, position = ("real", block * 2 + slot) if slot < 2 else ("stitched", block * 2 + slot - 2)
        epoch, index = divmod(position, sizes[name])
        expected.append((name, epoch, permuted(sizes[name], "window_order", name, 0)[index]))
    assert [tuple(window) for window in all_windows(twelve_rows)] == expected


def test_counts_are_exact_over_the_run_and_levanter_truncates() -> None:
    specs = rephrased([f"{n:03d}" for n in range(40)], 5, length=8)
    exact = build(specs, stream={"ordering": "simple"}, mixture={"synthetic_fraction": 0.9, "block_windows": 16})
    levanter = build(
        specs,
        stream={"ordering": "simple"},
        mixture={"synthetic_fraction": 0.9, "block_windows": 16, "rounding": "levanter"},
    )
    assert exact.num_steps == levanter.num_steps == 8 * 40 * 10 // 4
    assert exact.exposures()[0].actual_epochs == 8
    assert levanter.exposures()[0].actual_epochs == 5  # one real window in each block of 16 instead of 1.6
    seen = Counter(window.window for window in all_windows(exact) if window.stream == "real")
    assert set(seen.values()) == {8}


def test_the_authors_counts_at_nine_tenths() -> None:
    """Block 2048 and m = .9: 204 real windows a block, 31.875 epochs where 32 are meant."""
    shares = Shares([Fraction(1, 10), Fraction(9, 10)], 2048, "levanter")
    assert shares.counts(7) == (204, 1844)
    num_blocks = Fraction(32 * 49_728 * 10, 2048)
    assert float(num_blocks * 204 / 49_728) == 31.875
    assert Shares([Fraction(1, 10), Fraction(9, 10)], 2048).given_before(10) == (2048, 18432)


def test_extra_streams_share_by_weight() -> None:
    specs = [spec for name in "abcdefgh" for spec in [*rephrased(name, 2, 8), (name, "latent_thoughts", 2, 16)]]
    mixture = build(
        specs,
        stream={"ordering": "simple", "extra": [{"ordering": "latent_thoughts", "weight": 3}]},
        mixture={"synthetic_fraction": "0.5", "block_windows": 8},
        real_epochs=16,
    )
    assert [stream.name for stream in mixture.streams] == ["real", "simple", "latent_thoughts"]
    assert [exposure.num_samples for exposure in mixture.exposures()] == [128, 32, 96]


def test_fraction_zero_and_one() -> None:
    specs = rephrased("abcd", 2, 8)
    real = build(specs, real_epochs=2)
    assert [stream.name for stream in real.streams] == ["real"]
    assert (real.num_steps, real.block_windows, real.requested_block_windows) == (2, 4, 128)
    alone = build(specs, stream={"ordering": "stitched"}, mixture={"synthetic_fraction": 1}, synthetic_epochs=3)
    assert [stream.name for stream in alone.streams] == ["stitched"]
    assert alone.num_steps == 9
    same = build(specs, stream={"ordering": "stitched"}, mixture={"separate_real_stream": False}, synthetic_epochs=3)
    assert all_windows(same) == all_windows(alone)
    with pytest.raises(RecipeError, match="synthetic_epochs"):
        build(specs, stream={"ordering": "stitched"}, mixture={"synthetic_fraction": 1})


def test_the_block_shrinks_to_what_the_streams_hold() -> None:
    mixture = build(
        rephrased("abcdefgh", 2, 8), stream={"ordering": "simple"}, mixture={"synthetic_fraction": "0.5"}, real_epochs=9
    )
    assert (mixture.block_windows, mixture.requested_block_windows) == (16, 128)
    real_epochs = [window.epoch for window in all_windows(mixture)[:16] if window.stream == "real"]
    assert real_epochs == [0] * 8
    with pytest.raises(RecipeError, match="more windows of a stream than it has"):
        build(rephrased("abc", 1, 8), batch=4, real_epochs=9)


def test_max_windows_keeps_the_first_of_the_permuted_list() -> None:
    specs = rephrased("abcdefgh", 2, 8)
    whole = build(specs)
    capped = build(specs, mixture={"max_windows": {"real": 5}})
    assert capped.streams[0].num_windows == 5
    assert capped.streams[0].window_order(0).tolist() == whole.streams[0].window_order(0)[:5].tolist()
    assert capped.streams[0].num_dropped_tokens == 24
    with pytest.raises(RecipeError, match="no stream 'rael'"):
        build(specs, mixture={"max_windows": {"rael": 5}})


def test_ranks_split_a_step_and_see_the_same_windows() -> None:
    mixture = build(rephrased("abcdefgh", 2, 8), real_epochs=4)
    step = mixture.window_ids(1)
    for world_size in (1, 2, 4):
        parts = [rank_part(step, rank, world_size) for rank in range(world_size)]
        assert [window for part in parts for window in part] == step
        stacked = np.concatenate([mixture.read_batch(1, rank=r, world_size=world_size)[0] for r in range(world_size)])
        assert np.array_equal(stacked, mixture.read_batch(1)[0])
    with pytest.raises(RecipeError, match="do not divide"):
        rank_part(step, 0, 3)


def test_a_data_seed_fixes_the_order_across_seeds() -> None:
    specs = rephrased("abcdefgh", 2, 8)
    first = build(specs, mixture={"data_seed": 7}, seed=1)
    second = build(specs, mixture={"data_seed": 7}, seed=2)
    assert all_windows(first) == all_windows(second)
    assert all_windows(build(specs, seed=1)) != all_windows(build(specs, seed=2))


def test_arms_pair_on_the_real_stream() -> None:
    specs = rephrased("abcdefgh", 2, 8)
    half = {"synthetic_fraction": "0.5", "block_windows": 8}
    real = [
        [window for window in all_windows(build(specs, stream={"ordering": name}, mixture=half)) if window[0] == "real"]
        for name in ("simple", "stitched")
    ]
    assert real[0] == real[1]


@pytest.mark.parametrize(
    "arguments, message, where",
    [
        ({"mixture": {"block_windows": 6}}, "no multiple of the batch", "mixture.block_windows"),
        ({"real_epochs": 0.01}, "do not fill one batch", "train.real_epochs"),
        ({"mixture": {"synthetic_fraction": "0.5"}}, "no ordering is named", "stream.ordering"),
        (
            {"stream": {"ordering": "sorted"}, "mixture": {"synthetic_fraction": "0.5"}},
            "unknown ordering",
            "stream.ordering",
        ),
        ({"context": 4096}, "less than one window", "train.context_length"),
    ],
)
def test_bad_recipes_are_refused(arguments: dict, message: str, where: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        build(rephrased("abcdefgh", 2, 8), **arguments)
    assert caught.value.where == where  # the key to change


def test_extra_streams_need_a_block_large_enough_for_all() -> None:
    specs = [spec for name in "abcdefgh" for spec in [*rephrased(name, 2, 8), (name, "latent_thoughts", 2, 16)]]
    extra = [ExtraStream(ordering="latent_thoughts", weight=Decimal("0.001"))]
    mixture = build(specs, stream={"ordering": "simple", "extra": extra}, mixture={"synthetic_fraction": "0.5"})
    for block in range(5):
        assert min(mixture.shares.counts(block)) >= 0


def test_token_arrays_of_two_types_are_refused() -> None:
    table, tokens = make_table([("a", "real", 0, 12), ("b", "real", 0, 12)], num_segments=2)
    mixed = [tokens[0].astype(np.uint16), tokens[1].astype(np.uint32)]
    arguments = {"stream": StreamConfig(), "mixture": MixtureConfig(), "context_length": 8, "seed": SEED}
    with pytest.raises(ValueError, match="token arrays of several types: uint16, uint32"):
        build_streams(table, mixed, real_documents=["a", "b"], **arguments)


def two_stores(boundary: str | None = None, *, num_steps: int = 7, block: int = 12) -> Mixture:
    """Three streams at 1/4, 1/2 and 1/4, a batch of 4: the first and last read one store, the second another one.

    Windows of 4: the first stream has 5, the second 6 and one token more, the third 2 and two tokens.
    """
    table, tokens = make_table([(name, "real", 0, 5) for name in "abcd"], num_segments=2)
    other, more = make_table([(name, "rephrase", 0, 5) for name in "abcde"], num_segments=3)
    more = [array + 100 for array in more]
    rows = (np.array([2, 0, 3, 1]), np.array([4, 1, 0, 3, 2]), np.array([3, 1]))
    stores = ((table, tokens), (other, more), (table, tokens))
    streams = [
        Stream(name, *store, lambda _, order=order: order, seed=3, context_length=4, num_missing=missing)
        for name, store, order, missing in zip(("real", "wide", "tail"), stores, rows, (0, 2, 5), strict=True)
    ]
    shares = Shares([Fraction(1, 4), Fraction(1, 2), Fraction(1, 4)], block)
    return Mixture(
        streams, shares, num_steps=num_steps, batch_size=4, requested_block_windows=40, seed=8, boundary=boundary
    )


def test_a_mixture_says_what_it_was_made_of() -> None:
    mixture = two_stores("row")
    assert [stream.name for stream in mixture.streams] == ["real", "wide", "tail"]
    assert (mixture.num_steps, mixture.batch_size, mixture.context_length, mixture.boundary) == (7, 4, 4, "row")
    assert (mixture.block_windows, mixture.requested_block_windows) == (12, 40)
    assert two_stores().boundary is None


@pytest.mark.parametrize("num_steps", [3, 7, 8])
def test_the_account_of_a_run_whose_last_block_is_cut_short(num_steps: int) -> None:
    """Counted from the windows themselves; the plan is the share of all windows."""
    mixture = two_stores(num_steps=num_steps)
    counts = Counter(window.stream for window in all_windows(mixture))
    given, total = [counts[name] for name in ("real", "wide", "tail")], 4 * num_steps
    assert mixture.exposures() == [
        StreamExposure("real", 5, 20, 0, given[0], total / 20, given[0] / 5, 0),
        StreamExposure("wide", 6, 25, 1, given[1], total / 12, given[1] / 6, 2),
        StreamExposure("tail", 2, 10, 2, given[2], total / 8, given[2] / 2, 5),
    ]
    assert mixture.real_document_exposures() == given[0] / 5 + given[2] / 2


@pytest.mark.parametrize("boundary", [None, "row", "document"])
def test_a_batch_is_read_from_every_store(boundary: str | None) -> None:
    mixture = two_stores(boundary)
    by_name = {stream.name: stream for stream in mixture.streams}
    stores = {"real": range(4), "wide": range(100, 105), "tail": (1, 3)}
    for step in range(7):
        windows = mixture.window_ids(step)
        tokens, segments = mixture.read_batch(step)
        expected = [by_name[name].window_tokens(epoch, window).tolist() for name, epoch, window in windows]
        assert (tokens.tolist(), tokens.dtype) == (expected, np.int32)
        assert all(set(row) <= set(stores[window.stream]) for row, window in zip(expected, windows, strict=True))
        if boundary is None:
            assert segments is None
        else:
            expected = [by_name[name].window_segments(epoch, window, boundary) for name, epoch, window in windows]
            assert np.array_equal(segments, expected)
        for rank in range(2):
            part, of_part = mixture.read_batch(step, rank=rank, world_size=2)
            assert part.tolist() == tokens[2 * rank : 2 * rank + 2].tolist()
            assert of_part is None if segments is None else np.array_equal(of_part, segments[2 * rank : 2 * rank + 2])


def test_any_windows_are_read_in_the_order_asked_for() -> None:
    mixture = two_stores("row")
    windows = [WindowId("tail", 0, 1), WindowId("real", 2, 0), WindowId("wide", 0, 3)]
    assert mixture.read_windows(windows).tolist() == [[3, 1, 1, 1], [2, 2, 2, 2], [100, 100, 100, 103]]
    assert mixture.read_segments(windows).tolist() == [[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert two_stores().read_segments(windows) is None


def test_only_steps_of_the_run_are_known() -> None:
    mixture = two_stores()
    assert len(mixture.window_ids(0)) == len(mixture.window_ids(6)) == 4
    for step in (-1, 7):
        with pytest.raises(IndexError) as caught:
            mixture.window_ids(step)
        assert str(caught.value) == f"step {step} is not within the 7 steps of the run"


def test_two_blocks_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps on both sides of a block's end draw nothing anew; a long run must not keep all of its blocks."""
    drawn, real = [], module.hash_order

    def count(seed: int, length: int) -> np.ndarray:
        drawn.append(length)
        return real(seed, length)

    monkeypatch.setattr(module, "hash_order", count)
    mixture = two_stores()
    for step in (0, 3, 1, 4, 2, 5, 6, 3):
        mixture.window_ids(step)
    assert drawn == [12, 12, 12]
    mixture.window_ids(0)
    assert drawn == [12, 12, 12, 12]


def test_the_part_of_a_rank() -> None:
    assert [rank_slice(12, rank, 3) for rank in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert rank_slice(5, 0, 1) == slice(0, 5)
    with pytest.raises(RecipeError) as caught:
        rank_slice(12, 0, 5)
    assert caught.value.what == "5 ranks do not divide the batch of 12 windows"
    assert caught.value.where == "train.batch_size"
    assert caught.value.remedy == "use a batch that is a multiple of 5"
    for rank in (-1, 3):
        with pytest.raises(ValueError) as outside:
            rank_slice(12, rank, 3)
        assert str(outside.value) == f"rank {rank} is not within 0..2"
