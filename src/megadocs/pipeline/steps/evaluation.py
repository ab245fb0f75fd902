"""The steps that score models past their losses: benchmarks, additional sets, ensembles.

    train (one or several) --> benchmark   one zero-shot benchmark
                           --> extra_set   one additional set of documents
                           --> ensemble    validation and test, members averaged

A run is an ensemble of one here: the same steps score one model or K averaged. Each benchmark and each set is a step of
its own, so adding one leaves finished scores valid. Members of an ensemble are seeds of an arm; those that the recipe
does not train anyway are trained for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.corpus import source_digest
from megadocs.errors import RecipeError
from megadocs.evaluate.benchmarks.tasks import Benchmark, find_benchmark
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import CorpusConfig, EvaluateConfig, EvaluationSetConfig, MembersConfig, Recipe

#: Fields of `evaluate` that decide a run's own losses; sets and benchmarks are steps of their own.
LOSS_FIELDS = ("batch_size", "stride")


@dataclass(frozen=True, slots=True)
class Scored:
    """The steps that score one model or one ensemble on benchmarks and additional sets."""

    benchmarks: Mapping[str, Step]  # task -> step
    sets: Mapping[str, Step]  # name -> step
    #: whether the model uses its context; only of the first seed of arms with several rows of a document.
    gate: Step | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """All of them, sets first."""
        return (*self.sets.values(), *self.benchmarks.values(), *([self.gate] if self.gate else []))


@dataclass(frozen=True, slots=True)
class Ensemble:
    """An ensemble of the recipe."""

    name: str  # its key in `ensembles`
    arm: str  # whose runs its members are
    seeds: tuple[int, ...]  # of the members, in order
    losses: Step  # the step that scores it on validation and test
    scored: Scored  # its benchmarks and additional sets


@dataclass(frozen=True, slots=True)
class Scoring:
    """What the recipe asks to be scored, its data found once: benchmarks and sets, to be applied to each model."""

    recipe: Recipe
    corpus: Step
    tokenizer: Step
    benchmarks: Sequence[Benchmark]
    set_digests: Mapping[str, str]

    @classmethod
    def open(cls, recipe: Recipe, corpus: Step, tokenizer: Step, *, allow_code: bool = False) -> Scoring:
        """Find every benchmark and set.

        Raises:
            InputError: a benchmark or the data of a set is absent; says how to get it.
            RecipeError: the recipe names task folders, which may run code, without the person's consent.
        """
        config = recipe.evaluate
        if config.task_folders and not allow_code:
            raise RecipeError(
                f"the task files in {config.task_folders[0]} may run code",
                where="evaluate.task_folders",
                remedy="read them, then pass --allow-code",
            )
        benchmarks = [find_benchmark(name, **benchmark_options(name, config)) for name in config.benchmarks]
        digests = {name: source_digest(corpus_config(entry, recipe)) for name, entry in config.sets.items()}
        return cls(recipe, corpus, tokenizer, benchmarks, digests)

    def of(self, label: str, members: Sequence[Step], context_length: int, subsets: str = "prefixes") -> Scored:
        """The steps that score a model (one member) or an ensemble.

        Args:
            label: `real_only seed 0`, or the ensemble's name.
            members: train steps.
            subsets: which subsets of the members, at each size.
        """
        inputs = {**member_roles(members), "tokenizer": self.tokenizer}
        choice = {} if len(members) == 1 else {"subsets": subsets}
        slots = members[0].slots
        benchmarks = {}
        for benchmark in self.benchmarks:
            benchmarks[benchmark.name] = Step.of(
                "benchmark",
                f"{benchmark.name} {label}",
                {**benchmark.identity(), **choice},
                inputs,
                facts={
                    "options": benchmark_options(benchmark.name, self.recipe.evaluate),
                    "expected_items": benchmark.expected_items(),
                    "subsets": subsets,
                },
                slots=slots,
            )
        sets = {}
        for name, entry in self.recipe.evaluate.sets.items():
            sets[name] = Step.of(
                "extra_set",
                f"set {name} {label}",
                {
                    "name": name,
                    "source_sha256": self.set_digests[name],
                    "context_length": context_length,
                    "set": entry,
                    "evaluate": self.recipe.evaluate,
                    **choice,
                    **own_boundary(members[0]),
                },
                {**inputs, "corpus": self.corpus},
                only={"evaluate": LOSS_FIELDS},
                facts={"corpus": corpus_config(entry, self.recipe), "subsets": subsets},
                slots=slots,
            )
        return Scored(benchmarks, sets)

    def ensemble(self, name: str, members: Sequence[Step], context_length: int) -> Ensemble:
        """The steps of one ensemble of the recipe over its members' train steps."""
        config = self.recipe.ensembles[name]
        losses = Step.of(
            "ensemble",
            f"ensemble {name}",
            {
                "context_length": context_length,
                "subsets": config.subsets,
                "evaluate": self.recipe.evaluate,
                **own_boundary(members[0]),
            },
            {**member_roles(members), "corpus": self.corpus, "tokenizer": self.tokenizer},
            only={"evaluate": LOSS_FIELDS},
            slots=members[0].slots,
        )
        scored = self.of(name, members, context_length, config.subsets)
        return Ensemble(name, config.arm, tuple(member_seeds(config, self.recipe)), losses, scored)


def member_seeds(config: MembersConfig, recipe: Recipe) -> list[int]:
    """The members' seeds in order: as given, or the recipe's first and then the smallest others."""
    if config.seeds is not None:
        return list(config.seeds)
    count = len(recipe.seeds) if config.num_members is None else config.num_members
    others = [seed for seed in range(count + len(recipe.seeds)) if seed not in recipe.seeds]
    return [*recipe.seeds, *others][:count]


def member_roles(members: Sequence[Step]) -> dict[str, Step]:
    """`member 00`, `member 01`, ...: roles sort in the order of the members."""
    return {f"member {index:02}": step for index, step in enumerate(members)}


def corpus_config(entry: EvaluationSetConfig, recipe: Recipe) -> CorpusConfig:
    """How the documents of an additional set are read: its own source, or the corpus's without its pieces."""
    own = {"pieces": entry.pieces, "limit": entry.limit}
    if entry.source is None:
        return recipe.corpus.model_copy(update={**own, "split": "auto"})
    return CorpusConfig(source=entry.source, text_field=entry.text_field, id_field=entry.id_field, **own)


def own_boundary(train: Step) -> dict[str, Any]:
    """For models trained with attention that stays inside rows or documents: they are scored so (0.1 did not)."""
    boundary = train.config["stream"].get("attention_boundary", "none")
    return {} if boundary == "none" else {"attention_boundary": boundary}


def benchmark_options(name: str, config: EvaluateConfig) -> dict[str, Any]:
    """How `find_benchmark` finds a benchmark of the recipe, as JSON values."""
    return {
        "source": config.benchmark_data.get(name, "package"),
        "folders": list(config.task_folders),
        "num_fewshot": config.num_fewshot,
        "num_items": config.benchmark_items,
    }


def check_arm(config: MembersConfig, where: str, arms: Sequence[str], left_out: Mapping[str, str]) -> None:
    """Refuse an arm that the recipe does not have, or that its corpus cannot serve."""
    if config.arm in left_out:
        raise RecipeError(
            f"the arm {config.arm!r} cannot be trained: {left_out[config.arm]}",
            where=f"{where}.arm",
            remedy="add documents, or name another arm",
        )
    if config.arm not in arms:
        raise RecipeError(
            f"there is no arm {config.arm!r}", where=f"{where}.arm", remedy=f"arms of this recipe: {', '.join(arms)}"
        )
