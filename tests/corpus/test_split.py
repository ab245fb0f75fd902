"""The split: counts, auto, blocks; independent of order; nothing on two sides; everything counted."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from megadocs.corpus import SplitCorpus, split_documents
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig, PiecesConfig, SplitCounts


def documents(num_groups: int, pieces: int, prefix: str = "g") -> list[Document]:
    return [
        Document(
            f"{prefix}{group}#{piece}", f"text {prefix} {group} {piece}", {"group": f"{prefix}{group}", "piece": piece}
        )
        for group in range(num_groups)
        for piece in range(pieces)
    ]


def counts_config(train: int, validation: int, test: int, max_multiple: int = 4, seed: int = 42) -> CorpusConfig:
    split = SplitCounts(train=train, validation=validation, test=test, max_multiple=max_multiple)
    return CorpusConfig(source="unused", split=split, seed=seed)


AUTO = CorpusConfig(source="unused", pieces=PiecesConfig())


def ids(split: list[Document]) -> list[str]:
    return [document.id for document in split]


def groups(split: list[Document]) -> set[str]:
    return {document.meta["group"] for document in split}


def assert_apart(corpus: SplitCorpus) -> None:
    sides = [groups(corpus.train), groups(corpus.validation), groups(corpus.test)]
    assert sum(len(side) for side in sides) == len(set.union(*sides))


def test_counts_are_exact_and_groups_stay_on_one_side() -> None:
    corpus = split_documents(documents(40, 5), counts_config(10, 20, 21))
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (40, 20, 21)
    assert (corpus.num_train_1x, corpus.max_multiple) == (10, 4)
    assert_apart(corpus)
    assert corpus.report["not_used"] == 200 - 81


def test_multiples_are_nested() -> None:
    corpus = split_documents(documents(40, 5), counts_config(10, 20, 20))
    assert ids(corpus.train_multiple(2))[:10] == ids(corpus.train_multiple(1)) == ids(corpus.train)[:10]
    with pytest.raises(InputError, match="5x"):
        corpus.train_multiple(5)


def test_validation_and_test_do_not_move_when_training_grows() -> None:
    small = split_documents(documents(100, 5), counts_config(10, 20, 20))
    large = split_documents(documents(100, 5), counts_config(30, 20, 20))
    assert ids(small.validation) == ids(large.validation)
    assert ids(small.test) == ids(large.test)
    assert ids(small.train)[:40] == ids(large.train)[:40]


def test_max_multiple_shrinks_to_what_fits() -> None:
    corpus = split_documents(documents(50, 1), counts_config(10, 10, 10))
    assert corpus.max_multiple == 3
    assert len(corpus.train) == 30
    assert corpus.report["asked_max_multiple"] == 4


def test_held_out_documents_spread_over_many_groups_where_training_allows() -> None:
    corpus = split_documents(documents(100, 50), counts_config(50, 100, 100))
    assert len(groups(corpus.validation)) >= 18  # a fifth of the source, 20 groups, of which 100 documents are drawn
    tight = split_documents(documents(10, 50), counts_config(100, 20, 20, max_multiple=4))
    assert len(groups(tight.validation)) == 1
    assert tight.max_multiple == 4


@pytest.mark.parametrize("counts", [(61, 20, 20), (50, 100, 20), (10, 10, 200)])
def test_too_few_for_the_counts_names_the_numbers(counts: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match=f"{counts[0]} train .* holds 100 in 100") as caught:
        split_documents(documents(100, 1), counts_config(*counts))
    assert caught.value.remedy is not None
    assert "corpus.split=auto" in caught.value.remedy


def test_order_of_the_source_does_not_matter() -> None:
    source = documents(40, 5) + documents(3, 2, "h")
    shuffled = list(source)
    random.Random(1).shuffle(shuffled)
    for config in (counts_config(10, 20, 20), AUTO):
        one, other = split_documents(source, config), split_documents(shuffled, config)
        assert [ids(one.train), ids(one.validation), ids(one.test)] == [
            ids(other.train),
            ids(other.validation),
            ids(other.test),
        ]


def test_seed_matters() -> None:
    one = split_documents(documents(40, 5), counts_config(10, 20, 20, seed=1))
    other = split_documents(documents(40, 5), counts_config(10, 20, 20, seed=2))
    assert ids(one.train) != ids(other.train)


def test_a_one_shot_iterator_is_enough() -> None:
    def once() -> Iterator[Document]:
        yield from documents(40, 5)

    config = counts_config(10, 20, 20)
    assert ids(split_documents(once(), config).train) == ids(split_documents(documents(40, 5), config).train)


@pytest.mark.parametrize("num_documents", [30, 31, 50, 101, 1000])
def test_auto_gives_a_fifth_each_and_halves_the_rest(num_documents: int) -> None:
    corpus = split_documents(documents(num_documents, 1), AUTO)
    held_out = max(8, num_documents // 5)
    rest = num_documents - 2 * held_out
    assert (len(corpus.validation), len(corpus.test)) == (held_out, held_out)
    assert (corpus.num_train_1x, corpus.max_multiple, len(corpus.train)) == (rest // 2, 2, rest // 2 * 2)
    assert corpus.report["unit"] == "source record"


def test_auto_keeps_pieces_of_one_record_together() -> None:
    corpus = split_documents(documents(25, 10), AUTO)
    assert_apart(corpus)
    assert len(corpus.validation) == len(corpus.test) == 50


@pytest.mark.parametrize("num_documents", [0, 1, 29])
def test_auto_refuses_fewer_than_thirty(num_documents: int) -> None:
    source = documents(num_documents, 1)
    expected = "no documents" if not source else f"{30 - num_documents} are missing"
    with pytest.raises(InputError, match=expected):
        split_documents(source, AUTO)


@pytest.mark.parametrize("num_pieces", [30, 50, 55, 333])
def test_auto_cuts_one_long_text_into_contiguous_blocks_and_says_so(num_pieces: int) -> None:
    corpus = split_documents(documents(1, num_pieces), AUTO)
    assert min(len(corpus.validation), len(corpus.test)) >= max(8, num_pieces // 5)
    assert len(corpus.train) >= num_pieces // 3
    assert "same author" in corpus.report["warning"]
    blocks = corpus.report["blocks"]
    assert [block["first_piece"] for block in blocks] == [0, *(block["end_piece"] for block in blocks[:-1])]
    assert blocks[-1]["end_piece"] == num_pieces
    sides = {piece: block["side"] for block in blocks for piece in range(block["first_piece"], block["end_piece"])}
    for side in ("train", "validation", "test"):
        assert {document.meta["piece"] for document in getattr(corpus, side)} <= {
            piece for piece, name in sides.items() if name == side
        }
    assert_apart(corpus)


def test_duplicates_are_dropped_the_first_by_id_stays_and_all_are_counted() -> None:
    source = documents(40, 1)
    source += [Document("zz", source[0].text), Document("g1#0", "other text"), source[2]]
    corpus = split_documents(source, AUTO)
    assert corpus.report["duplicates"] == {"same_id": 1, "same_id_and_text": 1, "same_text": 1}
    assert corpus.report["num_distinct_documents"] == 40
    everything = ids(corpus.train + corpus.validation + corpus.test)
    assert "zz" not in everything
    assert len(set(everything)) == len(everything) == 40 - corpus.report["not_used"]


def test_probe_documents_are_of_other_records_and_leave_the_other_splits_alone() -> None:
    documents = [
        Document(f"r{record}#{piece}", f"text {record} {piece}", {"group": f"r{record}", "piece": piece})
        for record in range(120)
        for piece in range(2)
    ]
    counts = {"train": 20, "validation": 10, "test": 10, "max_multiple": 2}
    config = CorpusConfig.model_validate({"source": "x", "split": counts})
    probed = CorpusConfig.model_validate({"source": "x", "split": {**counts, "probe": 12}})
    before, after = split_documents(documents, config), split_documents(documents, probed)
    assert (before.train, before.validation, before.test) == (after.train, after.validation, after.test)
    assert not before.probe
    assert len(after.probe) == after.report["num_probe"] == 12
    groups = {
        name: {doc.meta["group"] for doc in getattr(after, name)} for name in ("train", "validation", "test", "probe")
    }
    assert all(not groups["probe"] & groups[name] for name in ("train", "validation", "test"))


def test_more_probe_documents_than_are_left_is_one_message() -> None:
    documents = [Document(f"d{n}", f"text {n}", {"group": f"d{n}"}) for n in range(100)]
    counts = {"train": 20, "validation": 10, "test": 10, "max_multiple": 1, "probe": 90}
    config = CorpusConfig.model_validate({"source": "x", "split": counts})
    with pytest.raises(InputError, match="90 probe documents asked for") as caught:
        split_documents(documents, config)
    assert "corpus.split.probe" in str(caught.value)


def long_texts(num: int) -> list[Document]:
    """Texts of their own, and for each of the first ten an edition with one word changed."""
    words = [[f"{number}w{place}" for place in range(60)] for number in range(num)]
    made = [Document(f"d{number:03d}", " ".join(text)) for number, text in enumerate(words)]
    return made + [Document(f"e{number:03d}", " ".join(["edition", *text])) for number, text in enumerate(words[:10])]


def sides(corpus: SplitCorpus) -> dict[str, str]:
    return {document.id: name for name in ("train", "validation", "test") for document in getattr(corpus, name)}


@pytest.mark.parametrize("split", ["auto", SplitCounts(train=20, validation=10, test=10, max_multiple=2)])
def test_near_duplicates_are_kept_on_one_side_where_that_is_asked(split: str | SplitCounts) -> None:
    texts = long_texts(60)
    found = split_documents(texts, CorpusConfig(source="unused", split=split, near_duplicates="together"))
    where, pairs = sides(found), [(f"d{number:03d}", f"e{number:03d}") for number in range(10)]
    assert all(where[first] == where[second] for first, second in pairs if first in where and second in where)
    assert [tuple(pair["documents"]) for pair in found.report["near_duplicates"]] == pairs
    assert all(pair["share"] > 0.9 for pair in found.report["near_duplicates"])
    apart = split_documents(texts, CorpusConfig(source="unused", split=split))
    where = sides(apart)
    assert any(where[first] != where[second] for first, second in pairs if first in where and second in where)
    assert "near_duplicates" not in apart.report


def test_a_corpus_without_near_duplicates_is_split_as_ever() -> None:
    texts = documents(40, 5)
    apart, together = (
        split_documents(texts, CorpusConfig(source="unused", near_duplicates=way)) for way in ("apart", "together")
    )
    assert sides(apart) == sides(together)
