"""What the answer says of near-duplicate documents: kept on one side of the split, or standing on two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.analysis.sentences import joined

_MAX_NAMED = 3


def near_duplicate_sentences(results: Mapping[str, Any]) -> list[str]:
    """Sentences on near-duplicates; none where there are none.

    Args:
        results: of the analysis, with `near_duplicates` {`across`: pairs on two sides of the split, `together`: pairs
            that count as one source}; a pair is {`documents`: two names, `share`: of the shorter one's 13-grams}.
    """
    found = results.get("near_duplicates") or {"across": [], "together": []}
    across, together = found["across"], found["together"]
    sentences = []
    if across:
        sentences.append(
            f"{_count(across, 'pair')} of near-duplicate documents {_are(across)} on both sides of the split "
            f"({_named(across)}): the losses of these held-out documents measure memory; put such pairs on one side "
            "with corpus.near_duplicates=together, or leave one of each out."
        )
    if together:
        sentences.append(
            f"{_count(together, 'pair')} of near-duplicate documents {_are(together)} kept on one side of the split, "
            f"as pieces of one source ({_named(together)})."
        )
    return sentences


def _count(pairs: Sequence[Any], noun: str) -> str:
    return f"{len(pairs)} {noun}{'' if len(pairs) == 1 else 's'}"


def _are(pairs: Sequence[Any]) -> str:
    return "is" if len(pairs) == 1 else "are"


def _named(pairs: Sequence[Mapping[str, Any]]) -> str:
    parts = [f"{' and '.join(pair['documents'])} share {100 * pair['share']:.0f} %" for pair in pairs[:_MAX_NAMED]]
    return joined(parts + ([f"{len(pairs) - _MAX_NAMED} more"] if len(pairs) > _MAX_NAMED else []))
