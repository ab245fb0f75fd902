"""Orders against the golden example of docs/ordering.md and against their own promises."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.errors import RecipeError
from megadocs.kinds import OrderingOptions
from megadocs.kinds.built_in.real import repeat
from megadocs.kinds.built_in.thought import merged
from megadocs.kinds.orders import mis_stitched, similarity, simple, stitched
from megadocs.kinds.sorting import hash_order, sort_rows
from megadocs.row_table import RowTable
from streams.helpers import make_table, names, rephrased


def all_rows(table: RowTable) -> np.ndarray:
    return np.arange(len(table))


def order(function, table, *, seed=42, epoch=0, rows=None, **options) -> str:
    rows = all_rows(table) if rows is None else rows
    return names(table, function(table, rows, seed=seed, epoch=epoch, options=OrderingOptions(**options)).tolist())


@pytest.fixture
def table() -> RowTable:
    return make_table(rephrased("abcd", 2))[0]


def test_the_specification_s_stitched_example(table: RowTable) -> None:
    assert order(stitched, table) == "c0 c1 C a0 a1 A b0 b1 B d0 d1 D"


def test_the_specification_s_simple_example(table: RowTable) -> None:
    assert order(simple, table) == "b1 A c1 C c0 a1 B d0 D b0 d1 a0"


def test_real_first_and_none(table: RowTable) -> None:
    assert order(stitched, table, real_document="first") == "C c0 c1 A a0 a1 B b0 b1 D d0 d1"
    rephrases = np.flatnonzero(table.kind == 1)
    assert order(stitched, table, rows=rephrases, real_document="none") == "c0 c1 a0 a1 b0 b1 d0 d1"


def test_real_at_random_keeps_megadocs_whole_and_takes_every_place() -> None:
    table, _ = make_table(rephrased("abcdefghijklmnopqrst", 2))
    words = order(stitched, table, real_document="random", num_generations=2).split()
    places = set()
    for begin in range(0, len(words), 3):
        megadoc = words[begin : begin + 3]
        assert len({word[0].lower() for word in megadoc}) == 1
        places.add([word.isupper() and len(word) == 1 for word in megadoc].index(True))
    assert places == {0, 1, 2}


def test_a_smaller_number_of_generations_is_a_subsequence() -> None:
    table, _ = make_table(rephrased("abcdefg", 4))
    for function in (simple, stitched):
        large = order(function, table).split()
        few = np.flatnonzero((table.kind == 0) | (table.generation < 2))
        small = order(function, table, rows=few).split()
        assert [word for word in large if word in set(small)] == small


def test_order_does_not_depend_on_the_table_s_order() -> None:
    specs = rephrased("abcde", 3)
    table, _ = make_table(specs)
    turned, _ = make_table(specs[::-1])
    for function in (simple, stitched, mis_stitched):
        assert order(function, table, epoch=2) == order(function, turned, epoch=2)


def test_merged_puts_the_stretched_document_after_the_rephrases() -> None:
    specs = [spec for name in "ab" for spec in [*rephrased(name, 2), (name, "latent_thoughts", 2, 4)]]
    table, _ = make_table(specs)
    assert order(merged, table) == "a0 a1 a* A b0 b1 b* B"
    no_real = np.flatnonzero(table.kind != 0)
    assert order(merged, table, rows=no_real, real_document="none") == "a0 a1 a* b0 b1 b*"
    assert order(merged, table, real_document="first") == "A a0 a1 a* B b0 b1 b*"


def test_repeat_copies_the_real_document_in_place_of_its_rephrases() -> None:
    table, _ = make_table([(name, "real", 0, 4) for name in "abcd"])
    assert order(repeat, table, num_generations=2) == "C C C A A A B B B D D D"
    assert order(repeat, table, num_generations=2, real_document="none") == "C C A A B B D D"
    with pytest.raises(RecipeError, match="number of copies"):
        order(repeat, table)


def test_mis_stitched_has_the_shape_of_megadocs_and_rows_of_others() -> None:
    documents = [f"{number:03d}" for number in range(200)]
    table, _ = make_table([spec for name in documents for spec in rephrased_one(name)])
    options = OrderingOptions()
    right = stitched(table, all_rows(table), seed=1, epoch=0, options=options)
    wrong = mis_stitched(table, all_rows(table), seed=1, epoch=0, options=options)
    assert sorted(wrong) == sorted(right)
    assert np.array_equal(table.kind[wrong], table.kind[right])
    assert np.array_equal(table.generation[wrong], table.generation[right])
    bundles = table.document_index[wrong].reshape(200, 3)
    shared = sum(len(set(bundle)) < 3 for bundle in bundles.tolist())
    assert shared < 15  # three pairs per bundle, each alike about once in 200


def rephrased_one(name: str) -> list[tuple[str, str, int, int]]:
    return [(name, "real", 0, 4), (name, "rephrase", 0, 4), (name, "rephrase", 1, 4)]


def test_similarity_follows_the_rank_column() -> None:
    table, _ = make_table([(name, "real", 0, 4) for name in "abcd"])
    with pytest.raises(RecipeError, match="similarity_rank"):
        order(similarity, table)
    table.extra["similarity_rank"] = np.array([2, 0, 3, 1])
    assert order(similarity, table) == "B D A C"


def test_another_epoch_or_seed_is_another_order_of_the_same_rows(table: RowTable) -> None:
    for function in (simple, stitched):
        base = order(function, table)
        for other in (order(function, table, epoch=1), order(function, table, seed=43)):
            assert other != base
            assert sorted(other.split()) == sorted(base.split())


def test_ties_of_the_hash_go_by_document_id() -> None:
    table, _ = make_table([("b", "real", 0, 1), ("a", "real", 0, 1), ("c", "real", 0, 1)])
    table.row_key[:] = 7
    assert names(table, sort_rows(table, all_rows(table), 3).tolist()) == "A B C"
    table.document_key[:] = 7
    assert order(stitched, table) == "A B C"


def test_window_order_golden() -> None:
    from megadocs.seeding import derive_seed

    assert hash_order(derive_seed(42, "window_order", "real", 0), 8).tolist() == [5, 2, 7, 0, 1, 4, 3, 6]


def test_similarity_ranks_of_documents_become_a_column() -> None:
    from megadocs.text.similarity import similarity_ranks

    texts = {
        "a": "the senate passed the treaty and the president signed the treaty",
        "b": "wheat corn and cattle prices fell in the west",
        "c": "the president signed a treaty that the senate had passed",
        "d": "cattle and wheat prices rose while corn prices fell",
    }
    table, _ = make_table([(name, "real", 0, 4) for name in texts])
    ranks = similarity_ranks(list(texts), list(texts.values()))
    words = order(similarity, table.with_document_column("similarity_rank", list(texts), ranks)).split()
    assert {frozenset(words[:2]), frozenset(words[2:])} == {frozenset("AC"), frozenset("BD")}
    some = table.with_document_column("similarity_rank", ["d"], np.array([5]))
    assert order(similarity, some).split()[0] == "D"


def test_mis_stitched_deals_anew_with_every_seed_and_epoch() -> None:
    table, _ = make_table([spec for number in range(60) for spec in rephrased_one(f"{number:03d}")])
    options, bundles = OrderingOptions(), []
    for seed, epoch in ((1, 0), (2, 0), (1, 1)):
        rows = mis_stitched(table, all_rows(table), seed=seed, epoch=epoch, options=options)
        bundles.append({frozenset(bundle) for bundle in rows.reshape(60, -1).tolist()})
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert len(bundles[first] & bundles[second]) < 6  # by chance one in 60 or fewer
