"""From a recipe's sections to streams and a mixture: the one place that reads `StreamConfig` and `MixtureConfig`.

streams = build_streams(table, tokens, stream=arm.stream, mixture=arm.mixture, context_length=256, seed=0,
                        real_documents=ids, synthetic_documents=ids)
mixture = build_mixture(streams, config=arm.mixture, train=arm.train, seed=0, stream=arm.stream)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megadocs.errors import RecipeError
from megadocs.kinds import REAL, Ordering, OrderingOptions, OrderingSpec, find_ordering, row_kind
from megadocs.kinds.ordering import Int64Array
from megadocs.kinds.orders import similarity, simple
from megadocs.recipe import ExtraStream, MixtureConfig, StreamConfig, TrainConfig
from megadocs.recipe.streams import REAL_STREAM, block_windows, stream_names, synthetic_parts
from megadocs.row_table import RowTable
from megadocs.streams.mixture import Mixture
from megadocs.streams.selection import Selection, Wanted, select_rows
from megadocs.streams.shares import Shares, exact_steps, fits
from megadocs.streams.stream import Stream


def required_kinds(stream: StreamConfig, mixture: MixtureConfig) -> set[str]:
    """Kinds of row that an arm reads, so that a pipeline builds and opens only those."""
    kinds: set[str] = set()
    if mixture.has_real_stream:
        kinds.add(REAL)
    for part in synthetic_parts(stream, mixture):
        kinds.update(find_ordering(part.ordering).rows(part.real_document))
    return kinds


def build_streams(
    table: RowTable,
    tokens: Sequence[npt.NDArray[np.generic]],
    *,
    stream: StreamConfig,
    mixture: MixtureConfig,
    context_length: int,
    seed: int,
    real_documents: Sequence[str],
    synthetic_documents: Sequence[str] | None = None,
) -> list[Stream]:
    """The streams of an arm, the real one first.

    Args:
        table: rows of every kind the arm needs (`required_kinds`).
        tokens: the table's segments, plain ndarray views of their memory maps.
        seed: the run's seed; `mixture.data_seed` takes its place where it is set.
        real_documents: ids of the real stream's documents (`real_multiple` times the 1x set).
        synthetic_documents: ids whose rows make the synthetic streams, the 1x set; None: every document of the table.

    Raises:
        RecipeError, InputError, MissingGenerationsError: see `select_rows`, `find_ordering` and `Stream`.
    """
    seed = data_seed(mixture, seed)
    names = stream_names(stream, mixture)
    planned = _orders(table, stream, mixture, real_documents, synthetic_documents)
    return [
        Stream(
            name,
            table,
            tokens,
            OrderOfEpoch(order.ordering, table, order.selection.rows, seed, order.options, repeats=order.repeats),
            seed=seed,
            context_length=context_length,
            reorder_rows=stream.reorder_rows == "each_epoch",
            reshuffle_windows=stream.reshuffle_windows == "each_epoch",
            max_windows=mixture.max_windows.get(name),
            weight=order.weight,
            num_missing=order.selection.num_missing,
        )
        for name, order in zip(names, planned, strict=True)
    ]


class _Order(NamedTuple):
    """Which rows a stream has, and what orders them."""

    ordering: Ordering
    selection: Selection
    options: OrderingOptions
    weight: Decimal
    repeats: bool = False


def _orders(
    table: RowTable,
    stream: StreamConfig,
    mixture: MixtureConfig,
    real_documents: Sequence[str],
    synthetic_documents: Sequence[str] | None,
) -> Iterator[_Order]:
    """The order of each stream, the real one first."""
    if mixture.has_real_stream:
        order = similarity if stream.real_order == "similarity" else simple
        yield _Order(order, select_rows(table, Wanted((REAL,)), real_documents), OrderingOptions(), Decimal(1))
    for part in synthetic_parts(stream, mixture):
        spec = find_ordering(part.ordering)
        selection = select_rows(
            table,
            _wanted(spec, part),
            synthetic_documents,
            missing=stream.missing,
            max_missing_fraction=stream.max_missing_fraction,
        )
        num_generations = part.num_generations if spec.counts_copies else selection.num_generations
        options = OrderingOptions(num_generations or 0, part.real_document)
        yield _Order(spec.order, selection, options, part.weight, spec.repeats)


def build_mixture(
    streams: Sequence[Stream], *, config: MixtureConfig, train: TrainConfig, seed: int, stream: StreamConfig
) -> Mixture:
    """The mixture of an arm's streams: shares, number of steps, block size.

    Raises:
        RecipeError: zero steps, a block that is no multiple of the batch, or a stream smaller than its part of a batch.
    """
    shares = _shares(streams, config)
    num_steps = _num_steps(streams, shares, config, train)
    requested = block_windows(config, train.batch_size)
    return Mixture(
        streams,
        _fitting_shares(streams, shares, requested, num_steps, train.batch_size, config),
        num_steps=num_steps,
        batch_size=train.batch_size,
        requested_block_windows=requested,
        seed=data_seed(config, seed),
        boundary=None if stream.attention_boundary == "none" else stream.attention_boundary,
    )


def data_seed(mixture: MixtureConfig, seed: int) -> int:
    """The seed of row, window and block orders: the recipe's data seed, else the run's seed."""
    return seed if mixture.data_seed is None else mixture.data_seed


def _wanted(spec: OrderingSpec, part: ExtraStream) -> Wanted:
    num_thoughts = part.num_thoughts
    if num_thoughts is None and not any(row_kind(kind).is_sampled for kind in spec.kinds):
        num_thoughts = part.num_generations  # latent_thoughts: the stream's G is the stretched rows' G
    return Wanted(spec.rows(part.real_document), part.num_generations, num_thoughts)


@dataclass(slots=True, eq=False)
class OrderOfEpoch:
    """An ordering bound to its rows; checks that it returns each of them once, and the same rows in every epoch."""

    ordering: Ordering
    table: RowTable
    rows: Int64Array
    seed: int
    options: OrderingOptions
    repeats: bool = False  # it drops or repeats rows on purpose, and says so; then only the epochs are compared
    _first: Int64Array | None = None

    def __call__(self, epoch: int) -> Int64Array:
        """Row indices in stream order."""
        ordered = self.ordering(self.table, self.rows, seed=self.seed, epoch=epoch, options=self.options)
        ordered = np.ascontiguousarray(ordered, dtype=np.int64)
        if not self.repeats:
            self._refuse_other_rows(ordered)
        elif epoch:
            self._refuse_other_epoch(ordered, epoch)
        return ordered

    def _refuse_other_rows(self, ordered: Int64Array) -> None:
        in_table = ordered[(ordered >= 0) & (ordered < len(self.table))]
        times = np.bincount(in_table, minlength=len(self.table))
        num_lost, num_twice = int((times[self.rows] == 0).sum()), int((times > 1).sum())
        if num_lost or len(ordered) != len(self.rows):
            raise RecipeError(
                f"the ordering returns {len(ordered)} rows of the {len(self.rows)} that it was given: {num_lost} are "
                f"lost, {num_twice} stand there more than once",
                where="stream.ordering",
                remedy="return each row once, or declare it: `repeats = True` on the function or its OrderingSpec",
            )

    def _refuse_other_epoch(self, ordered: Int64Array, epoch: int) -> None:
        if self._first is None:
            first = self.ordering(self.table, self.rows, seed=self.seed, epoch=0, options=self.options)
            self._first = np.sort(first)
        if not np.array_equal(np.sort(ordered), self._first):
            raise RecipeError(
                f"the ordering returns other rows in epoch {epoch} than in epoch 0",
                where="stream.ordering",
                remedy="an ordering holds the same rows in every epoch; only their sequence may change",
            )


def _shares(streams: Sequence[Stream], config: MixtureConfig) -> list[Fraction]:
    """Exact share of each stream: 1 - m for the real one, the rest by weight."""
    synthetic = [stream for stream in streams if stream.name != REAL_STREAM]
    has_real = len(synthetic) < len(streams)
    fraction = Fraction(config.synthetic_fraction) if has_real else Fraction(1)
    total = sum((Fraction(stream.weight) for stream in synthetic), Fraction(0))
    shares = [Fraction(1) - fraction] if has_real else []
    return shares + [fraction * Fraction(stream.weight) / total for stream in synthetic]


def _num_steps(streams: Sequence[Stream], shares: Sequence[Fraction], config: MixtureConfig, train: TrainConfig) -> int:
    """floor(epochs * W / (batch * share)) of the stream that sets the clock: the real one, else the first synthetic."""
    clock, share = streams[0], shares[0]
    key, epochs = "train.real_epochs", train.real_epochs
    if clock.name != REAL_STREAM:
        if train.synthetic_epochs is None:
            raise RecipeError(
                "without a real stream of its own the run takes its length from synthetic_epochs",
                where="train.synthetic_epochs",
                remedy="set it: passes over the synthetic stream",
            )
        key, epochs = "train.synthetic_epochs", train.synthetic_epochs
    num_steps = int(exact_steps(epochs, clock.num_windows, train.batch_size, share))
    if not num_steps:
        raise RecipeError(
            f"{epochs:g} epochs of {clock.num_windows} windows of stream {clock.name!r} do not fill one batch of "
            f"{train.batch_size}",
            where=key,
            remedy="raise it, lower train.batch_size or train.context_length, or add documents",
        )
    return num_steps


def _fitting_shares(
    streams: Sequence[Stream],
    shares: Sequence[Fraction],
    requested: int,
    num_steps: int,
    batch_size: int,
    config: MixtureConfig,
) -> Shares:
    """The largest block of whole batches, at most the requested one, in which no stream repeats a window."""
    num_windows = [stream.num_windows for stream in streams]
    for block in range(requested, 0, -batch_size):
        candidate = Shares(shares, block, config.rounding)
        num_blocks = -(-num_steps * batch_size // block)
        if fits(candidate, num_windows, num_blocks):
            return candidate
    counts = ", ".join(f"{stream.name} {stream.num_windows}" for stream in streams)
    raise RecipeError(
        f"a batch of {batch_size} takes more windows of a stream than it has ({counts})",
        where="train.batch_size",
        remedy="lower the batch, shorten train.context_length, or add documents",
    )
