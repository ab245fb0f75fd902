"""The words of the controlled world: syllables, attributes, sentence forms, the fixed table of derived facts.

A text is words and single spaces. Names are made of capitalised syllables ("Ba Do Ki"), which no other word looks
like, so every text can be read back (`reading`). Every sentence of a document has the same number of words: the lead
(`LEAD_WORDS`), the attribute, the value, a full stop. Which attribute it is about is settled before the value begins;
therefore the probability of a value is 1 / syllables ** name_length or, once told, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from megadocs.seeding import mix

#: All syllables, in the order in which smaller worlds take them.
SYLLABLES: Sequence[str] = tuple(f"{consonant}{vowel}" for vowel in "aeiou" for consonant in "BDFGKLMNPRSTVZ")

#: What a document can tell of. The word stands right before the value, in documents, rephrases and thoughts alike.
ATTRIBUTES: Sequence[str] = ("home", "teacher", "trade", "patron", "rival", "harbour", "ship", "dish")
#: How a document's sentence begins; any of them goes with any attribute.
DOCUMENT_LEADS: Sequence[str] = ("the", "his", "one", "that")
#: How a rephrase's clause begins, and how it ends.
REPHRASE_LEADS: Sequence[str] = ("with", "whose")
LEAD_WORDS = 1

#: How a sentence on a derived fact begins, by the number of hops that lead to it.
HOP_LEADS: Sequence[str] = ("so", "hence", "thus")

#: Words of the opening of a document ("record of NAME .") and of its second part ("now about NAME ."), beside the name.
OPENING, SECOND_OPENING = ("record of", "now about")

_TABLE_SEED = 0x6D65676164


def table_entry(first: int, second: int, syllables: int) -> int:
    """One hop: the syllable that follows from two syllables (indices below `syllables`). Fixed for all worlds.

    A Latin square (row `first` is a permutation), so that a derived syllable is as uniform as what it comes from.
    """
    ranks = _ranks(syllables)
    return ranks[(ranks[first] + second) % syllables]


@cache
def _ranks(syllables: int) -> Sequence[int]:
    """A permutation of the syllables that a table is made with."""
    return sorted(range(syllables), key=lambda other: mix(_TABLE_SEED ^ mix(syllables * 4096 + other)))
