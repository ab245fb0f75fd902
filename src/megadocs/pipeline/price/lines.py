"""A plan as data: the steps of a recipe with their price, as `plan.py` makes and `megadocs plan` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One step with its price."""

    name: str
    kind: str
    fingerprint: str
    status: str  # done, running (another process has it) or to do
    num_requests: int | None = None  # generations still to be written (generate), else None
    num_prompt_tokens: int | None = None  # of those requests, an estimate
    num_cached_tokens: int | None = None  # of the prompt tokens, those that the engine has read just before
    cost: float | None = None  # of those requests, at the prices of `generate.limits`; None without prices
    num_tokens: int | None = None  # new tokens still to be generated, or tokens to train on
    num_steps: int | None = None
    flops: float = 0.0  # of training and scoring that is left
    seconds: float = 0.0  # expected time of what is left, on its slots
    slots: int = 1  # CPU slots it takes
    is_estimate: bool = False  # counts that depend on unpublished inputs
    arm: str | None = None  # of train and evaluate steps, else None


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps with their price."""

    lines: tuple[PlanLine, ...]  # in the order of priority
    num_slots: int  # steps side by side
    seconds: float  # expected wall time of what is left, the report and the workers' start included
    left_out: Mapping[str, str]  # arm -> why the corpus cannot serve it
    corpus: Mapping[str, Any]  # document counts, and whether they are the recipe's word (`is_assumed`)
    #: where the times come from: finished steps of this workspace, of earlier runs of the user, or a table.
    rates: Literal["workspace", "user", "default"] = "default"
    order_room: tuple[Any, ...] = ()  # `room.OrderRoom` of the arms whose stream holds several rows of a document
    notes: tuple[str, ...] = ()  # what the prices do not rest on, one sentence each

    @property
    def flops(self) -> float:
        """Of all training and scoring that is left."""
        return sum(line.flops for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)
