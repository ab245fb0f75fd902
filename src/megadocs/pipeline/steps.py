"""The steps of an experiment, in order. **Read this page first.**

    recipe.yaml
       |
    corpus -> generate -> rows -> train -> evaluate -> report
     real      LLM text   tokens   runs     per-doc     fits, CIs, HTML
     split     ledger     once     arms     losses

A *step* is a kind of work, the configuration that decides its result, and the steps it needs. Its fingerprint is the
hash of these; its result is the artifact `<workspace>/<kind>/<fingerprint>/`. Equal fingerprints are equal work, done
once, whoever asks for it: another arm, another recipe in the same workspace, another process.

What does not change a result (threads, concurrency, check-pointing) is in `settings` and outside the fingerprint.
Values that a recipe leaves at their defaults are outside too, so that a new field of the recipe leaves finished work
valid; whoever changes a default raises the step's version. An arm's steps name only the rows that the arm uses, so
that more generations leave finished runs valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from megadocs.model import resolve_config
from megadocs.pipeline.row_steps import arm_rows, with_generations
from megadocs.pipeline.step import Step, all_fields, chosen_fields
from megadocs.recipe import Arm, Recipe, build_arms

#: Fields of `train` that decide how a run is carried out, not what it computes.
_OPERATIONAL_TRAIN_FIELDS = {"checkpoint_minutes", "keep_checkpoints", "log_every_steps", "trackers"}

#: Below this size one thread per run and runs side by side beat one run on all cores (measured: lab/LOG.md).
_SIDE_BY_SIDE_PARAMETERS = 8_000_000


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What the plan needs to know of the corpus: how many documents 1x is and how many times that there are."""

    num_train_1x: int
    max_multiple: int


@dataclass(frozen=True, slots=True)
class Run:
    """One arm with one seed: the steps that train and score it."""

    arm: Arm
    seed: int
    train: Step
    evaluate: Step


@dataclass(frozen=True, slots=True)
class Experiment:
    """All steps of a recipe.

    Attributes:
        runs: arm by arm, seed by seed.
        left_out: arm name -> why this corpus cannot serve it.
        steps: every step in the order of priority, each once, inputs before users; the report is not among them.
        corpus: the corpus step.
        tokenizer: the student's tokenizer.
    """

    runs: tuple[Run, ...]
    left_out: Mapping[str, str]
    steps: tuple[Step, ...]
    corpus: Step
    tokenizer: Step

    def of_kind(self, kind: str) -> list[Step]:
        """The steps of one kind in order of priority."""
        return [step for step in self.steps if step.kind == kind]


def corpus_step(recipe: Recipe, source_digest: str) -> Step:
    """Read, cut and split the real documents. The digest stands for the source's content."""
    config = {"corpus": all_fields(recipe.corpus), "source_sha256": source_digest}
    return Step("corpus", "corpus", config, config | {"corpus": chosen_fields(recipe.corpus)})


def build_experiment(recipe: Recipe, corpus: Step, facts: CorpusFacts, *, allow_code: bool = False) -> Experiment:
    """All steps of the recipe over a corpus, arms that it cannot serve left out.

    Args:
        recipe: with arms and seeds.
        corpus: the corpus step.
        facts: counts of that corpus.
        allow_code: load orderings of the form module:attribute.

    Raises:
        RecipeError: an arm asks for rows that the recipe does not make, or for an ordering there is not.
    """
    arms, left_out = [], {}
    for arm in build_arms(recipe):
        multiple = arm.recipe.mixture.real_multiple
        if multiple > facts.max_multiple:
            need, have = multiple * facts.num_train_1x, facts.max_multiple * facts.num_train_1x
            left_out[arm.name] = f"needs {need} training documents, the corpus has {have}"
        else:
            arms.append(arm)
    tokenizer = tokenizer_step(recipe, corpus)
    runs = tuple(_run(arm, seed, corpus, tokenizer, allow_code=allow_code) for seed in recipe.seeds for arm in arms)
    return Experiment(runs, left_out, _in_priority(corpus, tokenizer, runs), corpus, tokenizer)


def tokenizer_step(recipe: Recipe, corpus: Step) -> Step:
    """Train or load the student's tokenizer: one for all arms."""
    inputs = {"corpus": corpus} if recipe.tokenizer.kind == "train" else {}
    config = {"tokenizer": all_fields(recipe.tokenizer)}
    return Step("tokenizer", "tokenizer", config, {"tokenizer": chosen_fields(recipe.tokenizer)}, inputs)


def _run(arm: Arm, seed: int, corpus: Step, tokenizer: Step, *, allow_code: bool) -> Run:
    """The steps that train and score one arm with one seed."""
    recipe = arm.recipe
    inputs = arm_rows(recipe, corpus, tokenizer, allow_code=allow_code)
    inputs |= {"corpus": corpus, "tokenizer": tokenizer}
    stream = with_generations(recipe)
    sections = {"stream": stream, "mixture": recipe.mixture, "model": recipe.model, "train": recipe.train}
    identity = {name: chosen_fields(section) for name, section in sections.items()}
    for name in _OPERATIONAL_TRAIN_FIELDS:
        identity["train"].pop(name, None)
    train = Step(
        "train",
        f"train {arm.name} seed {seed}",
        {name: all_fields(section) for name, section in sections.items()} | {"seed": seed},
        identity | {"seed": seed},
        inputs,
        settings={"allow_code": allow_code},
        slots=1 if _fits_one_thread(recipe) else None,
    )
    context_length = recipe.train.context_length
    evaluate = Step(
        "evaluate",
        f"evaluate {arm.name} seed {seed}",
        {"evaluate": all_fields(recipe.evaluate), "context_length": context_length},
        {"evaluate": chosen_fields(recipe.evaluate), "context_length": context_length},
        {"train": train, "corpus": corpus, "tokenizer": tokenizer},
        slots=train.slots,
    )
    return Run(arm, seed, train, evaluate)


def _fits_one_thread(recipe: Recipe) -> bool:
    """Whether the student is small enough that runs go side by side, one thread each."""
    if recipe.model.init_from is not None:
        return False
    context_length = recipe.train.context_length
    shape = resolve_config(recipe.model, vocab_size=expected_vocab_size(recipe), context_length=context_length)
    return shape.num_parameters < _SIDE_BY_SIDE_PARAMETERS


def expected_vocab_size(recipe: Recipe) -> int:
    """Vocabulary of the student before the tokenizer is there: exact for a trained one, Llama-3's for a loaded one."""
    return recipe.tokenizer.vocab_size if recipe.tokenizer.kind == "train" else 128_256


def _in_priority(corpus: Step, tokenizer: Step, runs: tuple[Run, ...]) -> tuple[Step, ...]:
    """Generation first (it takes longest), then the runs in order, each step after its inputs and once."""
    ordered: dict[str, Step] = {}

    def add(step: Step) -> None:
        for needed in step.inputs.values():
            add(needed)
        ordered.setdefault(f"{step.kind}/{step.fingerprint}", step)

    add(corpus)
    add(tokenizer)
    for run in runs:
        for step in run.train.inputs.values():
            if "generations" in step.inputs:
                add(step.inputs["generations"])
    for run in runs:
        add(run.train)
        add(run.evaluate)
    return tuple(ordered.values())
