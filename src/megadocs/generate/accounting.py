"""The accounting of a generation run: requested = ok + rejected + failed + skipped + pending, always."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

#: State of a generation that is missing -> what opens it again; the table of docs/generation.md.
OPENED_BY = {
    "failed": "failed: another address or other engine options, a longer time or context, or "
    "`megadocs generate retry RECIPE --only failed`",
    "rejected": "rejected: another policy in generate.gates, more generate.max_attempts, or "
    "`megadocs generate retry RECIPE --only rejected`",
    "skipped": "skipped: a larger generate.engine.context_tokens, or generate.long_documents=truncate (or split)",
    "pending": "pending: `megadocs generate run RECIPE`",
}


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
    def missing(self) -> int:
        """Generations without a text: rejected, failed, skipped or pending."""
        return self.requested - self.ok

    def missing_text(self) -> str:
        """`9 of 14 generations are missing: 4 failed (bad_request 4), 3 rejected (empty 3), 2 pending`."""
        classes = {name: number for name, number in self.errors.items() if name not in ("quality", "too_long")}
        reasons = {"failed": classes, "rejected": self.flags if not self.ok else {}, "skipped": {}}
        parts = []
        for state in ("failed", "rejected", "skipped", "pending"):
            number = getattr(self, state)
            listed = ", ".join(f"{name} {count}" for name, count in reasons.get(state, {}).items())
            if number:
                parts.append(f"{number} {state}" + (f" ({listed})" if listed else ""))
        return f"{self.missing} of {self.requested} generations are missing: {', '.join(parts)}"

    def remedies(self) -> list[str]:
        """What opens each state that occurs again; one sentence a state."""
        return [sentence for state, sentence in OPENED_BY.items() if getattr(self, state)]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The accounting of a record; what an older version did not write is missing from its record, not from ours."""
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})

    @property
    def is_complete(self) -> bool:
        """Whether every generation has its record."""
        return self.pending == 0

    def to_json(self) -> dict[str, Any]:
        """All fields and `pending`, for records and `--json`."""
        value = {name: getattr(self, name) for name in self.__dataclass_fields__}
        value["flags"], value["errors"] = dict(self.flags), dict(self.errors)
        return {**value, "pending": self.pending}


def num_kept_cut(accounting: Mapping[str, Any], gates: Mapping[str, Any]) -> int:
    """How many texts in use were cut by the length limit.

    Args:
        accounting: its JSON; flags are counted over all replies, rejected ones included.
        gates: `generate.gates` as recorded; with any policy but accept, no cut reply is in use. Older records leave a
            policy out that is the default.
    """
    return int(accounting["flags"].get("truncated", 0)) if gates.get("truncated", "accept") == "accept" else 0


@dataclass(frozen=True, slots=True)
class GenerationProgress:
    """A moment of a run, for a progress display."""

    task: str
    #: `requested`, `done`: generations asked for, and with a final record.
    requested: int
    done: int
    #: `ok`, `rejected`, `failed`, `skipped`: the records by status.
    ok: int
    rejected: int
    failed: int
    skipped: int
    errors: Mapping[str, int]  # failed and skipped generations by class
    num_documents: int
    in_flight: int  # requests being served
    tokens_per_second: float  # new tokens over the last half minute or so
    seconds_left: float | None  # estimate from that speed; None until something is known
    cached_share: float  # share of prompt tokens that the engine took from its prefix cache, this invocation
    #: share of the engine's batch places that were filled, over the replies so far; None: it does not say.
    occupancy: float | None
    server_hours: float  # hours that the engine's servers have been held, this invocation, all of them together
    cost: float  # so far, this invocation, at the recipe's prices; 0 when it has none
    #: `starting the engine`, `running`, `waiting for the engine`, `no reply for 80 s`, `stopping`; at the end
    #: `finished`, `stopped`.
    state: str
    reason: str = ""  # the last failure where no good reply has come since, and for how long; else empty
    num_counted_here: int = 0  # replies of this invocation without the server's token counts: we counted theirs
