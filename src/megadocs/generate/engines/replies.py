"""A server's JSON as a `Reply`: every dialect of the OpenAI API in one place.

| what differs | what is taken |
|---|---|
| content as a list of parts (Mistral, gateways) | the text parts, joined; thinking parts are reasoning |
| `reasoning`, `reasoning_content`, `thinking`, `reasoning_details` | reasoning; strings, lists and objects alike |
| content null or absent | an empty text: the gates decide |
| `refusal` instead of content | the refusal's words with the finish reason `content_filter` |
| `finish_reason` null, empty, absent | `length` where the reply used its limit, else `stop` |
| other names of finish reasons | `stop`, `length`, `content_filter` |
| `finish_reason` of a reply that broke off (`error`, `abort`) | a `server_error`: half a text is no text |
| usage absent, null, text, not a number, 0 | `uncounted`: the sender counts |

Reasoning that stands inside the text is the gates' work (`reasoning`). Anything else that is not as agreed is a
`malformed` failure, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from megadocs.generate.engines.failures import one_line
from megadocs.generate.engines.protocol import EngineFailure, Reply

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
#: Keys that hold words inside an object of reasoning or a part of the content.
_WORD_KEYS = ("text", "content", "thinking", "reasoning", "summary")
_REASONING_PARTS = ("thinking", "reasoning", "reasoning_text", "redacted_thinking", "summary_text")
_FINISH_REASONS = {
    "eos": "stop",
    "end_turn": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "safety": "content_filter",
    "refusal": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
}
#: Of replies that ended because the server, or the one behind a gateway, failed in the middle.
_BROKEN_OFF = frozenset(
    {"error", "failed", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource"}
)
#: Where servers say in words what became of a reply that is not there.
_EXCUSE_KEYS = ("message", "detail", "msg", "status")
_MAX_DEPTH = 8


def read_reply(answer: Mapping[str, Any], max_new_tokens: int | None = None) -> Reply | EngineFailure:
    """The first choice of a completion.

    Args:
        answer: the server's JSON.
        max_new_tokens: what was asked for, to tell a cut reply from a whole one where the server does not.
    """
    choice = _first_choice(answer)
    if choice is None:
        excuse = next((answer[key] for key in _EXCUSE_KEYS if isinstance(answer.get(key), str)), "")
        what = "the reply has no choices" + (f": {one_line(excuse)}" if excuse else "")
        return EngineFailure("malformed", what)
    message = choice.get("message")
    if isinstance(message, dict):
        parts = _content(message.get("content"))
    elif isinstance(choice.get("text"), str):
        message, parts = {}, (choice["text"], "")
    else:
        return EngineFailure("malformed", "the reply has neither a message nor a text")
    if parts is None:
        return EngineFailure("malformed", "the reply's content is neither text nor parts of text")
    text, reasoning = parts
    spoken = next((words for key in _REASONING_KEYS if message.get(key) and (words := _words(message[key]))), "")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    new_tokens = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    finish = _finish_reason(choice, new_tokens, max_new_tokens)
    if finish in _BROKEN_OFF:
        return EngineFailure("server_error", f"the reply broke off: finish_reason {finish}", code=finish)
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str) and refusal:
        text, finish = refusal, "content_filter"
    prompt_tokens = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    uncounted: list[Literal["prompt_tokens", "new_tokens"]] = [] if prompt_tokens else ["prompt_tokens"]
    if new_tokens is None or (not new_tokens and (text or spoken or reasoning)):
        uncounted.append("new_tokens")
    details = usage.get("prompt_tokens_details")
    cached_tokens = _count(details.get("cached_tokens")) or 0 if isinstance(details, dict) else 0
    model = answer.get("model")
    return Reply(
        text=text,
        finish_reason=finish,
        prompt_tokens=prompt_tokens or 0,
        new_tokens=new_tokens or 0,
        cached_tokens=min(cached_tokens, prompt_tokens or 0),  # no share of a prompt is over 1
        reasoning="\n".join(filter(None, (spoken, reasoning))),
        model=model if isinstance(model, str) else "",
        uncounted=tuple(uncounted),
    )


def _first_choice(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The choice of index 0, or the first where none says so."""
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return None
    found = [choice for choice in choices if isinstance(choice, dict)]
    return next((choice for choice in found if choice.get("index") == 0), found[0] if found else None)


def _content(content: Any) -> tuple[str, str] | None:
    """Text and reasoning of a message's content; None when it is something else."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return None
    texts: list[str] = []
    reasoning: list[str] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") in _REASONING_PARTS:
            reasoning.append(_words(part))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    if content and not texts and not reasoning:
        return None
    return "".join(texts), "\n".join(filter(None, reasoning))


def _words(value: Any) -> str:
    """All the words inside a string, an object or a list of them."""
    return "\n".join(_iter_words(value, _MAX_DEPTH))


def _iter_words(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif depth and isinstance(value, list):
        for item in value:
            yield from _iter_words(item, depth - 1)
    elif depth and isinstance(value, dict):
        for key in _WORD_KEYS:
            yield from _iter_words(value.get(key), depth - 1)


def _finish_reason(choice: Mapping[str, Any], new_tokens: int | None, max_new_tokens: int | None) -> str:
    reason = choice.get("finish_reason")
    if reason in ("stop", "length"):
        return str(reason)
    if isinstance(reason, str) and reason:
        name = one_line(reason.lower(), 40)
        return _FINISH_REASONS.get(name, name)
    used_up = new_tokens is not None and max_new_tokens is not None and new_tokens >= max_new_tokens
    return "length" if used_up else "stop"


def _count(value: Any) -> int | None:
    """A token count as the server gives it, whole or as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**32:  # NaN compares false
        return None
    return int(value)
