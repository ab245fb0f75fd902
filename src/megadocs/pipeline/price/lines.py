"""A plan as data: the steps of a recipe with their price, as `plan.py` makes and `megadocs plan` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One step with its price.

    Attributes:
        status: done, running (another process has it) or to do.
        num_requests: generations still to be written (generate), else None.
        num_prompt_tokens: of those requests, an estimate.
        num_cached_tokens: of the prompt tokens, those that the engine has read just before.
        cost: of those requests, at the prices of `generate.limits`; None without prices.
        num_tokens: new tokens still to be generated, or tokens to train on.
        flops: of training and scoring that is left.
        seconds: expected time of what is left, on its slots.
        slots: CPU slots it takes.
        is_estimate: counts that depend on unpublished inputs.
        arm: of train and evaluate steps, else None.
    """

    name: str
    kind: str
    fingerprint: str
    status: str
    num_requests: int | None = None
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    cost: float | None = None
    num_tokens: int | None = None
    num_steps: int | None = None
    flops: float = 0.0
    seconds: float = 0.0
    slots: int = 1
    is_estimate: bool = False
    arm: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps with their price.

    Attributes:
        lines: in the order of priority.
        num_slots: steps side by side.
        seconds: expected wall time of what is left, the report and the workers' start included.
        left_out: arm -> why the corpus cannot serve it.
        corpus: document counts, and whether they are the recipe's word (`is_assumed`).
        rates: where the times come from: finished steps of this workspace, of earlier runs of the user, or a table.
        order_room: `room.OrderRoom` of the arms whose stream holds several rows of a document.
    """

    lines: tuple[PlanLine, ...]
    num_slots: int
    seconds: float
    left_out: Mapping[str, str]
    corpus: Mapping[str, Any]
    rates: Literal["workspace", "user", "default"] = "default"
    order_room: tuple[Any, ...] = ()

    @property
    def flops(self) -> float:
        """Of all training and scoring that is left."""
        return sum(line.flops for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)
