"""The books of a generation run: requested = ok + rejected + failed + skipped + pending, always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Accounting:
    """What became of the requests of one task.

    Attributes:
        requested: generations the recipe asks for.
        ok, rejected, failed, skipped: those with a final record on disk, by status.
        pending: those without one.
        prompt_tokens, new_tokens, cached_tokens: of the final records.
        flags, errors: counts over the final records.
        num_sent: requests sent by this invocation, all attempts.
        spent_prompt_tokens, spent_new_tokens: of all replies received by this invocation, rejected attempts included.
        cost: of those tokens, in the currency of the recipe's prices.
        seconds: of this invocation.
        stopped: why it ended with work left (`interrupted`, `max_requests`, ...), or None.
    """

    requested: int
    ok: int
    rejected: int
    failed: int
    skipped: int
    prompt_tokens: int
    new_tokens: int
    cached_tokens: int
    flags: Mapping[str, int]
    errors: Mapping[str, int]
    num_sent: int
    spent_prompt_tokens: int
    spent_new_tokens: int
    cost: float
    seconds: float
    stopped: str | None

    @property
    def done(self) -> int:
        """Generations with a final record."""
        return self.ok + self.rejected + self.failed + self.skipped

    @property
    def pending(self) -> int:
        """Generations without a record; never negative."""
        return self.requested - self.done

    @property
    def is_complete(self) -> bool:
        """Whether every generation has its record."""
        return self.pending == 0

    def to_json(self) -> dict[str, Any]:
        """All fields and `pending`, for records and `--json`."""
        value = {name: getattr(self, name) for name in self.__dataclass_fields__}
        value["flags"], value["errors"] = dict(self.flags), dict(self.errors)
        return {**value, "pending": self.pending}


@dataclass(frozen=True, slots=True)
class GenerationProgress:
    """A moment of a run, for a progress display.

    Attributes:
        task: its name.
        requested, done: generations asked for, and with a final record.
        ok, rejected, failed, skipped: the records by status.
        errors: failed and skipped generations by class.
        num_documents: documents of the task.
        in_flight: requests being served.
        tokens_per_second: new tokens over the last half minute or so.
        seconds_left: estimate from that speed; None until something is known.
        cached_share: share of prompt tokens that the engine took from its prefix cache, this invocation.
        server_hours: hours that the engine's servers have been held, this invocation, all of them together.
        cost: so far, this invocation, at the recipe's prices; 0 when it has none.
        state: `running`, `waiting for the engine`, `no reply for 80 s`, `stopping`; at the end `finished`, `stopped`.
    """

    task: str
    requested: int
    done: int
    ok: int
    rejected: int
    failed: int
    skipped: int
    errors: Mapping[str, int]
    num_documents: int
    in_flight: int
    tokens_per_second: float
    seconds_left: float | None
    cached_share: float
    server_hours: float
    cost: float
    state: str
