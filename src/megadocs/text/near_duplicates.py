"""Near-duplicate documents: pairs of which the shorter one's passages mostly stand in the other.

    near_duplicate_pairs([np.unique(ngram_hashes(text)) for text in texts])      # [(0, 7, 0.93)]

Two editions of one text on two sides of a split make the held-out loss a test of memory. A pair is found where at least
half of the shorter document's distinct 13-grams stand in the other. N-grams that more than `MAX_HOLDERS` documents hold
(licence headers, navigation) are no sign of a pair and would make their number quadratic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Uint64Array = npt.NDArray[np.uint64]

#: Share of the shorter document's distinct n-grams from which two documents count as near-duplicates.
SHARE = 0.5
#: Distinct n-grams below which a document is too short to be judged.
MIN_NGRAMS = 5
MAX_HOLDERS = 50


def near_duplicate_pairs(hashes: Sequence[Uint64Array]) -> list[tuple[int, int, float]]:
    """Pairs (i, j, share of the shorter one's n-grams), i < j, in order.

    Args:
        hashes: the distinct n-grams of each document.
    """
    if not hashes:
        return []
    every = np.concatenate(hashes)
    owners = np.repeat(np.arange(len(hashes)), [len(own) for own in hashes])
    order = np.argsort(every, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(every[order]) != 0, [True]]))
    shared: Counter[tuple[int, int]] = Counter()
    for place in np.flatnonzero(np.diff(starts) > 1):
        holders = owners[order[starts[place] : starts[place + 1]]]
        if len(holders) <= MAX_HOLDERS:
            shared.update(combinations(holders.tolist(), 2))
    found = []
    for (first, second), count in sorted(shared.items()):
        shorter = min(len(hashes[first]), len(hashes[second]))
        if shorter >= MIN_NGRAMS and count >= SHARE * shorter:
            found.append((first, second, count / shorter))
    return found
