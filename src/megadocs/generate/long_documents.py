"""Documents over the engine's context, found before sending: split at paragraphs, cut or left out, by policy."""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from megadocs.text.characters import cut_position

#: Tokens per UTF-8 byte assumed where the generator's tokenizer is not known: on the safe side for most text.
_ASSUMED_TOKENS_PER_BYTE = 0.4
#: Of a first guess at how much text holds the budget, and how many tokens beyond it are read.
_CHARACTERS_PER_TOKEN = 8
_TOKENS_BEYOND = 64
_PARAGRAPH_END = re.compile(r"\n\s*\n")


class SplitTokenizer(Protocol):
    """What planning needs of the generator's tokenizer."""

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """For each token the characters [start, end) that it stands for."""


@dataclass(frozen=True, slots=True)
class Span:
    """What of a document one prompt shows: a character range, or None for all of it; or why it shows nothing."""

    characters: tuple[int, int] | None
    skip: str | None = None
    is_truncated: bool = False


def fitting_spans(
    text: str, budget_tokens: int, policy: Literal["split", "truncate", "skip"], tokenizer: SplitTokenizer | None
) -> list[Span]:
    """The spans of a document that fit a prompt.

    Args:
        budget_tokens: tokens left for document text.
        tokenizer: the generator's; None estimates from bytes.
    """
    num_bytes = len(text.encode("utf-8", "surrogatepass"))
    if num_bytes <= budget_tokens:  # a token holds at least one byte
        return [Span(None)]
    if policy == "split":
        ends = _token_ends(text, num_bytes, tokenizer)
        if len(ends) <= budget_tokens:
            return [Span(None)]
        return [Span(characters) for characters in _paragraph_parts(text, ends, budget_tokens)]
    ends = _first_token_ends(text, num_bytes, budget_tokens, tokenizer)
    if len(ends) <= budget_tokens:
        return [Span(None)]
    end = cut_position(text, ends[budget_tokens - 1])
    if policy == "skip" or not text[:end].strip():
        return [Span(None, skip="too_long")]
    return [Span((0, end), is_truncated=True)]


def _first_token_ends(text: str, num_bytes: int, budget: int, tokenizer: SplitTokenizer | None) -> array[int]:
    """Ends of more tokens than the budget, of all where there are no more; reads only as much of the text as it takes.

    The last tokens before a cut may be others than in the whole text: so many are read beyond the budget.
    """
    length = _CHARACTERS_PER_TOKEN * (budget + _TOKENS_BEYOND)
    while tokenizer is not None and length < len(text):
        ends = _token_ends(text[:length], 0, tokenizer)
        if len(ends) >= budget + _TOKENS_BEYOND:
            return ends[: budget + 1]
        length *= 2
    return _token_ends(text, num_bytes, tokenizer)


def _token_ends(text: str, num_bytes: int, tokenizer: SplitTokenizer | None) -> array[int]:
    """Character offset after each token, or evenly spaced guesses; 8 bytes each."""
    if tokenizer is not None:
        return array("q", (end for _, end in tokenizer.offsets(text)))
    count = max(1, int(num_bytes * _ASSUMED_TOKENS_PER_BYTE))
    return array("q", ((number + 1) * len(text) // count for number in range(count)))


def _paragraph_parts(text: str, ends: array[int], budget: int) -> list[tuple[int, int]]:
    """Consecutive parts of at most `budget` tokens, cut at the last paragraph end that fits, else at a token."""
    paragraph_ends = [found.start() for found in _PARAGRAPH_END.finditer(text)]  # the gap goes to the next part
    parts: list[tuple[int, int]] = []
    start, first_token, next_paragraph = 0, 0, 0
    while first_token < len(ends):
        last_token = min(first_token + budget, len(ends))
        end = ends[last_token - 1] if last_token < len(ends) else len(text)
        if last_token < len(ends):
            best = None
            while next_paragraph < len(paragraph_ends) and paragraph_ends[next_paragraph] <= end:
                best = paragraph_ends[next_paragraph]
                next_paragraph += 1
            end = best if best is not None and best > start else cut_position(text, end, after=start)
        if not text[start:end].strip() and parts:  # white space alone is no part of its own
            parts[-1] = (parts[-1][0], end)
        elif text[start:end].strip():
            parts.append((start, end))
        start = end
        while first_token < len(ends) and ends[first_token] <= end:
            first_token += 1
    return parts
