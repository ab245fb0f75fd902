"""Which rows a stream takes, and what it says about those that are missing."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.errors import InputError, MissingGenerationsError, RecipeError
from megadocs.recipe import MixtureConfig, StreamConfig
from megadocs.streams import Wanted, required_kinds, select_rows
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
    found = caught.value.what.replace("z, y", "y, z")
    assert (found, caught.value.where, caught.value.remedy) == (what, where, remedy)


def test_the_limit_that_missing_generations_pass_is_named() -> None:
    names_of_many = [f"d{number:02d}" for number in range(12)]
    table, _ = make_table([*rephrased(["x"], 2), *((name, "real", 0, 4) for name in names_of_many)])
    remedy = "make them with `megadocs generate run RECIPE`, or allow more (stream.max_missing_fraction)"
    for options, where in (({}, "stream.max_missing_fraction"), ({"missing": "refuse"}, "stream.missing")):
        with pytest.raises(MissingGenerationsError) as caught:
            select_rows(table, BOTH, None, **options)
        assert caught.value.what.startswith("24 of 26 generations are missing, of 12 documents: d00, d01, ")
        assert caught.value.what.endswith(" more")
        assert (caught.value.where, caught.value.remedy) == (where, remedy)


def test_stretched_rows_of_several_g_are_listed() -> None:
    table, _ = make_table([("a", "latent_thoughts", 2, 9), ("a", "latent_thoughts", 4, 12)])
    with pytest.raises(RecipeError) as caught:
        select_rows(table, Wanted(("latent_thoughts",), num_thoughts=3), None)
    assert caught.value.what == "stretched rows (latent_thoughts) exist for G = 2, 4; the stream names 3"
    assert caught.value.where == "stream.num_thoughts"
    assert caught.value.remedy == "choose one of them, or generate with generate.thought.num_generations=3"
