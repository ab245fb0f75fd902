"""Which script and which language a text is in, roughly: enough to notice a corpus that comes back in another one.

The script is that of most letters. The language is guessed from function words, among those listed here; a text that
favours none clearly has none. No model, no download; meant for shares over many texts, not for single verdicts.
"""

from __future__ import annotations

import collections
import unicodedata
from functools import lru_cache

from megadocs.text.words import words

_FUNCTION_WORDS = {
    "Danish": "og det er en til på af for ikke med der den jeg som har",
    "Dutch": "de het een en van is dat op te zijn niet met voor die er",
    "English": "the and of to in is that it was for with as on by this",
    "Finnish": "ja on ei se että oli ovat myös mutta kun joka tai niin kuin hän",
    "French": "le la les des et est une que dans pour qui pas du sur au",
    "German": "der die und das ist nicht ein zu den mit von auf für dem sich",
    "Italian": "il di che è la per un non sono con una del della gli nel",
    "Polish": "i w na się nie z do jest to że jak ale po o przez",
    "Portuguese": "o de que e do da em um para com não uma os no se",
    "Spanish": "el de que y en los se del las un por con una para es",
    "Swedish": "och att det är en som på för av inte med den till ett har",
    "Turkish": "ve bir bu da de için ile çok daha olarak ne gibi ama kadar olan",
}
_WORD_SETS = {language: frozenset(listed.split()) for language, listed in _FUNCTION_WORDS.items()}
_MIN_WORDS = 12
_MIN_SHARE = 0.12
_MARGIN = 1.3
_SAMPLE_CHARACTERS = 4000


def guess_script(text: str) -> str | None:
    """The script of most letters (`LATIN`, `CYRILLIC`, `CJK`, ...); None for a text without letters."""
    letters = [character for character in text[:_SAMPLE_CHARACTERS] if character.isalpha()]
    scripts = collections.Counter(map(_script, letters))
    return scripts.most_common(1)[0][0] if scripts else None


def guess_language(text: str) -> str | None:
    """The language whose function words are most frequent, when that is clear; None otherwise."""
    found = [word for word in words(text[:_SAMPLE_CHARACTERS]) if word.isalpha()]
    if len(found) < _MIN_WORDS:
        return None
    scores = sorted((sum(word in known for word in found), language) for language, known in _WORD_SETS.items())
    (second, _), (best, language) = scores[-2:]
    return language if best >= _MIN_SHARE * len(found) and best >= _MARGIN * second else None


def changed_language(source: str, text: str) -> bool:
    """Whether a text is clearly in another script or language than its source."""
    scripts = guess_script(source), guess_script(text)
    if None not in scripts and scripts[0] != scripts[1]:
        return True
    languages = guess_language(source), guess_language(text)
    return None not in languages and languages[0] != languages[1]


@lru_cache(maxsize=8192)
def _script(character: str) -> str:
    """First word of the character's Unicode name; kana and ideographs are one script."""
    name = unicodedata.name(character, "OTHER").split()[0]
    return "CJK" if name in ("HIRAGANA", "KATAKANA", "CJK") else name
