"""Ids of a text by way of its words: every word is tokenised once, and a text is a look-up of its words.

    words = build_word_ids(spec, encode)            # None: the words of this tokenizer cannot be cut here exactly
    if words is not None and words.knows(text): ids = words.encode([text])[0]

A byte-level BPE cuts a text into words by a regular expression and works on each alone, so that the ids of a text are
those of its words in a row: English rows were made at 0.32 us a token where `encode_batch_fast` takes 1.29 (one busy
core, the least of three rounds). The same ids, to the last (tests/text/test_word_ids.py): a text is taken only where it
is made of characters whose class no version of Unicode has changed, all others are left to the library. It is Python's
`re` that cuts, on one core, where the library would use all of them: `WORTH_CORES`.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from megadocs.text.byte_level import word_pattern
from megadocs.text.plain_text import TokenizerJson, is_text

#: With more cores than this the library, which spreads a batch over all of them, is faster by the clock.
WORTH_CORES = 6
#: Characters of all words remembered: some 280,000 words, 45 MB.
_MAX_CHARACTERS = 2_000_000


def _class_of(codes: Sequence[int]) -> str:
    """The inside of a character class that holds these code points."""
    return "".join(f"\\u{code:04x}" for code in codes)


#: Latin without the long s (which is an s where case is ignored), dashes, quotation marks, the euro.
_CODES = [code for code in (*range(0x250), *range(0x2010, 0x2028), *range(0x2030, 0x203F), 0x20AC) if code != 0x17F]
_LETTERS = _class_of([code for code in _CODES if unicodedata.category(chr(code))[0] == "L"])
_NUMBERS = _class_of([code for code in _CODES if unicodedata.category(chr(code))[0] == "N"])
_SPACES = _class_of([*range(0x09, 0x0E), 0x20, 0x85, 0xA0])  # White_Space; Python's \s has four more
_UNKNOWN = re.compile(f"[^{_class_of(_CODES)}]")
_IN_CLASS = {r"\p{L}": _LETTERS, r"\p{N}": _NUMBERS, r"\s": _SPACES}
_OUTSIDE = {name: f"[{inside}]" for name, inside in _IN_CLASS.items()} | {r"\S": f"[^{_SPACES}]"}
_PART = re.compile(r"\\p\{\w\}|\\.|.")


class WordIds:
    """The ids of the words met so far.

    Args:
        pattern: cuts a text of known characters into all of its words.
        encode: texts -> encodings of the library.
    """

    def __init__(self, pattern: re.Pattern[str], encode: Callable[[list[str]], list[Any]]) -> None:
        self._cut = pattern.findall
        self._encode = encode
        self._ids: dict[str, bytes] = {}
        self._num_characters = 0

    def knows(self, text: str) -> bool:
        """Whether the text is made of characters that are known here."""
        return text.isascii() or _UNKNOWN.search(text) is None

    def encode(self, texts: Sequence[str]) -> list[bytes]:
        """Ids of each text as native uint32."""
        cut = [self._cut(text) for text in texts]
        ids = self._ids  # this table to the end, whatever other threads begin anew
        new = set().union(*cut) - ids.keys()
        self._num_characters += sum(map(len, new))
        if self._num_characters > _MAX_CHARACTERS:
            ids, self._num_characters, new = {}, 0, set().union(*cut)
            self._ids = ids
        words = list(new)
        encodings = self._encode(words)
        ids.update((word, array("I", encoding.ids).tobytes()) for word, encoding in zip(words, encodings, strict=True))
        return [b"".join(map(ids.__getitem__, words)) for words in cut]


def build_word_ids(spec: TokenizerJson, encode: Callable[[list[str]], list[Any]]) -> WordIds | None:
    """For a byte-level BPE without a normaliser that cuts words by one of the patterns of `byte_level.py`."""
    model, normalizer = spec["model"], spec.get("normalizer") or {}
    is_alone = model.get("type") == "BPE" and not model.get("dropout")
    is_exact = not normalizer or normalizer.get("normalizers") == []
    if not is_alone or not is_exact or any(is_text(token) for token in spec.get("added_tokens") or []):
        return None
    pattern = word_pattern(spec.get("pre_tokenizer") or {})
    return None if pattern is None else WordIds(_compiled(pattern), encode)


def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern for `re`, its classes written out over the known characters."""
    parts, in_class = [], False
    for part in _PART.findall(pattern):
        in_class = part == "[" or (in_class and part != "]")
        parts.append((_IN_CLASS if in_class else _OUTSIDE).get(part, part))
    return re.compile("".join(parts))
