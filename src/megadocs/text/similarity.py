"""Documents in an order where neighbours resemble each other (in-context pretraining, arXiv:2310.10638).

TF-IDF vectors, k nearest neighbours, and a greedy path over the neighbour graph that uses each document once. The
result is a rank per document, a column that an ordering of real rows sorts by.

    ranks = similarity_ranks(document_ids, texts)

Depends on the set of (id, text) pairs only, not on their order. Time is linear in the number of documents: a vector
keeps its 48 heaviest words, and words in more than 400 documents are left out, so that no document meets more than
48 * 400 others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megadocs.text.words import word_hashes

Int64Array = npt.NDArray[np.int64]

MAX_WORDS = 48
MAX_DOCUMENTS_PER_WORD = 400
NUM_NEIGHBORS = 20
_BLOCK_DOCUMENTS = 2048
_NO_DOCUMENT = -1  # filler in the neighbour table, as in scipy's and faiss's


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The k nearest neighbours of D documents."""

    index: Int64Array  # int64 (D, k), nearest first; -1 where a document has fewer than k
    similarity: npt.NDArray[np.float32]  # float32 (D, k), cosine; 0 at fillers


def similarity_ranks(
    document_ids: Sequence[str], texts: Sequence[str], num_neighbors: int = NUM_NEIGHBORS
) -> Int64Array:
    """The rank of each document on a path along similar documents; int64 (D,), a permutation of range(D)."""
    order = np.array(sorted(range(len(document_ids)), key=lambda index: document_ids[index]), dtype=np.int64)
    vectors = tfidf_vectors([texts[index] for index in order])
    path = greedy_path(nearest_neighbors(vectors, num_neighbors))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order[path]] = np.arange(len(order))
    return ranks


def tfidf_vectors(texts: Sequence[str]) -> Any:
    """Unit TF-IDF vectors as a CSR matrix (D, words); sublinear counts, smoothed idf, `MAX_WORDS` words each."""
    from scipy import sparse

    rows, words, counts = [], [], []
    for index, text in enumerate(texts):
        distinct, count = np.unique(word_hashes(text), return_counts=True)
        rows.append(np.full(len(distinct), index, dtype=np.int64))
        words.append(distinct)
        counts.append(count)
    if not rows:
        return sparse.csr_matrix((0, 0), dtype=np.float32)
    row = np.concatenate(rows)
    _, column, frequency = np.unique(np.concatenate(words), return_inverse=True, return_counts=True)
    useful = (frequency[column] > 1) & (frequency[column] <= MAX_DOCUMENTS_PER_WORD)
    row, column = row[useful], column[useful]
    inverse_frequency = 1 + np.log((1 + len(texts)) / (1 + frequency[column]))
    weight = (1 + np.log(np.concatenate(counts)[useful])) * inverse_frequency
    row, column, weight = _heaviest(row, column, weight)
    norm = np.sqrt(np.bincount(row, weight**2, minlength=len(texts)))
    data = (weight / norm[row]).astype(np.float32)
    return sparse.csr_matrix((data, (row, column)), shape=(len(texts), len(frequency)))


def _heaviest(row: Int64Array, column: Int64Array, weight: npt.NDArray[np.float64]) -> tuple[Any, Any, Any]:
    order = np.lexsort((column, -weight, row))
    row, column, weight = row[order], column[order], weight[order]
    first = np.searchsorted(row, row, side="left")
    kept = np.arange(len(row)) - first < MAX_WORDS
    return row[kept], column[kept], weight[kept]


def nearest_neighbors(vectors: Any, num_neighbors: int = NUM_NEIGHBORS) -> Neighbors:
    """The nearest neighbours by cosine of unit vectors: a sparse matrix, or a dense array (D, width) of embeddings.

    Works in blocks of documents; ties go to the lower index.
    """
    num_documents = vectors.shape[0]
    index = np.full((num_documents, num_neighbors), _NO_DOCUMENT, dtype=np.int64)
    similarity = np.zeros((num_documents, num_neighbors), dtype=np.float32)
    transposed = vectors.T.tocsr() if hasattr(vectors, "tocsr") else vectors.T
    for start in range(0, num_documents, _BLOCK_DOCUMENTS):
        block = vectors[start : start + _BLOCK_DOCUMENTS] @ transposed
        for offset in range(block.shape[0]):
            others, values = _row_of(block, offset)
            keep = (others != start + offset) & (values > 0)
            others, values = others[keep], values[keep]
            if len(values) > num_neighbors:  # cut down before sorting; everything equal to the last one stays
                bound = np.partition(values, -num_neighbors)[-num_neighbors]
                others, values = others[values >= bound], values[values >= bound]
            best = np.lexsort((others, -values))[:num_neighbors]
            index[start + offset, : len(best)] = others[best]
            similarity[start + offset, : len(best)] = values[best]
    return Neighbors(index, similarity)


def _row_of(block: Any, offset: int) -> tuple[Any, Any]:
    if isinstance(block, np.ndarray):
        return np.arange(block.shape[1]), block[offset]
    first, last = block.indptr[offset], block.indptr[offset + 1]
    return block.indices[first:last], block.data[first:last]


def greedy_path(neighbors: Neighbors) -> Int64Array:
    """A path through all documents: from each to its most similar unused neighbour; int64 (D,), a permutation.

    An edge counts in both directions. A path starts, and starts again where it is stuck, at the unused document of
    fewest neighbours: those would otherwise be left over and end far from everything like them.
    """
    num_documents = len(neighbors.index)
    edges = _edges(neighbors)
    starts = np.argsort([len(targets) for targets in edges], kind="stable").tolist()
    used = bytearray(num_documents)
    path: list[int] = []
    for start in starts:
        current: int | None = None if used[start] else start
        while current is not None:
            used[current] = 1
            path.append(current)
            current = next((target for target in edges[current] if not used[target]), None)
    return np.array(path, dtype=np.int64)


def _edges(neighbors: Neighbors) -> list[list[int]]:
    """For each document its neighbours in either direction, the most similar first, ties to the lower index."""
    num_documents, num_neighbors = neighbors.index.shape
    source = np.repeat(np.arange(num_documents), num_neighbors)
    target, value = neighbors.index.ravel(), neighbors.similarity.ravel()
    real = target != _NO_DOCUMENT
    source, target, value = source[real], target[real], value[real]
    both = np.concatenate([source, target]), np.concatenate([target, source]), np.concatenate([value, value])
    order = np.lexsort((both[1], -both[2], both[0]))
    ends = np.cumsum(np.bincount(both[0], minlength=num_documents))
    return [part.tolist() for part in np.split(both[1][order], ends[:-1])] if num_documents else []
