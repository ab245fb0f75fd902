"""What a server's refusal means: status, code, parameter and prose of an HTTP answer as an `EngineFailure`.

One table for every dialect of the OpenAI API. The message keeps what the server said, because it is the reason a user
needs; passages of it that quote the prompt are taken out by `without_quotes` before anybody sees or stores it.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from megadocs.generate.engines.protocol import EngineFailure, FailureKind

_MAX_REASON_BYTES = 100_000
_TRANSIENT_STATUSES = {408, 409, 423, 425}
#: "Not implemented" and "HTTP version not supported": waiting does not help.
_NEVER_THERE = {501, 505}

#: Content filters, by code, type or inner code; they answer with any status and concern one document.
_FILTER = re.compile(
    r"content_?(filter|policy|moderation)|responsible_?ai|moderation|safety|data_?inspection|flagged|sensitive",
    re.IGNORECASE,
)
#: No money: waiting does not help.
_PAYMENT = re.compile(
    r"insufficient[ _]?(quota|balance|credit|fund)|billing|payment[ _]required|credit balance", re.IGNORECASE
)
#: vLLM, llama.cpp, OpenAI, SGLang, TGI, Anthropic, in this order.
_CONTEXT = re.compile(
    r"maximum context length|context[ _](length|size|window)|context_length_exceeded|longer than the maximum model"
    r"|inputs? tokens? .{0,40}exceed|prompt is too long|input (is )?too long",
    re.IGNORECASE,
)
#: Characters of a run of UTF-8 bytes that count as a quotation of the prompt: 16 letters, or 6 ideographs.
_QUOTE_BYTES = 16


def failure_of_answer(status: int, headers: Mapping[str, str], data: bytes) -> EngineFailure:
    """The failure behind an answer that is no reply.

    Args:
        status: of the HTTP answer.
        headers: of the HTTP answer, by any case.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    if 300 <= status < 400:
        target = one_line(lowered.get("location", "nowhere"))
        return EngineFailure("bad_request", f"HTTP {status}: redirect to {target}", status=status)
    try:
        value = json.loads(data[:_MAX_REASON_BYTES])
    except (ValueError, RecursionError):
        text = f"{len(data)} bytes of {one_line(lowered.get('content-type', 'no content type'), 40)}, not JSON"
        kind = kind_of(status, "", data[:4000].decode("utf-8", "replace"))
        return EngineFailure(kind, f"HTTP {status}: {text}", retry_after(lowered), status=status)
    failure = failure_of_error(status, value)
    return replace(failure, retry_after_seconds=retry_after(lowered))


def failure_of_error(status: int, value: Any) -> EngineFailure:
    """The failure of a parsed error body, in any of the shapes that servers use."""
    code, param, message = _reason(value)
    what = f"HTTP {status}" + (f" {code}" if code else "") + (f" ({param})" if param else "")
    kind = kind_of(status, code, message)
    return EngineFailure(kind, f"{what}: {message}" if message else what, status=status, code=code, param=param)


def kind_of(status: int, code: str, message: str) -> FailureKind:
    """The class of a failure, by status, the server's codes and its prose."""
    if _FILTER.search(code):
        return "refused"
    if status == 402 or _PAYMENT.search(code) or (status != 429 and status < 500 and _PAYMENT.search(message)):
        return "payment"
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "unauthorised"
    if status in _NEVER_THERE:
        return "bad_request"
    if status >= 500 or status in _TRANSIENT_STATUSES:
        return "server_error"
    if status == 413 or (status in (400, 422) and _CONTEXT.search(f"{code} {message}".replace("_", " "))):
        return "context_length"
    return "bad_request"


def _reason(value: Any) -> tuple[str, str, str]:
    """Code (with the type where it adds something), parameter and prose of an error body."""
    inner = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(inner, dict) and "detail" in inner and "message" not in inner:  # FastAPI
        inner = inner["detail"]
    if isinstance(inner, list) and inner:
        inner = inner[0]
    if isinstance(inner, str):
        return "", "", one_line(inner)
    if not isinstance(inner, dict):
        return "", "", ""
    names = [inner.get("code"), inner.get("type"), _inner_code(inner)]
    codes = [one_line(str(name), 64) for name in names if isinstance(name, str) and name]
    place = inner.get("param") or inner.get("loc")
    if isinstance(place, list):
        place = ".".join(str(part) for part in place if part != "body")
    message = inner.get("message") or inner.get("msg") or ""
    return (
        " ".join(dict.fromkeys(codes)),
        one_line(place, 64) if isinstance(place, str) else "",
        one_line(message) if isinstance(message, str) else "",
    )


def _inner_code(error: Mapping[str, Any]) -> Any:
    """Azure's: `innererror: {code: ResponsibleAIPolicyViolation}`."""
    inner = error.get("innererror") or error.get("inner_error")
    return inner.get("code") if isinstance(inner, dict) else None


def without_quotes(failure: EngineFailure, texts: Iterable[str]) -> EngineFailure:
    """The failure with `[...]` where its message repeats a passage of the texts: logs hold no document text."""
    message = failure.message.encode("utf-8", "replace")
    sources = [" ".join(text.split()).encode("utf-8", "replace") for text in texts]
    quoted = bytearray(len(message))
    for start in range(len(message) - _QUOTE_BYTES + 1):
        piece = message[start : start + _QUOTE_BYTES]
        if any(piece in source for source in sources):
            quoted[start : start + _QUOTE_BYTES] = b"\1" * _QUOTE_BYTES
    if not any(quoted):
        return failure
    kept = bytearray()
    for index, byte in enumerate(message):
        if not quoted[index]:
            kept.append(byte)
        elif not index or not quoted[index - 1]:
            kept += b"[...]"
    return replace(failure, message=kept.decode("utf-8", "ignore"))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a Retry-After header in either form; None without one (or with nonsense in it)."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
    return max(0.0, seconds) if seconds == seconds else None


def one_line(text: str, limit: int = 200) -> str:
    """Text for a message: control characters and line ends as spaces, cut to `limit` characters."""
    return "".join(character if character.isprintable() else " " for character in text)[:limit].strip()
