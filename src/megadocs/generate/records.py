"""One generation's final record, and its bytes in the ledger.

A record's frame is a fixed binary head (identity, status, counts), then JSON. A scan of millions of records reads the
heads only; the JSON is parsed when a text is wanted.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from megadocs.errors import DamagedError
from megadocs.generate.quick_json import decode_json, encode_json

Status = Literal["ok", "rejected", "failed", "skipped"]

#: Status -> code in record heads. Codes are permanent: add, never renumber.
STATUS_CODES: dict[Status, int] = {"ok": 0, "rejected": 1, "failed": 2, "skipped": 3}
STATUS_NAMES: dict[int, Status] = {code: name for name, code in STATUS_CODES.items()}

#: Flag -> bit in record heads: what the gates found (`gates`), what planning did to the source. Bits are permanent.
FLAG_BITS: dict[str, int] = {
    "empty": 0,
    "truncated": 1,
    "reasoning": 2,
    "refusal": 3,
    "preamble": 4,
    "echo": 5,
    "repetition": 6,
    "sibling": 7,
    "control_tokens": 8,
    "filtered": 9,
    "invalid_unicode": 10,
    "source_truncated": 11,
    "source_split": 12,
    "identical": 13,
}

#: Error class -> code in record heads. Codes are permanent.
ERROR_CODES: dict[str, int] = {
    "rate_limited": 1,
    "server_error": 2,
    "timeout": 3,
    "connection": 4,
    "malformed": 5,
    "too_large": 6,
    "context_length": 7,
    "bad_request": 8,
    "unauthorised": 9,
    "model_changed": 10,
    "quality": 11,
    "too_long": 12,
    "deadline": 13,
    "refused": 14,
}
ERROR_NAMES: dict[int, str] = {code: name for name, code in ERROR_CODES.items()}

#: version, identity, status, error, number of replies, flags, prompt, new and cached tokens, attempts, basis; see
#: `HEAD_DTYPE` in `ledger`. Version 1 had no basis and 0 for the number of replies: it is read, and written no more.
_HEAD = struct.Struct("<B16sBBBIIIIHQ")
HEAD_BYTES = _HEAD.size
HEAD_BYTES_1 = HEAD_BYTES - 8
RECORD_VERSION = 2
RECORD_VERSIONS = (1, 2)


class EarlierReply(NamedTuple):
    """A reply that was sent back, as the engine sent it: another recipe may accept it. `attempt` 0 is the first."""

    attempt: int
    text: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    cached_tokens: int


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """What became of one generation; exactly one such record counts per identity (the last one written).

    It holds what the engine said for good. `status`, `text` and `flags` are the judgement of the recipe under which it
    was written; `judgement` makes it anew for the recipe that asks.
    """

    identity: str  # 32 hex digits, see `requests`
    document_id: str | None  # source document; None for unconditional samples
    kind: str  # `rephrase`, `thought` or `sample`
    generation: int
    num_generations: int
    style: str  # prompt style name and version, `wikipedia@1`
    #: ok; rejected by a quality policy; failed (transport, server); skipped by policy, never sent (such records are
    #: made on the fly and no longer written).
    status: Status
    split_character: int | None = None
    part: int = 0
    num_parts: int = 1
    text: str = ""  # the text after the gates; empty unless ok or rejected
    reasoning: str = ""  # the model's reasoning block, kept apart from the text
    finish_reason: str | None = None  # `stop`, `length`, `content_filter`; None when nothing came
    flags: tuple[str, ...] = ()  # sorted names of the gates that fired (`truncated`, `preamble`, ...)
    #: `prompt_tokens`, `new_tokens`, `cached_tokens`: of the final attempt, as the engine counts.
    prompt_tokens: int = 0
    new_tokens: int = 0
    cached_tokens: int = 0
    spent_tokens: int = 0  # prompt and new tokens of all replies received for it, rejected ones included
    attempts: int = 0  # replies judged so far; the final one was sampled with the seed of attempt `attempts - 1`
    seed: int = 0  # sampling seed of the final attempt
    error: str | None = None  # class of the failure; None unless failed or skipped
    message: str | None = None  # one line about the failure
    #: text and reasoning of the final attempt as the engine sent them; None where the gates changed nothing.
    reply: tuple[str, str] | None = None
    earlier: tuple[EarlierReply, ...] = ()  # the replies of earlier attempts
    basis: int = 0  # digest of what found the flags or, of a failure, of where and how it was sent; 0: not known

    @property
    def num_replies(self) -> int:
        """Replies that it holds."""
        return len(self.earlier) + (self.status in ("ok", "rejected"))

    def encode(self) -> bytes:
        """The record's frame."""
        head = _HEAD.pack(
            RECORD_VERSION,
            bytes.fromhex(self.identity),
            STATUS_CODES[self.status],
            ERROR_CODES[self.error] if self.error is not None else 0,
            min(self.num_replies, 255),
            sum(1 << FLAG_BITS[flag] for flag in self.flags),
            self.prompt_tokens,
            self.new_tokens,
            self.cached_tokens,
            min(self.attempts, 65535),
            self.basis,
        )
        body = {name: getattr(self, name) for name in _FIELDS}
        body["earlier"] = [tuple(item) for item in self.earlier]
        return head + encode_json(body)


_HEAD_FIELDS = frozenset({"identity", "status", "prompt_tokens", "new_tokens", "cached_tokens", "basis"})
_FIELDS = frozenset(item.name for item in fields(GenerationRecord)) - _HEAD_FIELDS
_FIELDS_1 = _FIELDS - {"reply", "earlier"}


def decode_record(frame: bytes) -> GenerationRecord:
    """The whole record of a frame.

    Raises:
        DamagedError: not a record of this version (the checksum was good: another program wrote it).
    """
    head = record_head(frame)
    if head is None:
        raise DamagedError("a frame is not a record of this version", remedy="use the megadocs that wrote it")
    version, identity, status, _, _, _, prompt_tokens, new_tokens, cached_tokens, _, basis = _HEAD.unpack(head)
    try:
        body: dict[str, Any] = decode_json(frame[HEAD_BYTES if version == RECORD_VERSION else HEAD_BYTES_1 :])
    except ValueError as error:
        raise DamagedError("a record is not JSON") from error
    expected = _FIELDS if version == RECORD_VERSION else _FIELDS_1
    if set(body) != expected:
        raise DamagedError(f"record keys differ by {sorted(set(body) ^ expected)}")
    body["flags"] = tuple(body["flags"])
    if version == RECORD_VERSION:
        body["reply"] = None if body["reply"] is None else tuple(body["reply"])
        body["earlier"] = tuple(EarlierReply(*item) for item in body["earlier"])
    return GenerationRecord(
        identity=identity.hex(),
        status=STATUS_NAMES[status],
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        cached_tokens=cached_tokens,
        basis=basis,
        **body,
    )


def record_head(frame: bytes | memoryview) -> bytes | None:
    """A frame's head in the form of this version, `HEAD_BYTES` long; None when it is no record that is understood."""
    if len(frame) < HEAD_BYTES_1 or frame[0] not in RECORD_VERSIONS:
        return None
    if frame[0] == RECORD_VERSION:
        return bytes(frame[:HEAD_BYTES]) if len(frame) >= HEAD_BYTES else None
    return bytes(frame[:HEAD_BYTES_1]) + bytes(8)


def flag_names(bits: int) -> list[str]:
    """Names of the flags set in a head's bits, in bit order."""
    return [name for name, bit in FLAG_BITS.items() if bits >> bit & 1]


def clean_unicode(text: str) -> tuple[str, bool]:
    """The text with lone surrogates replaced by U+FFFD, and whether there were any (they cannot be stored as UTF-8)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), True
    return text, False


def with_flags(record: GenerationRecord, *flags: str) -> GenerationRecord:
    """The record with more flags, sorted and without repeats."""
    return replace(record, flags=tuple(sorted({*record.flags, *flags})))
