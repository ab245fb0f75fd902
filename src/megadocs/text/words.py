"""The words of a text, as strings or as 64-bit hashes: one segmentation for gates, audit, near copies and similarity.

Normalised: Unicode NFKC, case folded, everything but letters and digits is a gap; each Chinese, Japanese or Korean
character is a word of its own; in Thai, Lao, Khmer and Burmese, which write no spaces either, the marks above and below
the letters part it into pieces of a syllable or two. Hashes are the same on every machine and in every process.
"""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import numpy.typing as npt

from megadocs.seeding import mix_array

Uint64Array = npt.NDArray[np.uint64]

_GAP = re.compile(r"[\W_]+")
_SINGLE_CHARACTER_WORD = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3])")
_BASE = 0x100000001B3
_SPACE = 0x20
_LONGEST_WORD_BYTES = 1 << 12


def _powers() -> Uint64Array:
    powers = np.ones(_LONGEST_WORD_BYTES, dtype=np.uint64)
    powers[1:] = _BASE
    return np.multiply.accumulate(powers)


_POWERS = _powers()


#: ASCII letters to lower case, digits as they are, all else to a space (the fast way for plain English).
_ASCII_TABLE = bytes(ord(chr(byte).lower()) if chr(byte).isalnum() and byte < 128 else _SPACE for byte in range(256))


def normalized_bytes(text: str) -> bytes:
    """The words of `text`, normalised, in UTF-8, with spaces between them."""
    if text.isascii():
        return text.encode("ascii").translate(_ASCII_TABLE)
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _GAP.sub(" ", _SINGLE_CHARACTER_WORD.sub(r" \1 ", folded)).encode("utf-8")


def words(text: str) -> list[str]:
    """The words of `text`, normalised, in order."""
    return normalized_bytes(text).decode("utf-8").split()


def word_hashes(text: str) -> Uint64Array:
    """One uint64 per word of `text`, in order, shape (W,). Bytes of a word past the 4096th do not count."""
    data = np.frombuffer(normalized_bytes(text), dtype=np.uint8)
    in_word = np.zeros(len(data) + 2, dtype=np.bool_)
    np.not_equal(data, _SPACE, out=in_word[1:-1])
    edges = np.flatnonzero(in_word[1:] != in_word[:-1])
    starts, ends = edges[0::2], edges[1::2]
    if not len(starts):
        return np.empty(0, dtype=np.uint64)
    letters = data[in_word[1:-1]].astype(np.uint64)
    lengths = ends - starts
    first = np.cumsum(lengths) - lengths  # where each word begins among the letters
    position = np.arange(len(letters)) - np.repeat(first, lengths)
    if lengths.max() > _LONGEST_WORD_BYTES:
        letters[position >= _LONGEST_WORD_BYTES] = 0
        np.minimum(position, _LONGEST_WORD_BYTES - 1, out=position)
    letters *= _POWERS[position]
    return mix_array(np.add.reduceat(letters, first))
