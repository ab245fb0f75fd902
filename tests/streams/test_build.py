"""What a recipe's sections become: kinds that are read, seeds, clocks; and every refusal word for word."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.errors import RecipeError
from megadocs.kinds import OrderingOptions
from megadocs.recipe import MixtureConfig, StreamConfig
from megadocs.streams.build import OrderOfEpoch, data_seed, required_kinds
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
        calls.append(epoch)
        return np.array([1, 1, 3] if epoch < 2 else [1, 3, 3])

    order = bound(ordering, repeats=True)
    assert order(0).tolist() == order(1).tolist() == [1, 1, 3]
    with pytest.raises(RecipeError) as caught:
        order(2)
    assert caught.value.what == "the ordering returns other rows in epoch 2 than in epoch 0"
    assert caught.value.where == "stream.ordering"
    assert caught.value.remedy == "an ordering holds the same rows in every epoch; only their sequence may change"
    assert calls == [0, 1, 0, 2]  # epoch 0 is asked for once more to compare with, and kept
