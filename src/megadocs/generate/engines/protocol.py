"""What an engine is: something that completes one request at a time, whose failures are values.

An engine may serve many `complete` calls at once (its `info.concurrency`); deciding how many, when to wait and what to
try again is the caller's work (`retry`, `runner`). `complete` never raises for what a server can do wrong: it returns
an `EngineFailure` of a fixed taxonomy. It raises `EngineError` only when there is no engine any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from megadocs.generate.styles import Message

FailureKind = Literal[
    "rate_limited",  # 429
    "server_error",  # 5xx, 408, 425
    "timeout",  # the attempt's deadline passed
    "connection",  # refused, reset, closed half-way
    "malformed",  # not the JSON that was agreed
    "too_large",  # the reply went over the size cap
    "context_length",  # the server says prompt and reply do not fit
    "bad_request",  # any other 4xx: the same request will fail again
    "refused",  # a content filter, whatever its status: this document only
    "unauthorised",  # 401, 403
    "payment",  # 402, no quota or credit left
    "model_changed",  # the server answers as another model
]

#: Failures that say nothing about the request: waiting helps, no record fails for them.
ENGINE_DOWN: frozenset[FailureKind] = frozenset({"connection", "rate_limited", "server_error"})
#: Failures after which nothing more may be sent.
FATAL: frozenset[FailureKind] = frozenset({"unauthorised", "payment", "model_changed"})
#: Failures of this request for good.
PERMANENT: frozenset[FailureKind] = frozenset({"context_length", "bad_request", "refused"})


#: The `code` of failures that come from a proxy on the way, not from the server.
PROXY = "proxy"


@dataclass(frozen=True, slots=True)
class Completion:
    """One call to an engine: messages, sampling, seed, strings that end the reply, and the time it may take."""

    messages: Sequence[Message]
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    timeout_seconds: float
    extra: Mapping[str, Any]
    lane: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What an engine wrote, as it came: no gate has seen it.

    Token counts are the engine's own; those that it does not give are 0 and named in `uncounted`: the sender counts
    them. `finish_reason` is `stop`, `length`, `content_filter`, or what else the server says.
    `occupancy` is the share of the engine's batch places that were filled while it wrote; None: it does not say.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    new_tokens: int
    cached_tokens: int = 0
    reasoning: str = ""
    model: str = ""
    uncounted: tuple[Literal["prompt_tokens", "new_tokens"], ...] = ()
    occupancy: float | None = None


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """Why there is no reply."""

    kind: FailureKind  # the class that decides what is done
    message: str  # one line without document text: status, code, parameter and the server's own words
    retry_after_seconds: float | None = None  # what the server asked for
    #: `status`, `code`, `param`: of an HTTP answer; None and empty for other failures.
    status: int | None = None
    code: str = ""
    param: str = ""
    #: which death of which of the engine's own server processes took the request with it.
    death: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is known of an engine without asking it."""

    identity: Mapping[str, Any]  # model name and revision or hash; enters every generation's identity
    context_tokens: int  # prompt and reply together
    concurrency: int  # requests that may be in flight at once, all servers together
    address: str | None = None  # where documents are sent, for the consent check; None when they stay in this process
    is_remote: bool = False  # whether that is another machine
    #: of an engine that runs batches and reads a prompt once for all who share it: how many; lane i is served by batch
    #: i modulo their number, and takes any generation of that batch's documents. None: the generations of a document go
    #: to one lane, one after the other.
    num_batches: int | None = None


class Engine(Protocol):
    """The four things an engine does."""

    async def start(self) -> None:
        """Make it ready to serve; `EngineError` says what is missing and how to get it."""

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """Serve one request."""

    async def is_healthy(self) -> bool:
        """Whether it would serve now; repairs what it can (restarts a dead server) before answering."""

    def info(self) -> EngineInfo:
        """What is known without asking."""

    async def close(self) -> None:
        """Let everything go; leaves no process behind. Closing twice is harmless."""
