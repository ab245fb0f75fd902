"""Which rows a stream takes, and what it says about those that are missing."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.errors import InputError, MissingGenerationsError, RecipeError
from megadocs.recipe import MixtureConfig, StreamConfig
from megadocs.row_table import RowTable
from megadocs.streams import Selection, Wanted, required_kinds, select_rows
from streams.helpers import make_table, names, rephrased

BOTH = Wanted(("rephrase", "real"))


def test_generations_nest_and_documents_are_filtered() -> None:
    table, _ = make_table(rephrased("abc", 3))
    chosen = select_rows(table, Wanted(("rephrase", "real"), num_generations=2), ["a", "c"])
    assert names(table, chosen.rows.tolist()) == "A a0 a1 C c0 c1"
    assert (chosen.num_generations, chosen.num_wanted, chosen.num_missing) == (2, 4, 0)


def test_missing_rephrases_are_counted_and_limited() -> None:
    specs = [
        spec for spec in rephrased("abcdefghij", 10) if spec[:3] not in (("a", "rephrase", 3), ("b", "rephrase", 9))
    ]
    table, _ = make_table(specs)
    chosen = select_rows(table, BOTH, None)
    assert (chosen.num_wanted, chosen.num_missing, chosen.missing_documents) == (100, 2, ("a", "b"))
    with pytest.raises(
        MissingGenerationsError, match="2 of 100 generations are missing, of 2 documents: a, b"
    ) as raised:
        select_rows(table, BOTH, None, max_missing_fraction=0.019)
    assert "megadocs generate" in str(raised.value)
    with pytest.raises(MissingGenerationsError):
        select_rows(table, BOTH, None, missing="refuse")
    assert select_rows(table, Wanted(("rephrase", "real"), num_generations=3), None, missing="refuse").num_missing == 0


def test_a_document_without_any_rephrase_is_counted_in_full() -> None:
    table, _ = make_table([*rephrased("abc", 2), ("d", "real", 0, 4)])
    chosen = select_rows(table, BOTH, None, max_missing_fraction=0.5)
    assert (chosen.num_wanted, chosen.num_missing, chosen.missing_documents) == (8, 2, ("d",))
    alone = select_rows(table, Wanted(("rephrase",)), ["a", "d", "e"], max_missing_fraction=0.7)
    assert (alone.num_wanted, alone.num_missing, alone.missing_documents) == (6, 4, ("d", "e"))


def test_missing_thoughts_come_from_the_rows() -> None:
    table, _ = make_table([("a", "latent_thoughts", 4, 9), ("b", "latent_thoughts", 4, 9)])
    table.extra["num_missing_thoughts"] = np.array([0, 3], dtype=np.int32)
    with pytest.raises(MissingGenerationsError, match="3 of 8 generations are missing, of 1 documents: b"):
        select_rows(table, Wanted(("latent_thoughts",)), None)


def test_thoughts_of_several_g_must_be_named() -> None:
    table, _ = make_table([("a", "latent_thoughts", 2, 9), ("a", "latent_thoughts", 4, 12)])
    with pytest.raises(RecipeError, match="G = 2, 4; the stream names none"):
        select_rows(table, Wanted(("latent_thoughts",)), None)
    with pytest.raises(RecipeError, match="the stream names 3"):
        select_rows(table, Wanted(("latent_thoughts",), num_thoughts=3), None)
    assert select_rows(table, Wanted(("latent_thoughts",), num_thoughts=4), None).rows.tolist() == [1]


def test_more_generations_than_there_are() -> None:
    table, _ = make_table(rephrased("ab", 2))
    with pytest.raises(RecipeError, match="asks for 5 generations of kind 'rephrase'; 2 exist"):
        select_rows(table, Wanted(("rephrase",), num_generations=5), None)


def test_absent_kinds_and_documents_are_named() -> None:
    table, _ = make_table(rephrased("ab", 0))
    with pytest.raises(InputError, match="no rows of kind 'rephrase'"):
        select_rows(table, BOTH, None)
    with pytest.raises(InputError, match="1 of 3 documents have no row in this stream: z"):
        select_rows(table, Wanted(("real",)), ["a", "b", "z"])


def test_unconditional_samples_belong_to_no_document() -> None:
    specs = [("a", "real", 0, 9), *((f"s{n}", "self_distilled", n, 9) for n in range(5))]
    table, _ = make_table(specs)
    assert select_rows(table, Wanted(("self_distilled",), num_generations=3), ["a"]).rows.tolist() == [1, 2, 3]


def test_required_kinds_of_an_arm() -> None:
    half, none, whole = (MixtureConfig(synthetic_fraction=fraction) for fraction in ("0.5", "0", "1"))
    assert required_kinds(StreamConfig(), none) == {"real"}
    assert required_kinds(StreamConfig(ordering="stitched"), half) == {"real", "rephrase"}
    assert required_kinds(StreamConfig(ordering="simple", real_document="none"), whole) == {"rephrase"}
    assert required_kinds(StreamConfig(ordering="latent_thoughts"), half) == {"real", "latent_thoughts"}
    assert required_kinds(StreamConfig(ordering="latent_thoughts"), whole) == {"latent_thoughts"}
    mixed = StreamConfig(ordering="merged", extra=[{"ordering": "self_distilled", "weight": 1}])
    assert required_kinds(mixed, half) == {"real", "rephrase", "latent_thoughts", "self_distilled"}


@pytest.mark.parametrize(
    ("wanted", "documents", "what", "where", "remedy"),
    [
        (
            Wanted(("latent_thoughts",)),
            None,
            "there are no rows of kind 'latent_thoughts' for this stream",
            "stream.ordering",
            "build them first: `megadocs generate run`, then `megadocs rows` (kind latent_thoughts)",
        ),
        (
            Wanted(("real",)),
            ["z", "a", "y", "z"],
            "2 of 3 documents have no row in this stream: y, z",
            "rows",
            "build the rows from the same documents as the corpus",
        ),
        (
            Wanted(("rephrase",), num_generations=5),
            None,
            "the stream asks for 5 generations of kind 'rephrase'; 2 exist",
            "stream.num_generations",
            "generate more (generate.rephrase.num_generations=5) or lower it to 2",
        ),
    ],
)
def test_refusals_word_for_word(wanted: Wanted, documents, what: str, where: str, remedy: str) -> None:
    table, _ = make_table(rephrased("ab", 2))
    with pytest.raises((InputError, RecipeError)) as caught:
        select_rows(table, wanted, documents)
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, where, remedy)


REMEDY = "make them with `megadocs generate run RECIPE`, or allow more (stream.max_missing_fraction)"


@pytest.mark.parametrize(
    ("num_documents", "named"),
    [
        (1, "d00"),
        (5, "d00, d01, d02, d03, d04"),
        (6, "d00, d01, d02, d03, d04 and 1 more"),
        (12, "d00, d01, d02, d03, d04 and 7 more"),
    ],
)
@pytest.mark.parametrize(
    ("options", "where"), [({}, "stream.max_missing_fraction"), ({"missing": "refuse"}, "stream.missing")]
)
def test_what_is_missing_is_counted_and_five_documents_are_named(
    num_documents: int, named: str, options: dict, where: str
) -> None:
    table, _ = make_table(
        [*rephrased(["x"], 2), *((f"d{n:02d}", "real", 0, 4) for n in reversed(range(num_documents)))]
    )
    with pytest.raises(MissingGenerationsError) as caught:
        select_rows(table, BOTH, None, **options)
    assert caught.value.what == (
        f"{2 * num_documents} of {2 * num_documents + 2} generations are missing, of {num_documents} documents: {named}"
    )
    assert (caught.value.where, caught.value.remedy) == (where, REMEDY)


def test_refuse_refuses_a_single_one_and_names_no_fraction() -> None:
    table, _ = make_table([spec for spec in rephrased("abcdefgh", 10) if spec[:3] != ("a", "rephrase", 9)])
    assert plain(select_rows(table, BOTH, None))[3:] == (80, 1, ("a",))
    with pytest.raises(MissingGenerationsError, match=r"^1 of 80 generations are missing, of 1 documents: a\n"):
        select_rows(table, BOTH, None, missing="refuse", max_missing_fraction=1.0)


@pytest.mark.parametrize(
    ("num_thoughts", "names", "remedy"),
    [
        (3, "3", "choose one of them, or generate with generate.thought.num_generations=3"),
        (None, "none of them", "choose one of them"),
    ],
)
def test_stretched_rows_of_several_g_are_listed(num_thoughts: int | None, names: str, remedy: str) -> None:
    table, _ = make_table([("a", "latent_thoughts", 4, 9), ("a", "latent_thoughts", 2, 12)])
    with pytest.raises(RecipeError) as caught:
        select_rows(table, Wanted(("latent_thoughts",), num_thoughts=num_thoughts), None)
    assert caught.value.what == f"stretched rows (latent_thoughts) exist for G = 2, 4; the stream names {names}"
    assert (caught.value.where, caught.value.remedy) == ("stream.num_thoughts", remedy)


def plain(selection: Selection) -> tuple:
    assert selection.rows.dtype == np.int64
    return (
        selection.rows.tolist(),
        selection.num_generations,
        selection.num_thoughts,
        selection.num_wanted,
        selection.num_missing,
        selection.missing_documents,
    )


def mixed_table() -> RowTable:
    """Rows 0-2 of a; 3 and 4 of b, which lacks a rephrase; 5 of c, which has none; 6-8 stretched, that of b two
    thoughts short; 9 and 10 of no document."""
    specs = [
        *rephrased("a", 2),
        ("b", "real", 0, 4),
        ("b", "rephrase", 0, 4),
        ("c", "real", 0, 4),
        *((name, "latent_thoughts", 4, 9) for name in "abc"),
        *((f"s{number}", "self_distilled", number, 9) for number in range(2)),
    ]
    table, _ = make_table(specs)
    table.extra["num_missing_thoughts"] = np.array([9, 9, 9, 9, 9, 9, 0, 2, 0, 9, 9], dtype=np.int32)
    return table


@pytest.mark.parametrize(
    ("kinds", "options", "documents", "expected"),
    [
        ((), {}, None, ([], 0, 0, 0, 0, ())),
        ((), {}, ["a"], ([], 0, 0, 0, 0, ())),
        (("real",), {}, None, ([0, 3, 5], 0, 0, 0, 0, ())),
        (("real",), {}, ["c", "a"], ([0, 5], 0, 0, 0, 0, ())),
        (("rephrase",), {}, None, ([1, 2, 4], 2, 0, 6, 3, ("b", "c"))),
        (("rephrase",), {"num_generations": 1}, None, ([1, 4], 1, 0, 3, 1, ("c",))),
        (("rephrase",), {"num_generations": 2}, ["a", "b"], ([1, 2, 4], 2, 0, 4, 1, ("b",))),
        (("rephrase",), {}, ["z", "b", "a"], ([1, 2, 4], 2, 0, 6, 3, ("b", "z"))),
        (("latent_thoughts",), {}, None, ([6, 7, 8], 0, 4, 12, 2, ("b",))),
        (("latent_thoughts",), {"num_thoughts": 4}, ["a", "c"], ([6, 8], 0, 4, 8, 0, ())),
        (("self_distilled",), {}, ["a"], ([9, 10], 2, 0, 0, 0, ())),
        (("self_distilled",), {"num_generations": 1}, None, ([9], 1, 0, 0, 0, ())),
        (("rephrase", "latent_thoughts"), {}, None, ([1, 2, 4, 6, 7, 8], 2, 4, 18, 5, ("b", "c"))),
        (("latent_thoughts", "rephrase", "real"), {}, ["b"], ([3, 4, 7], 1, 4, 5, 2, ("b",))),
    ],
)
def test_whole_selections(kinds: tuple[str, ...], options: dict, documents, expected: tuple) -> None:
    found = select_rows(mixed_table(), Wanted(kinds, **options), documents, max_missing_fraction=1.0)
    assert plain(found) == expected


def test_rows_without_the_column_of_missing_thoughts_lack_none() -> None:
    table = mixed_table()
    table.extra.clear()
    assert plain(select_rows(table, Wanted(("latent_thoughts",)), None)) == ([6, 7, 8], 0, 4, 12, 0, ())


def test_five_absent_documents_are_named_in_order() -> None:
    table, _ = make_table(rephrased("a", 1))
    with pytest.raises(InputError) as caught:
        select_rows(table, BOTH, ["z9", "z8", "z7", "z6", "z5", "z4", "a", "a"], max_missing_fraction=1.0)
    assert caught.value.what == "6 of 7 documents have no row in this stream: z4, z5, z6, z7, z8"
