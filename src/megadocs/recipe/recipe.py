"""The recipe: one YAML file that says everything about an experiment. Typed, frozen, no behaviour."""

from __future__ import annotations

import re
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from megadocs.recipe.base import Section, Seed
from megadocs.recipe.data import CorpusConfig, TokenizerConfig, TrainedTokenizer
from megadocs.recipe.evaluation import EnsembleConfig, EvaluateConfig
from megadocs.recipe.generation import GenerateConfig
from megadocs.recipe.plan import PlanConfig
from megadocs.recipe.published import PublishedConfig
from megadocs.recipe.search import SEARCHABLE_SECTIONS, SearchConfig, TuneBudget
from megadocs.recipe.streams import MixtureConfig, StreamConfig
from megadocs.recipe.training import AnalysisConfig, ModelConfig, TrainConfig
from megadocs.recipe.wishes import Wish

#: What an arm, recipe or ensemble may be called (it appears in tables and file names).
NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,80}")


class Recipe(Section):
    """Everything about an experiment: data, generation, student, arms, seeds, evaluation."""

    name: str = Field(description="Short name of the experiment.")
    description: str = Field("", description="One paragraph for the report.")
    corpus: CorpusConfig = Field(description="The real documents.")
    generate: GenerateConfig = Field(default_factory=GenerateConfig, description="The synthetic text.")
    published: PublishedConfig | None = Field(None, description="Synthetic text that others wrote; none: generate.")
    tokenizer: TokenizerConfig = Field(default_factory=TrainedTokenizer, description="The student's tokenizer.")
    stream: StreamConfig = Field(default_factory=StreamConfig, description="Order of the synthetic rows.")
    mixture: MixtureConfig = Field(default_factory=MixtureConfig, description="Real and synthetic windows.")
    model: ModelConfig = Field(default_factory=ModelConfig, description="The student.")
    train: TrainConfig = Field(default_factory=TrainConfig, description="Optimiser, length, checkpoints.")
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="What is scored.")
    analysis: AnalysisConfig = Field(default_factory=AnalysisConfig, description="Statistics.")
    search: SearchConfig | None = Field(None, description="Tuning of the arms; for `megadocs search` and `tune`.")
    tune: Literal["auto", "off"] | TuneBudget = Field(
        "off",
        description="Tune on validation over the axes of `search` before the reported arms are trained: auto (12 "
        "trials an arm), off, or a budget {max_runs, max_hours}. Where it is written, as off too, a student and a "
        "batch_size that the recipe does not set follow the number of tokens (docs/search.md).",
    )
    plan: PlanConfig = Field(default_factory=PlanConfig, description="What `megadocs plan` may assume.")
    arms: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="name -> dotted overrides of stream, mixture, model and train."
    )
    ensembles: dict[str, EnsembleConfig] = Field(
        default_factory=dict, description="name -> members; scored like a run on every set and benchmark."
    )
    _wishes: tuple[Wish, ...] = PrivateAttr(default=())
    seeds: list[Seed] = Field(
        default_factory=lambda: [0], min_length=1, max_length=1000, description="Seeds; they pair across arms."
    )

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """Powers that the recipe's file asks for and the person has not given (`consent.check_consent`)."""
        return self._wishes

    def with_wishes(self, wishes: tuple[Wish, ...]) -> Self:
        """The same recipe with these noted in it; copies keep them, files do not hold them."""
        copy = self.model_copy()
        copy._wishes = wishes
        return copy

    @field_validator("name")
    @classmethod
    def _named(cls, value: str) -> str:
        if not NAME_PATTERN.fullmatch(value):
            raise ValueError("a name is 1-80 letters, digits, '.', '_' or '-'")
        return value

    @field_validator("tune", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads the bare word off as false

    @model_validator(mode="after")
    def _has_axes(self) -> Self:
        if self.tune != "off" and self.search is None:
            raise ValueError("tune needs the section `search` with its axes, or tune: off")
        return self

    @model_validator(mode="after")
    def _held_out(self) -> Self:
        is_split = self.corpus.split != "auto"
        if self.published is not None and self.published.real_documents == "published" and is_split:
            raise ValueError(
                "with published real documents the corpus is the held-out text, half validation and half test: leave "
                "corpus.split at auto, or set published.real_documents=corpus"
            )
        return self

    @field_validator("arms")
    @classmethod
    def _arm_names(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, overrides in value.items():
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"arm name {name!r}: use 1-80 letters, digits, '.', '_' or '-'")
            for key in overrides:
                if key.split(".")[0] not in SEARCHABLE_SECTIONS:
                    raise ValueError(f"arm {name!r} may not override {key!r}: only stream, mixture, model and train")
        return value

    @field_validator("ensembles")
    @classmethod
    def _ensemble_names(cls, value: dict[str, EnsembleConfig]) -> dict[str, EnsembleConfig]:
        for name in value:
            if not NAME_PATTERN.fullmatch(name):
                raise ValueError(f"ensemble name {name!r}: use 1-80 letters, digits, '.', '_' or '-'")
        return value

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value) or any(seed < 0 for seed in value):
            raise ValueError("seeds are distinct whole numbers of at least 0")
        return value
