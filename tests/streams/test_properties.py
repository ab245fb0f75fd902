"""Properties over generated tables: conservation, exact counts, independence of everything that must not matter."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.errors import RecipeError
from megadocs.recipe import MixtureConfig, StreamConfig, TrainConfig
from megadocs.row_table import RowTable
from megadocs.streams import Mixture, build_mixture, build_streams, rank_part
from megadocs.streams.shares import Shares, fits
from streams.helpers import RowSpec, make_table

ORDERINGS = ("simple", "stitched", "mis_stitched", "latent_thoughts", "merged", "repeat", "thoughts_appended")


@st.composite
def row_specs(draw: st.DrawFn, min_documents: int = 4) -> list[RowSpec]:
    """Documents with a real row, up to G rephrases (some missing), a stretched and an appended row, any lengths."""
    num_documents = draw(st.integers(min_documents, 14))
    num_generations = draw(st.integers(1, 4))
    length = st.integers(1, 30)
    specs: list[RowSpec] = []
    for number in range(num_documents):
        name = f"doc-{number}"
        specs.append((name, "real", 0, draw(length)))
        for generation in range(num_generations):
            if number == 0 or draw(st.integers(0, 9)):
                specs.append((name, "rephrase", generation, draw(length)))
        specs.append((name, "latent_thoughts", num_generations, draw(length)))
        specs.append((name, "thoughts_appended", num_generations, draw(length)))
    return specs


def build(
    table: RowTable,
    tokens: list[np.ndarray],
    *,
    ordering: str = "stitched",
    fraction: str = "0.5",
    context: int = 7,
    batch: int = 2,
    epochs: float = 3,
    seed: int = 5,
    real_documents: list[str] | None = None,
    **options: object,
) -> Mixture:
    stream = StreamConfig(
        ordering=ordering,
        max_missing_fraction=1,
        num_generations=options.pop("num_generations", 2 if ordering == "repeat" else None),
        **options,
    )
    mixture = MixtureConfig(synthetic_fraction=fraction)
    streams = build_streams(
        table,
        tokens,
        stream=stream,
        mixture=mixture,
        context_length=context,
        seed=seed,
        real_documents=real_documents or list(table.document_ids),
    )
    train = TrainConfig(context_length=8, batch_size=batch, real_epochs=epochs, synthetic_epochs=epochs)
    return build_mixture(streams, config=mixture, train=train, seed=seed, stream=stream)


def build_or_none(*arguments: object, **options: object) -> Mixture | None:
    """None where the generated stream is too small for a batch: that refusal is tested elsewhere."""
    try:
        return build(*arguments, **options)  # type: ignore[arg-type]
    except RecipeError:
        return None


@given(row_specs(), st.sampled_from(ORDERINGS), st.sampled_from(("last", "first", "none", "random")), st.integers(1, 4))
def test_windows_hold_every_token_once_but_the_tail(
    specs: list[RowSpec], ordering: str, real_document: str, num_segments: int
) -> None:
    table, tokens = make_table(specs, num_segments=num_segments)
    mixture = build_or_none(table, tokens, ordering=ordering, real_document=real_document, fraction="1", batch=1)
    if mixture is None:
        return
    stream = mixture.streams[0]
    expected = np.repeat(stream.order(0), table.num_tokens[stream.order(0)])
    windows = stream.windows_batch([(0, window) for window in range(stream.num_windows)])
    assert np.array_equal(windows.ravel(), expected[: len(expected) - stream.num_dropped_tokens])
    assert stream.num_dropped_tokens < stream.context_length
    assert sorted(stream.window_order(0)) == list(range(stream.num_windows))


@given(row_specs(), st.sampled_from(("last", "first", "random")))
def test_simple_and_stitched_hold_the_same_rows(specs: list[RowSpec], real_document: str) -> None:
    table, tokens = make_table(specs)
    orders = [
        build(table, tokens, ordering=name, real_document=real_document, fraction="1", batch=1, context=1).streams[0]
        for name in ("simple", "stitched", "mis_stitched")
    ]
    assert len({tuple(sorted(table.row_key[stream.order(0)].tolist())) for stream in orders}) == 1
    assert len({stream.num_tokens for stream in orders}) == 1


@given(
    st.lists(st.fractions(min_value=Fraction(1, 50), max_value=1), min_size=1, max_size=5),
    st.integers(1, 64),
    st.sampled_from(("exact", "levanter")),
)
def test_counts_of_blocks_add_up_for_any_weights(weights: list[Fraction], block: int, rounding: str) -> None:
    shares = Shares([weight / sum(weights) for weight in weights], block, rounding)
    given_so_far = [0] * len(weights)
    for number in range(40):
        counts = shares.counts(number)
        assert sum(counts) == block
        given_so_far = [before + now for before, now in zip(given_so_far, counts, strict=True)]
        assert tuple(given_so_far) == shares.given_before(number + 1)
        if rounding == "exact":
            total = (number + 1) * block
            for count, share in zip(given_so_far[:-1], shares.shares, strict=False):
                assert count == int(total * share)
            assert abs(given_so_far[-1] - total * shares.shares[-1]) < len(weights)
    bounded = fits(shares, [block] * len(weights), 40)
    assert bounded == all(min(shares.counts(number)) >= 0 for number in range(40))


@given(row_specs(min_documents=10), st.sampled_from(("0.25", "0.5", "0.75", "0.9", "0")), st.integers(1, 4))
def test_every_window_is_seen_as_often_as_planned(specs: list[RowSpec], fraction: str, batch: int) -> None:
    table, tokens = make_table(specs)
    mixture = build_or_none(table, tokens, fraction=fraction, batch=batch, context=5, epochs=4)
    if mixture is None:
        return
    samples = [window for step in range(mixture.num_steps) for window in mixture.window_ids(step)]
    assert len(set(samples)) == len(samples)  # (stream, epoch, window) names each sample of the run
    counts = Counter(window.stream for window in samples)
    assert [counts[exposure.name] for exposure in mixture.exposures()] == [e.num_samples for e in mixture.exposures()]
    num_blocks = len(samples) // mixture.block_windows
    whole_blocks = samples[: num_blocks * mixture.block_windows]
    for stream, given_windows in zip(mixture.streams, mixture.shares.given_before(num_blocks), strict=True):
        seen = Counter(window.window for window in whole_blocks if window.stream == stream.name)
        assert sum(seen.values()) == given_windows
        fewest, more = divmod(given_windows, stream.num_windows)
        assert Counter(seen[w] for w in range(stream.num_windows)) == Counter(
            {n: k for n, k in ((fewest, stream.num_windows - more), (fewest + 1, more)) if k}
        )


@given(row_specs(min_documents=10), st.integers(0, 2**32), st.data())
def test_the_order_of_the_table_does_not_matter(specs: list[RowSpec], seed: int, data: st.DataObject) -> None:
    turned = data.draw(st.permutations(specs))
    ordering = data.draw(st.sampled_from(ORDERINGS))
    first_table, first_tokens = make_table(specs)
    second_table, second_tokens = make_table(turned, num_segments=3)
    first = build_or_none(first_table, first_tokens, ordering=ordering, seed=seed)
    second = build_or_none(second_table, second_tokens, ordering=ordering, seed=seed)
    assert (first is None) == (second is None)
    if first is None or second is None:
        return
    assert [first.window_ids(step) for step in range(first.num_steps)] == [
        second.window_ids(step) for step in range(second.num_steps)
    ]
    for step in range(first.num_steps):  # tokens are table rows: compare what the rows are
        mine, other = first.read_batch(step)[0], second.read_batch(step)[0]
        assert np.array_equal(first_table.row_key[mine], second_table.row_key[other])


@given(row_specs(min_documents=10), st.sampled_from((1, 2, 3, 4, 6, 12)), st.integers(1, 12))
def test_ranks_and_micro_batches_see_the_same_windows(specs: list[RowSpec], world_size: int, micro_batch: int) -> None:
    table, tokens = make_table(specs)
    mixture = build_or_none(table, tokens, batch=12, context=3, fraction="0.5", epochs=4)
    if mixture is None:
        return
    for step in (0, mixture.num_steps - 1):
        whole, _ = mixture.read_batch(step)
        windows = mixture.window_ids(step)
        parts = [rank_part(windows, rank, world_size) for rank in range(world_size)]
        micro = [part[b : b + micro_batch] for part in parts for b in range(0, len(part), micro_batch)]
        assert np.array_equal(np.concatenate([mixture.read_windows(part) for part in micro]), whole)


@given(row_specs(min_documents=8))
def test_growing_the_generations_changes_nothing_for_those_who_use_fewer(specs: list[RowSpec]) -> None:
    few = [spec for spec in specs if spec[1] != "rephrase" or spec[2] < 1]
    results = []
    for chosen in (few, specs):
        table, tokens = make_table(chosen)
        mixture = build_or_none(table, tokens, num_generations=1, ordering="stitched")
        if mixture is None:
            return
        order = mixture.streams[1].order(0)
        results.append(
            ([mixture.window_ids(s) for s in range(mixture.num_steps)], sorted(table.row_key[order].tolist()))
        )
    assert results[0] == results[1]


@given(row_specs(), st.sampled_from(("row", "document")), st.integers(2, 40))
def test_attention_segments_follow_row_offsets(specs: list[RowSpec], boundary: str, context: int) -> None:
    table, tokens = make_table(specs)
    mixture = build_or_none(table, tokens, fraction="1", batch=1, context=context, attention_boundary=boundary)
    if mixture is None:
        return
    stream = mixture.streams[0]
    for window in range(stream.num_windows):
        rows = stream.window_tokens(0, window)  # tokens are table rows
        group = rows if boundary == "row" else table.document_index[rows]
        expected = np.concatenate(([0], np.cumsum(group[1:] != group[:-1])))
        assert np.array_equal(stream.window_segments(0, window, boundary), expected)


@pytest.mark.parametrize("ordering", ORDERINGS)
def test_each_epoch_reorders_the_same_rows(ordering: str) -> None:
    specs = [
        spec
        for n in range(12)
        for spec in [
            (f"d{n}", "real", 0, 9), (f"d{n}", "rephrase", 0, 5), (f"d{n}", "rephrase", 1, 6),
            (f"d{n}", "latent_thoughts", 2, 11), (f"d{n}", "thoughts_appended", 2, 11),
        ]
    ]  # fmt: skip
    table, tokens = make_table(specs)
    fixed = build(table, tokens, ordering=ordering).streams[1]
    again = build(table, tokens, ordering=ordering, reorder_rows="each_epoch", reshuffle_windows="each_epoch").streams[
        1
    ]
    assert np.array_equal(fixed.order(0), fixed.order(3))
    assert np.array_equal(fixed.window_order(0), fixed.window_order(3))
    assert np.array_equal(again.order(0), fixed.order(0))
    assert not np.array_equal(again.order(1), fixed.order(0))
    assert np.array_equal(np.sort(again.order(1)), np.sort(fixed.order(0)))
    assert not np.array_equal(again.window_order(1), fixed.window_order(0))
    assert not np.array_equal(again.window_tokens(1, 0), again.window_tokens(0, 0))
