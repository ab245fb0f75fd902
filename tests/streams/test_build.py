"""What a recipe's sections become: kinds that are read, seeds, clocks; and every refusal word for word."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from megadocs.errors import MissingGenerationsError, RecipeError
from megadocs.kinds import OrderingOptions, find_ordering
from megadocs.kinds.sorting import hash_order
from megadocs.recipe import MixtureConfig, StreamConfig
from megadocs.row_table import RowTable
from megadocs.seeding import derive_seed
from megadocs.streams import Stream, build_streams
from megadocs.streams.build import OrderOfEpoch, data_seed, required_kinds
from megadocs.streams.shares import Shares
from streams.helpers import make_table, rephrased
from streams.test_mixture import build

HALF = {"synthetic_fraction": "0.5"}


@pytest.mark.parametrize(
    ("stream", "mixture", "kinds"),
    [
        ({}, {}, {"real"}),
        ({"ordering": "simple"}, HALF, {"real", "rephrase"}),
        ({"ordering": "simple", "real_document": "none"}, {"synthetic_fraction": 1}, {"rephrase"}),
        ({"ordering": "latent_thoughts"}, {"synthetic_fraction": 1}, {"latent_thoughts"}),
        (
            {"ordering": "simple", "extra": [{"ordering": "latent_thoughts", "weight": 1}]},
            HALF,
            {"real", "rephrase", "latent_thoughts"},
        ),
    ],
)
def test_only_what_an_arm_reads_is_opened(stream: dict, mixture: dict, kinds: set[str]) -> None:
    assert required_kinds(StreamConfig(**stream), MixtureConfig(**mixture)) == kinds


def test_the_data_seed_stands_in_for_the_runs() -> None:
    assert data_seed(MixtureConfig(), 5) == 5
    assert data_seed(MixtureConfig(data_seed=0), 5) == 0


@pytest.mark.parametrize(
    ("arguments", "what", "where", "remedy"),
    [
        (
            {"mixture": {"block_windows": 6}},
            "a block of 6 windows is no multiple of the batch of 4",
            "mixture.block_windows",
            "use 4",
        ),
        (
            {"mixture": {"block_windows": 3}},
            "a block of 3 windows is no multiple of the batch of 4",
            "mixture.block_windows",
            "use 4",
        ),
        (
            {"mixture": {"block_windows": 11}},
            "a block of 11 windows is no multiple of the batch of 4",
            "mixture.block_windows",
            "use 8",
        ),
        (
            {"real_epochs": 0.25},
            "0.25 epochs of 8 windows of stream 'real' do not fill one batch of 4",
            "train.real_epochs",
            "raise it, lower train.batch_size or train.context_length, or add documents",
        ),
        (
            {"stream": {"ordering": "simple"}, "mixture": {"synthetic_fraction": 1}, "synthetic_epochs": 0.1},
            "0.1 epochs of 24 windows of stream 'simple' do not fill one batch of 4",
            "train.synthetic_epochs",
            "raise it, lower train.batch_size or train.context_length, or add documents",
        ),
        (
            {"stream": {"ordering": "simple"}, "mixture": {"synthetic_fraction": 1}},
            "without a real stream of its own the run takes its length from synthetic_epochs",
            "train.synthetic_epochs",
            "set it: passes over the synthetic stream",
        ),
        (
            {"batch": 32, "stream": {"ordering": "simple"}, "mixture": HALF, "real_epochs": 8},
            "a batch of 32 takes more windows of a stream than it has (real 8, simple 24)",
            "train.batch_size",
            "lower the batch, shorten train.context_length, or add documents",
        ),
    ],
)
def test_refusals_say_what_where_and_what_to_do(arguments: dict, what: str, where: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build(rephrased("abcdefgh", 2, 8), **arguments)
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, where, remedy)


def test_one_step_is_enough() -> None:
    assert build(rephrased("abcdefgh", 2, 8), real_epochs=0.5).num_steps == 1


def bound(ordering, **options) -> OrderOfEpoch:
    table, _ = make_table(rephrased("abcd", 1))
    return OrderOfEpoch(ordering, table, np.array([1, 3, 5]), 9, OrderingOptions(), **options)


def test_an_ordering_gets_its_rows_seed_and_epoch() -> None:
    seen = []

    def ordering(table, rows, *, seed, epoch, options):
        seen.append((len(table), rows.tolist(), seed, epoch, options))
        return rows[::-1].astype(np.int32)

    found = bound(ordering)(4)
    assert seen == [(8, [1, 3, 5], 9, 4, OrderingOptions())]
    assert (found.tolist(), found.dtype, found.flags.c_contiguous) == ([5, 3, 1], np.int64, True)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([1, 3], "2 rows of the 3 that it was given: 1 are lost, 0 stand there more than once"),
        ([1, 3, 3], "3 rows of the 3 that it was given: 1 are lost, 1 stand there more than once"),
        ([1, 3, 5, 5], "4 rows of the 3 that it was given: 0 are lost, 1 stand there more than once"),
        ([-1, 3, 5], "3 rows of the 3 that it was given: 1 are lost, 0 stand there more than once"),
        ([8, 3, 5], "3 rows of the 3 that it was given: 1 are lost, 0 stand there more than once"),
        ([0, 3, 5, 1], "4 rows of the 3 that it was given: 0 are lost, 0 stand there more than once"),
        ([0, 0, 1, 3, 5], "5 rows of the 3 that it was given: 0 are lost, 1 stand there more than once"),
        ([8, 8, 1, 3, 5], "5 rows of the 3 that it was given: 0 are lost, 0 stand there more than once"),
        ([1, 1, 1, 3, 3, 5], "6 rows of the 3 that it was given: 0 are lost, 2 stand there more than once"),
    ],
)
def test_rows_that_an_ordering_loses_or_doubles_are_counted(rows: list[int], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        bound(lambda *_, **__: np.array(rows))(0)
    assert caught.value.what == f"the ordering returns {told}"
    assert caught.value.where == "stream.ordering"
    assert caught.value.remedy == (
        "return each row once, or declare it: `repeats = True` on the function or its OrderingSpec"
    )


def test_an_ordering_that_repeats_on_purpose_keeps_its_rows_in_every_epoch() -> None:
    calls = []

    def ordering(table, rows, *, seed, epoch, options):
        assert (len(table), rows.tolist(), seed, options) == (8, [1, 3, 5], 9, OrderingOptions())
        calls.append(epoch)
        return np.array([[3, 1, 1], [1, 1, 3], [1, 3, 3]][epoch])

    order = bound(ordering, repeats=True)
    assert (order(0).tolist(), order(1).tolist()) == ([3, 1, 1], [1, 1, 3])
    with pytest.raises(RecipeError) as caught:
        order(2)
    assert caught.value.what == "the ordering returns other rows in epoch 2 than in epoch 0"
    assert caught.value.where == "stream.ordering"
    assert caught.value.remedy == "an ordering holds the same rows in every epoch; only their sequence may change"
    assert calls == [0, 1, 0, 2]  # epoch 0 is asked for once more to compare with, and kept


def rich_table() -> tuple[RowTable, list[np.ndarray]]:
    """Six documents, three rephrases each (b lacks the last), thoughts of G = 2 and of G = 4."""
    specs = [spec for spec in rephrased("abcdef", 3) if spec[:3] != ("b", "rephrase", 2)]
    specs += [(name, "latent_thoughts", count, 4 + count) for name in "abcdef" for count in (2, 4)]
    return make_table(specs, num_segments=2)


def rows_where(table: RowTable, documents: str, *wanted: tuple[int, range]) -> np.ndarray:
    """By plain search: rows of the documents whose kind has this code and whose generation lies in the range."""
    return np.array(
        [
            row
            for row in range(len(table))
            if table.document_ids[table.document_index[row]] in documents
            and any(table.kind[row] == code and table.generation[row] in allowed for code, allowed in wanted)
        ]
    )


EXTRA = [
    {"ordering": "latent_thoughts", "weight": "2.5", "num_generations": 4},
    {"ordering": "merged", "weight": "0.5", "num_generations": 2, "num_thoughts": 2, "real_document": "first"},
    {"ordering": "repeat", "weight": "1", "num_generations": 2, "real_document": "none"},
    {"ordering": "simple", "weight": "3", "real_document": "none"},
]


def rich_streams(table: RowTable, tokens: list[np.ndarray], stream: dict, mixture: dict | None = None) -> list[Stream]:
    return build_streams(
        table,
        tokens,
        stream=StreamConfig(**{"ordering": "stitched", "extra": EXTRA, "max_missing_fraction": 0.1, **stream}),
        mixture=MixtureConfig(
            **{"synthetic_fraction": "0.5", "max_windows": {"real": 2, "merged": 3}, **(mixture or {})}
        ),
        context_length=4,
        seed=7,
        real_documents=list("abcdef"),
        synthetic_documents=list("dcba"),
    )


@pytest.mark.parametrize(
    ("options", "settings", "seed"),
    [
        ({}, {}, 7),
        ({"reorder_rows": "each_epoch"}, {"data_seed": 9}, 9),
        ({"reshuffle_windows": "each_epoch", "real_document": "first"}, {}, 7),
    ],
)
def test_every_stream_of_an_arm(options: dict, settings: dict, seed: int) -> None:
    """Its rows by plain search, its order by the ordering's own function, its numbers by hand."""
    table, tokens = rich_table()
    place = options.get("real_document", "last")
    real, rephrases, few = (0, range(1)), (1, range(3)), (1, range(2))
    expected = [
        ("real", "simple", rows_where(table, "abcdef", real), OrderingOptions(), "1", 0, 2),
        ("stitched", "stitched", rows_where(table, "abcd", real, rephrases), OrderingOptions(3, place), "1", 1, 15),
        ("latent_thoughts",) * 2 + (rows_where(table, "abcd", (2, range(4, 5))), OrderingOptions(0), "2.5", 0, 8),
        ("merged",) * 2
        + (rows_where(table, "abcd", real, few, (2, range(2, 3))), OrderingOptions(2, "first"), "0.5", 0, 3),
        ("repeat",) * 2 + (rows_where(table, "abcd", real), OrderingOptions(2, "none"), "1", 0, 8),
        ("simple",) * 2 + (rows_where(table, "abcd", rephrases), OrderingOptions(3, "none"), "3", 1, 11),
    ]
    streams = rich_streams(table, tokens, options, settings)
    for stream, (name, ordering, rows, order_options, weight, missing, windows) in zip(streams, expected, strict=True):
        assert (stream.name, stream.weight, stream.num_missing) == (name, Decimal(weight), missing)
        assert (stream.num_windows, stream.context_length, stream.table, stream.tokens) == (windows, 4, table, tokens)
        for epoch in range(2):
            of_epoch = epoch if "reorder_rows" in options else 0
            ordered = find_ordering(ordering).order(table, rows, seed=seed, epoch=of_epoch, options=order_options)
            assert stream.order(epoch).tolist() == ordered.tolist(), name
            of_epoch = epoch if "reshuffle_windows" in options else 0
            drawn = hash_order(derive_seed(seed, "window_order", name, of_epoch), stream.num_uncapped_windows)
            assert stream.window_order(epoch).tolist() == drawn[:windows].tolist(), name


def test_the_real_stream_along_a_path_of_neighbours() -> None:
    table, tokens = rich_table()
    table.extra["similarity_rank"] = np.arange(len(table))[::-1].astype(np.int64)
    (real,) = rich_streams(table, tokens, {"real_order": "similarity"}, {"synthetic_fraction": 0, "max_windows": {}})
    assert real.order().tolist() == rows_where(table, "abcdef", (0, range(1)))[::-1].tolist()


def test_what_may_be_missing_is_the_recipes_word() -> None:
    table, tokens = rich_table()
    for options, where in (
        ({"missing": "refuse"}, "missing"),
        ({"max_missing_fraction": 0.05}, "max_missing_fraction"),
    ):
        with pytest.raises(MissingGenerationsError) as caught:
            rich_streams(table, tokens, options)
        assert caught.value.what == "1 of 12 generations are missing, of 1 documents: b"
        assert caught.value.where == f"stream.{where}"


def test_thoughts_of_several_g_are_the_streams_own_g_unless_named() -> None:
    table, tokens = rich_table()
    for settings, count in (({"num_generations": 2}, 2), ({"num_generations": 4, "num_thoughts": 2}, 2)):
        stream = {"ordering": "latent_thoughts", "extra": [], **settings}
        (alone,) = rich_streams(table, tokens, stream, {"synthetic_fraction": 1, "max_windows": {}})
        assert sorted(alone.order().tolist()) == rows_where(table, "abcd", (2, range(count, count + 1))).tolist()
    with pytest.raises(RecipeError, match=r"G = 2, 4; the stream names none of them"):
        rich_streams(table, tokens, {"ordering": "merged", "extra": [], "num_generations": 2}, {"max_windows": {}})


def test_shares_follow_the_weights() -> None:
    extra = [{"ordering": "repeat", "weight": "2.5", "num_generations": 1}, {"ordering": "stitched", "weight": "0.5"}]
    specs = rephrased("abcdefgh", 2, 8)
    mixture = build(
        specs,
        stream={"ordering": "simple", "extra": extra},
        mixture={"synthetic_fraction": "0.6", "block_windows": 16, "rounding": "levanter"},
        real_epochs=4,
    )
    eighths = [Fraction(2, 5), Fraction(3, 20), Fraction(3, 8), Fraction(3, 40)]
    assert mixture.shares == Shares(eighths, 16, "levanter")
    assert mixture.num_steps == 20  # 4 epochs of 8 windows / (4 * 2/5)
    alone = build(specs, stream={"ordering": "simple"}, mixture={"synthetic_fraction": 1}, synthetic_epochs=1)
    assert alone.shares == Shares([Fraction(1)], 24, "exact")


@pytest.mark.parametrize(("boundary", "expected"), [("none", None), ("row", "row"), ("document", "document")])
def test_the_boundary_of_attention(boundary: str, expected: str | None) -> None:
    mixture = build(rephrased("abcd", 1, 8), stream={"attention_boundary": boundary}, real_epochs=1)
    assert mixture.boundary == expected


@pytest.mark.parametrize(("epochs", "num_steps", "block"), [(1.6, 4, 16), (2, 5, 12)])
def test_a_block_fits_when_the_blocks_of_the_run_do(epochs: float, num_steps: int, block: int) -> None:
    """One real window at a share of 1/10: the first block of 16 takes it once, a second one would take it twice."""
    specs = [("a", "real", 0, 8), *(("a", "rephrase", number, 8) for number in range(20))]
    mixture = build(
        specs,
        stream={"ordering": "simple"},
        mixture={"synthetic_fraction": "0.9", "block_windows": 16},
        real_epochs=epochs,
    )
    assert (mixture.num_steps, mixture.block_windows, mixture.requested_block_windows) == (num_steps, block, 16)
