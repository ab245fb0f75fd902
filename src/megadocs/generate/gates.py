"""Quality gates: what a reply is, before it becomes a record.

Every reply passes all gates; each leaves a flag when it fires, and its policy (`generate.gates`) says whether the text
is accepted with the flag, tried again with another seed, or rejected. Gates look at one reply and its source, and
`sibling` at the accepted texts of lower generations, so a verdict never depends on the order in which replies arrive.

| gate | fires when |
|---|---|
| empty | nothing but white space is left |
| truncated | the length limit cut the reply (kept by default, as in the paper) |
| filtered | the server's content filter stopped it |
| reasoning | a reasoning block came with it: moved to `reasoning`, never part of the text |
| preamble | an opening line such as "Here is the article:" was dropped |
| refusal | it opens like a refusal |
| echo | most of its 8-word runs stand in the source |
| repetition | it ends in a loop, or most of its 8-word runs are repeats |
| control_tokens | it holds chat-control strings: they are broken up, so that none reaches training |
| sibling | it is nearly the same as an earlier generation (`siblings`; with the policy accept only the export looks) |
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from megadocs.generate.chat_safety import find_control_strings, neutralise
from megadocs.generate.engines.protocol import Reply
from megadocs.generate.reasoning import split_reasoning
from megadocs.generate.records import clean_unicode
from megadocs.recipe import GatesConfig
from megadocs.text.words import words

Verdict = Literal["accept", "retry", "reject"]

#: Raised when the gates find other flags in the same text: stored replies are then looked at again.
FINDINGS_VERSION = 2

_RUN_WORDS = 8
_MIN_ECHO_RUNS = 8
_MAX_REPEATED_SHARE = 0.5
_LOOP_COPIES = 4
_LOOP_CHARACTERS = 60
_LOOP_ENDING = 12
_LOOP_WINDOW = 2000

_PREAMBLE = re.compile(
    r"^\s*(?:\*\*)?(?:(?:sure|certainly|of course|okay|ok|absolutely)[,.!:]*\s+)?"
    r"(?:here(?:'s|’s| is| are| follows)|below is|the following is|this is)\b[^\n:]{0,120}"
    r"\b(?:article|passage|text|version|rewrite|rewriting|summary|tutorial|table|dialogue|questions|answers|thoughts?"
    r"|explanation|paragraphs?|document|response|translation)\b[^\n:]{0,80}:(?:\*\*)?[ \t]*\n*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^\W*(?:i(?:'m| am|’m) (?:sorry|afraid|unable|not able)|sorry,|i (?:cannot|can't|can’t|won't|won’t|must decline)"
    r"|i apologi[sz]e|as an ai\b|unfortunately, i)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A reply after the gates: the text to keep, what was set apart, flags in gate order, and the strictest verdict."""

    text: str
    reasoning: str
    flags: tuple[str, ...]
    verdict: Verdict


def judge_reply(
    reply: Reply, source: str, gates: GatesConfig, is_like_sibling: Callable[[str], bool] | None = None
) -> Judgement:
    """Pass one reply through all gates.

    Args:
        source: the text its prompt showed, for the echo gate.
        is_like_sibling: tells whether a text is nearly the same as an earlier generation's; None asks nobody.
    """
    text, had_surrogates = clean_unicode(reply.text)
    flags = ["invalid_unicode"] if had_surrogates else []
    text, inside = split_reasoning(text, finished=reply.finish_reason != "length")
    reasoning = "\n".join(filter(None, (clean_unicode(reply.reasoning)[0].strip(), inside)))
    if reasoning:
        flags.append("reasoning")
    if gates.strip_preamble:
        opening = _PREAMBLE.match(text)
        if opening and text[opening.end() :].strip():
            text = text[opening.end() :]
            flags.append("preamble")
    if find_control_strings(text):
        text = neutralise(text)
        flags.append("control_tokens")
    text = text.replace("\r\n", "\n").strip()
    flags += _fired(text, reply.finish_reason, source, gates)
    if text and is_like_sibling is not None and is_like_sibling(text):
        flags.append("sibling")
    return Judgement(text, reasoning, tuple(flags), verdict_of(flags, gates))


def verdict_of(flags: Iterable[str], gates: GatesConfig) -> Verdict:
    """The strictest verdict of the policies over the flags that fired."""
    verdicts = {getattr(gates, flag) for flag in flags if flag in GatesConfig.model_fields}
    return "reject" if "reject" in verdicts else "retry" if "retry" in verdicts else "accept"


def _fired(text: str, finish_reason: str, source: str, gates: GatesConfig) -> list[str]:
    flags = []
    if finish_reason == "length":
        flags.append("truncated")
    if finish_reason == "content_filter":
        flags.append("filtered")
    if not text:
        return [*flags, "empty"]
    if _REFUSAL.match(text):
        flags.append("refusal")
    is_echo, is_repetitive = copies_and_repeats(text, source, gates.max_source_overlap)
    if is_echo:
        flags.append("echo")
    if is_repetitive or ends_in_loop(text):
        flags.append("repetition")
    return flags


def copies_and_repeats(text: str, source: str, max_source_overlap: float) -> tuple[bool, bool]:
    """Whether more than the share of the distinct 8-word runs stand in the source, and whether over half are repeats.

    Words are those of `text.words`, in every script: an ideograph is one. Every other run is looked at first: they are
    enough to acquit a text with few copies and repeats, in half the time.
    """
    found = words(text)
    num_runs = max(0, len(found) - _RUN_WORDS + 1)
    in_source = _source_runs(source)
    some = set(_runs(found, step=2))
    if (
        len(some) >= (1 - _MAX_REPEATED_SHARE) * num_runs
        and len(some - in_source) >= (1 - max_source_overlap) * num_runs
    ):
        return False, False
    distinct = set(_runs(found))
    num_copied = len(distinct & in_source)
    is_echo = len(distinct) >= _MIN_ECHO_RUNS and num_copied > max_source_overlap * len(distinct)
    return is_echo, num_runs - len(distinct) > _MAX_REPEATED_SHARE * num_runs


def _runs(found: list[str], step: int = 1) -> Iterator[tuple[str, ...]]:
    """The runs of eight consecutive words that start at every `step`-th word."""
    return zip(*(found[start::step] for start in range(_RUN_WORDS)), strict=False)


@functools.lru_cache(maxsize=256)
def _source_runs(source: str) -> frozenset[tuple[str, ...]]:
    """The distinct runs of a source; its generations are judged close together in time."""
    return frozenset(_runs(words(source)))


def ends_in_loop(text: str) -> bool:
    """Whether the text ends in at least four copies of one piece, together 60 characters or more."""
    tail = text[-_LOOP_WINDOW:]
    if len(tail) < _LOOP_CHARACTERS:
        return False
    ending = tail[-_LOOP_ENDING:]
    if tail.find(ending) == len(tail) - _LOOP_ENDING:  # stands nowhere else: most texts, and find is quicker than rfind
        return False
    found = tail.rfind(ending, 0, len(tail) - 1)
    while found >= 0:  # a loop's last characters stand one period earlier, too
        period = len(tail) - _LOOP_ENDING - found
        copies = max(_LOOP_COPIES, -(-_LOOP_CHARACTERS // period))
        if copies * period <= len(tail) and tail.endswith(tail[-period:] * copies):
            return True
        found = tail.rfind(ending, 0, found + _LOOP_ENDING - 1)
    return False
