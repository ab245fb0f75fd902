"""The control without meaning: rephrases and thoughts whose words are shuffled. Made of generations that are there.

A word moves with the white space before it, the first word stays where it is: so a tokenizer that never joins a word to
the one before it (byte-level BPE with the usual pattern) finds exactly the same tokens, in another order. Chinese and
Japanese characters are words of their own. Which order: by hash of the text, so that it is the same on every machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from megadocs.kinds.built_in.rephrase import text_of
from megadocs.kinds.built_in.thought import stretch
from megadocs.kinds.ordering import Contrast, OrderingSpec
from megadocs.kinds.orders import simple
from megadocs.kinds.registry import Kind
from megadocs.kinds.row import RowKind, Tags, Written
from megadocs.kinds.sorting import hash_order
from megadocs.seeding import derive_seed, text_digest

_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"\s*(?:[{_ALONE}]|[^\s{_ALONE}]+)")


def shuffle_words(text: str) -> str:
    """The text with all its words but the first in the order of a hash of it; white space at its end stays there."""
    words = _WORD.findall(text)
    end = text[sum(map(len, words)) :]
    order = hash_order(derive_seed(0, "shuffled_words", text_digest(text)), max(0, len(words) - 1))
    return "".join([*words[:1], *(words[1 + place] for place in order.tolist()), end])


def shuffled_text(document: str, written: Sequence[Written], tags: Tags) -> str:
    """The generation, its words shuffled."""
    return shuffle_words(text_of(document, written, tags))


def shuffled_thoughts(document: str, written: Sequence[Written], tags: Tags) -> str:
    """The stretched document, the words of each thought shuffled; the document itself stays as it is."""
    return stretch(document, [Written(cut, shuffle_words(text)) for cut, text in written], tags)


_QUESTION = "what the text says"
_REPHRASES = "rephrases whose words are in random order"
_THOUGHTS = "thoughts whose words are in random order"

KIND = Kind(
    rows=(
        RowKind("shuffled_rephrase", 7, shuffled_text, task="rephrase", forms=("stitched", "rephrase")),
        RowKind(
            "shuffled_thoughts",
            8,
            shuffled_thoughts,
            task="thought",
            is_stretched=True,
            holds_document=True,
            forms=("latent_thoughts",),
        ),
    ),
    orderings=(
        OrderingSpec(
            "shuffled_words",
            simple,
            ("shuffled_rephrase",),
            adds_real=True,
            role="control",
            null_text=_REPHRASES,
            contrast=Contrast("simple", _REPHRASES, _QUESTION),
        ),
        OrderingSpec(
            "shuffled_thoughts",
            simple,
            ("shuffled_thoughts",),
            role="control",
            null_text=_THOUGHTS,
            contrast=Contrast("latent_thoughts", _THOUGHTS, _QUESTION),
        ),
    ),
)
