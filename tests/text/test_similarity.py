"""Similarity order: a permutation, deterministic, independent of input order, and it keeps topics together."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from megadocs.text.similarity import (
    MAX_WORDS,
    Neighbors,
    greedy_path,
    nearest_neighbors,
    similarity_ranks,
    tfidf_vectors,
)


def topical_documents(num_topics: int, per_topic: int) -> tuple[list[str], list[str], list[int]]:
    chooser = random.Random(0)
    ids, texts, topics = [], [], []
    for index in range(num_topics * per_topic):
        topic = index % num_topics
        words = [f"t{topic}w{chooser.randrange(20)}" for _ in range(15)]
        words += [f"common{chooser.randrange(300)}" for _ in range(10)]
        ids.append(f"d{index}")
        texts.append(" ".join(words))
        topics.append(topic)
    return ids, texts, topics


def test_ranks_are_a_permutation_that_keeps_topics_together() -> None:
    ids, texts, topics = topical_documents(10, 12)
    ranks = similarity_ranks(ids, texts)
    assert sorted(ranks.tolist()) == list(range(120))
    along = [topics[index] for index in np.argsort(ranks)]
    assert sum(one == other for one, other in itertools.pairwise(along)) >= 100  # of 119; by chance: 11


def test_ranks_do_not_depend_on_the_order_of_the_input() -> None:
    ids, texts, _ = topical_documents(5, 8)
    ranks = dict(zip(ids, similarity_ranks(ids, texts).tolist(), strict=True))
    order = list(range(len(ids)))
    random.Random(3).shuffle(order)
    shuffled_ids = [ids[index] for index in order]
    shuffled = similarity_ranks(shuffled_ids, [texts[index] for index in order])
    assert dict(zip(shuffled_ids, shuffled.tolist(), strict=True)) == ranks


def test_neighbours_equal_brute_force() -> None:
    _, texts, _ = topical_documents(6, 10)
    vectors = tfidf_vectors(texts)
    dense = vectors.toarray()
    assert np.allclose(np.linalg.norm(dense, axis=1), 1)
    assert (vectors.getnnz(axis=1) <= MAX_WORDS).all()
    cosine = dense @ dense.T
    np.fill_diagonal(cosine, -1)
    expected = -np.sort(-cosine, axis=1)[:, :5]
    for found in (nearest_neighbors(vectors, 5), nearest_neighbors(dense, 5)):
        assert np.allclose(found.similarity, np.maximum(expected, 0), atol=1e-6)


def test_weights_by_hand() -> None:
    # "a" is in two of three texts, twice in the first; every other word is in one text only and left out.
    dense = tfidf_vectors(["a a b", "a c", "d"]).toarray()
    assert dense.sum(axis=1).tolist() == [1.0, 1.0, 0.0]


def test_path_by_hand() -> None:
    # 0 - 1 (.9), 1 - 2 (.8), 0 - 2 (.7), 3 alone: starts at 3 (fewest neighbours), then at 0, nearest first.
    neighbors = Neighbors(
        np.array([[1, 2], [0, 2], [1, -1], [-1, -1]]),
        np.array([[0.9, 0.7], [0.9, 0.8], [0.8, 0.0], [0.0, 0.0]], dtype=np.float32),
    )
    path = greedy_path(neighbors).tolist()
    assert path[0] == 3
    assert path[1:] in ([0, 1, 2], [2, 1, 0])


@pytest.mark.parametrize("texts", [[], ["one"], ["", ""], ["same text", "same text"]])
def test_degenerate_inputs(texts: list[str]) -> None:
    ids = [str(index) for index in range(len(texts))]
    assert sorted(similarity_ranks(ids, texts).tolist()) == list(range(len(texts)))
