"""Recipe section `generate.sample`: text sampled from models that this recipe trains."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from megadocs.recipe.base import Operational, Section
from megadocs.recipe.evaluation import MembersConfig


class TeacherConfig(MembersConfig):
    """Who is sampled from: one seed of an arm (self-distillation), or several (ensemble distillation)."""

    mix: Literal["logits", "probabilities", "members"] = Field(
        "logits",
        description="Of several: the next token from the mean of their logits (the paper's ensemble) or of their "
        "probabilities, or each sample from one member, in turn.",
    )


class SampleConfig(Section):
    """Unconditional samples: rows of kind self_distilled, for the ordering of that name (facts, sections 3 and 8)."""

    teacher: TeacherConfig = Field(description="The arm and its seeds; trained first, on whatever that arm says.")
    num_samples: int = Field(ge=1, le=10**9, description="Samples; they nest, so more can be drawn later.")
    max_new_tokens: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="Length limit in the student's tokens; none: 1,024, or the teacher's context if shorter.",
    )
    temperature: float = Field(1.0, gt=0, le=5, description="Sampling temperature.")
    batch_size: Operational[int] = Field(
        64, ge=1, le=4096, description="Samples drawn side by side; no part of their identity."
    )
