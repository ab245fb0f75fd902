"""How many tokens a text has for a tokenizer that is not here: by the scripts of its characters.

English has about 4.5 characters a token under a large vocabulary. Ideographs, kana, Hangul and the scripts of
South-East Asia have about one token a character (measured with SmolLM2's English vocabulary: Chinese 2.0, Japanese 1.9,
Korean 2.1, Thai 1.9; about half of that with multilingual ones), other alphabets about one in two (German 0.4, Russian
0.8, Arabic 0.9, Hindi 1.2 with the same English vocabulary). Good to a factor of two either way, where a fixed 4.5
was wrong by up to nine.
"""

from __future__ import annotations

import numpy as np

CHARACTERS_PER_TOKEN = 4.5
_TOKENS_PER_CHARACTER = 0.5
#: Thai; behind it Lao, Tibetan, Burmese, Khmer, Hangul, kana and the ideographs (and punctuation such as dashes).
_FIRST_OF_ONE_TOKEN = 0x0E00
_FIRST_NOT_ASCII = 0x80


def estimate_tokens(text: str) -> float:
    """Tokens of a text, roughly; linear in its length, so that sums over parts are the sum over the whole."""
    if text.isascii():
        return len(text) / CHARACTERS_PER_TOKEN
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    num_ascii = int(np.count_nonzero(points < _FIRST_NOT_ASCII))
    num_dense = int(np.count_nonzero(points >= _FIRST_OF_ONE_TOKEN))
    num_other = len(points) - num_ascii - num_dense
    return num_ascii / CHARACTERS_PER_TOKEN + num_other * _TOKENS_PER_CHARACTER + num_dense
