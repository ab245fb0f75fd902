"""Reasoning that a model wrote into its text: every known format, taken out in one place.

    text, reasoning = split_reasoning("First I plan.</think>The article.")      # "The article.", "First I plan."

| format | models |
|---|---|
| `<think>`, `<thinking>`, `<thought>`, `<reasoning>`, `<seed:think>` | R1, Qwen3, QwQ, GLM, Granite, MiniMax, Seed |
| the same without the opening tag (the template wrote it into the prompt) | R1, QwQ, Qwen3-Thinking |
| `[THINK]`, `◁think▷`, `<unused94>`, `<|channel>thought` | Magistral, Kimi, MedGemma, Gemma |
| `<|begin_of_thought|>`, `<|START_THINKING|>` | OpenThinker, Sky-T1; Command A |
| `<|channel|>analysis<|message|>...<|channel|>final<|message|>` | gpt-oss |
| `analysis...assistantfinal...` | gpt-oss behind servers that drop special tokens |
| `Here is my thought process: ... Here is my response:` | Granite 3.2 |

The rule of all of them: **the answer is what follows the last mark of reasoning.** What stands before it (a word such
as "Sure." before the tag, too) is reasoning, and behind a mark that opens and never closes there is no answer: the
limit cut the model off while it thought. A tag inside backticks is quoted, not used. A page that uses such tags as
ordinary text loses what stands before them: reasoning in training text is worse than an answer to be asked for again.
"""

from __future__ import annotations

import re

_NAMES = r"(?:\w{1,16}:)?(?:longcat_)?(?:think|thinking|thoughts?|reasoning)"
_TAG = re.compile(
    rf"""(?:
      (?P<close>
          (?:<|＜|&lt;)\s*/\s*{_NAMES}\s*(?:>|＞|&gt;)
        | (?:<|＜|&lt;)\s*{_NAMES}\s*/\s*(?:>|＞|&gt;)
        | \[/THINK\] | ◁/think▷ | <unused95> | <channel\|>
        | <\|(?:end_of_thought|END_THINKING|/think|end_think|/thinking)\|>
      )
    | (?P<open>
          (?:<|＜|&lt;)\s*{_NAMES}(?:\s[^<>\n]{{0,64}})?(?:>|＞|&gt;)
        | \[THINK\] | ◁think▷ | <unused94>(?:thought\b)? | <\|channel>\s*(?:thought|analysis)\b
        | <\|(?:begin_of_thought|START_THINKING|think|begin_think|thinking)\|>
      )
    )""",
    re.IGNORECASE | re.VERBOSE,
)
#: Every tag begins with one of these; looking for them first is twenty times faster.
_FIRST_CHARACTERS = ("<", "[", "◁", "＜", "&lt;")

#: What wraps the answer where something of the same family wrapped the reasoning.
_WRAPPED_ANSWER = re.compile(
    r"\s*(?:<(?P<name>answer|response|output|final|final_answer)>|<\|(?:begin_of_solution|START_RESPONSE)\|>)"
    r"(?P<answer>.*?)(?:</(?P=name)>|<\|(?:end_of_solution|END_RESPONSE)\|>)?\s*",
    re.DOTALL | re.IGNORECASE,
)

_CHANNEL_MARK = re.compile(r"<\|(start|channel|message|end|return|call|constrain)\|>")
_BARE_FINAL = re.compile(r"(?P<reasoning>.*)assistant(?:commentary|analysis)?final(?P<answer>.*)", re.DOTALL)
_BARE_FINAL_SPACED = re.compile(r"(?P<reasoning>\s*analysis.*)\bassistant\s+final\s(?P<answer>.*)", re.DOTALL)
#: A channel's name glued to the word after it, which begins with a capital or is no Latin word.
_BARE_ANALYSIS = re.compile(r"\s*(?:analysis|commentary)(?=[^\W\d_a-z])")
_BARE_PREFIX = re.compile(r"\s*final(?=[^\W\d_a-z])")
_SPOKEN = re.compile(
    r"\s*here is my thought process:(?P<reasoning>.*?)(?:here is my response:(?P<answer>.*)|\Z)",
    re.DOTALL | re.IGNORECASE,
)


def split_reasoning(text: str, finished: bool = True) -> tuple[str, str]:
    """The answer and the reasoning of a text.

    Args:
        text: as the model wrote it.
        finished: False where the length limit cut it; a word that may be the beginning of a mark is then no answer.

    Returns:
        The answer, untouched where there is no reasoning; the reasoning without its marks, stripped.
    """
    found: list[str] = []
    if "<|" in text and ("<|channel|>" in text or "<|message|>" in text):
        text, reasoning = _from_channels(text)
        found.append(reasoning)
    text, reasoning = _from_bare_channels(text)
    found.append(reasoning)
    if any(first in text for first in _FIRST_CHARACTERS):
        text, reasoning = _from_tags(text, finished)
        found.append(reasoning)
    if spoken := _SPOKEN.fullmatch(text):
        text = spoken["answer"] or ""
        found.append(spoken["reasoning"].strip())
    return text, "\n".join(filter(None, found))


def _from_tags(text: str, finished: bool) -> tuple[str, str]:
    """Everything up to the last tag is reasoning; everything behind it, too, when that tag opens."""
    tags = [tag for tag in _TAG.finditer(text) if not _is_quoted(text, tag)]
    if not finished and (cut := _cut_tag(text, tags[-1].end() if tags else 0)) is not None:
        return "", _without_tags(text[:cut])
    if not tags:
        return text, ""
    last = tags[-1]
    if last["open"]:
        return "", _without_tags(text)
    answer = text[last.end() :]
    if wrapped := _WRAPPED_ANSWER.fullmatch(answer):
        answer = wrapped["answer"]
    return answer, _without_tags(text[: last.end()])


def _is_quoted(text: str, tag: re.Match[str]) -> bool:
    return text[tag.start() - 1 : tag.start()] == "`" == text[tag.end() : tag.end() + 1]


def _cut_tag(text: str, start: int) -> int | None:
    """Where a closing tag begins that the length limit cut in two at the end of the text."""
    found = text.rfind("</", start)
    if found < 0 or len(text) - found < 3:
        return None
    return found if any(f"</{name}>".startswith(text[found:].lower()) for name in ("think", "reasoning")) else None


def _without_tags(text: str) -> str:
    return _TAG.sub("\n", text).strip()


def _from_channels(text: str) -> tuple[str, str]:
    """Final messages are the answer; all other channels, and what stands outside of messages, are reasoning."""
    marks = list(_CHANNEL_MARK.finditer(text))
    has_channels = any(mark[1] == "channel" for mark in marks)
    answers: list[str] = []
    reasoning = [text[: marks[0].start()]]
    channel = ""
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        piece = text[mark.end() : following.start() if following else len(text)]
        if mark[1] == "channel":
            channel = (piece.split() or [""])[0].lower()
        elif mark[1] == "message":
            is_answer = channel == "final" or not has_channels
            (answers if is_answer else reasoning).append(piece)
        elif mark[1] == "start":
            channel = ""
        elif mark[1] != "constrain":  # behind the end of a message
            reasoning.append(piece)
    return "\n".join(filter(None, answers)), "\n".join(filter(None, map(str.strip, reasoning)))


def _from_bare_channels(text: str) -> tuple[str, str]:
    if "assistant" in text and (found := _BARE_FINAL.fullmatch(text) or _BARE_FINAL_SPACED.fullmatch(text)):
        return found["answer"], _BARE_ANALYSIS.sub("", found["reasoning"], count=1).strip()
    if found := _BARE_ANALYSIS.match(text):
        return "", text[found.end() :].strip()
    if found := _BARE_PREFIX.match(text):
        return text[found.end() :], ""
    return text, ""
