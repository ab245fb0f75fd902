"""Recipe section `plan`: what `megadocs plan` may assume where it cannot count or measure. Changes no result."""

from __future__ import annotations

from pydantic import Field

from megadocs.recipe.base import Section


class PlanConfig(Section):
    """Sizes of a corpus that is not on this machine, and rates of the machines that will do the work."""

    mean_document_tokens: float | None = Field(
        None, gt=0, le=1e9, description="Student tokens of a real document; `plan` then does without the source."
    )
    mean_rephrase_tokens: float | None = Field(
        None, gt=0, le=1e9, description="New tokens of a rephrase; none: 0.85 of max_new_tokens."
    )
    mean_thought_tokens: float | None = Field(
        None, gt=0, le=1e9, description="New tokens of a thought; none: 0.85 of max_new_tokens."
    )
    new_tokens_per_second: float | None = Field(
        None, gt=0, le=1e12, description="Generation rate of one server; none: measured in the workspace, or a default."
    )
    train_flops_per_second: float | None = Field(
        None, gt=0, le=1e21, description="Model FLOP/s of one slot; none: measured in the workspace, or a CPU core's."
    )

    def mean_tokens(self, task: str) -> float | None:
        """New tokens of one generation of a task, where a field says so."""
        mean: float | None = getattr(self, f"mean_{task}_tokens", None)
        return mean
