"""The steps of an experiment, in order. **Read this page first.**

    recipe.yaml
       |
    corpus -> generate -> rows -> train -> evaluate -> report
     real      LLM text   tokens   runs     per-doc     fits, CIs, HTML
     split     ledger     once     arms     losses
                             ^        |
                             |        +--> benchmark, extra_set, ensemble    (evaluation.py)
                             +-- sample <-+  a teacher's text                (distillation.py)

A *step* is a kind of work, the configuration that decides its result, and the steps it needs. Its fingerprint is the
hash of these; its result is the artifact `<workspace>/<kind>/<fingerprint>/`. Equal fingerprints are equal work, done
once, whatever asks for it: another arm, another recipe in the same workspace, another process.

What does not change a result (threads, device, concurrency, check-pointing) is marked `Operational` in the recipe's
sections, or stands in a step's `settings`, and is outside the fingerprint: `Step.of` derives both from the sections.
Values that a recipe leaves at their defaults are outside too, so that a new field of the recipe leaves finished work
valid; a changed default raises the step's version. An arm's steps name only the rows that the arm uses, so
that more generations leave finished runs valid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from megadocs.errors import RecipeError
from megadocs.kinds import load_code
from megadocs.machine import resolve_dtype
from megadocs.model import resolve_config
from megadocs.model.pretrained import local_model_digest
from megadocs.pipeline.steps.distillation import sample_section
from megadocs.pipeline.steps.evaluation import (
    LOSS_FIELDS,
    Ensemble,
    Scored,
    Scoring,
    check_arm,
    member_seeds,
    own_boundary,
)
from megadocs.pipeline.steps.gate import check_probes, gate_step, sibling_kind
from megadocs.pipeline.steps.published import published_corpus_fields
from megadocs.pipeline.steps.rows import arm_codes, arm_rows, needs_samples, own_code_settings, with_generations
from megadocs.pipeline.steps.step import Step, with_inputs
from megadocs.recipe import Arm, Recipe, build_arms, own_code_names
from megadocs.text.sources import local_digest
from megadocs.text.vocab_size import LLAMA_3_VOCAB_SIZE, read_vocab_size

#: Below this size one thread per run and runs side by side beat one run on all cores (measured: lab/LOG.md).
_SIDE_BY_SIDE_PARAMETERS = 8_000_000


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What the plan needs to know of the corpus: how many documents 1x is and how many times that there are."""

    num_train_1x: int
    max_multiple: int


@dataclass(frozen=True, slots=True)
class Run:
    """One arm with one seed: the steps that train it and score it: losses, benchmarks, additional sets."""

    arm: Arm
    seed: int
    train: Step
    evaluate: Step
    scored: Scored


@dataclass(frozen=True, slots=True)
class Experiment:
    """All steps of a recipe."""

    runs: tuple[Run, ...]  # arm by arm, seed by seed
    left_out: Mapping[str, str]  # arm name -> why this corpus cannot serve it
    #: every step in the order of priority, each once, inputs before users; the report is not among them.
    steps: tuple[Step, ...]
    corpus: Step
    tokenizer: Step
    ensembles: tuple[Ensemble, ...] = ()  # in the recipe's order
    #: runs that are trained only as members of an ensemble or as a teacher, and not evaluated on their own.
    members: tuple[Run, ...] = ()

    def of_kind(self, kind: str) -> list[Step]:
        """The steps of one kind in order of priority."""
        return [step for step in self.steps if step.kind == kind]


def corpus_step(recipe: Recipe, source_digest: str, dataset_digests: Mapping[str, str] | None = None) -> Step:
    """Read, cut and split the real documents. The digests stand for the content of source and published datasets."""
    digests = dict(dataset_digests or {})
    published, facts = published_corpus_fields(recipe, digests)
    return Step.of(
        "corpus",
        "corpus",
        {"corpus": recipe.corpus, "source_sha256": source_digest, **published},
        facts=facts,
        settings={"dataset_sha256": digests} if digests else {},
    )


def build_experiment(
    recipe: Recipe, corpus: Step, facts: CorpusFacts, *, allow_code: bool = False, whole: Recipe | None = None
) -> Experiment:
    """All steps of the recipe over a corpus, arms that it cannot serve left out.

    Args:
        whole: where a search tries one arm on its own, the recipe with all arms and seeds: teachers are named in it.

    Raises:
        RecipeError: an arm asks for rows that the recipe does not make, for an ordering there is not, or an ensemble
            or teacher for an arm there is not.
        InputError: the data of a benchmark or set is absent.
    """
    load_code(own_code_names(whole or recipe), allow=allow_code)
    arms, left_out = _arms_served(recipe, facts)
    if whole is None:  # a search tries one arm on its own, which need not be the one that the probes are for
        check_probes(recipe, arms)
    tokenizer = tokenizer_step(recipe, corpus)
    maker = _RunMaker(corpus, tokenizer, Scoring.open(recipe, corpus, tokenizer, allow_code=allow_code))
    if any(needs_samples(arm.recipe) for arm in arms):
        maker.train_teachers(whole or recipe, facts)
    runs = tuple(maker.run(arm, seed) for seed in recipe.seeds for arm in arms)
    ensembles = []
    for name, config in recipe.ensembles.items():
        check_arm(config, f"ensembles.{name}", [arm.name for arm in arms], left_out)
        arm = next(arm for arm in arms if arm.name == config.arm)
        members = [maker.run(arm, seed).train for seed in member_seeds(config, recipe)]
        ensembles.append(maker.scoring.ensemble(name, members, arm.recipe.train.context_length))
    own = {run.train.fingerprint for run in runs}
    others = tuple(run for fingerprint, run in maker.made.items() if fingerprint not in own)
    steps = _in_priority(corpus, tokenizer, runs, ensembles)
    return Experiment(runs, left_out, steps, corpus, tokenizer, tuple(ensembles), others)


def _arms_served(recipe: Recipe, facts: CorpusFacts) -> tuple[list[Arm], dict[str, str]]:
    """The arms that the corpus has documents for, and why it cannot serve the others."""
    arms, left_out = [], {}
    for arm in build_arms(recipe):
        multiple = arm.recipe.mixture.real_multiple
        if multiple > facts.max_multiple:
            need, have = multiple * facts.num_train_1x, facts.max_multiple * facts.num_train_1x
            left_out[arm.name] = f"needs {need} training documents, the corpus has {have}"
        else:
            arms.append(arm)
    return arms, left_out


def tokenizer_step(recipe: Recipe, corpus: Step) -> Step:
    """Train or load the student's tokenizer: one for all arms. A local one is known by its content, not by its path."""
    section = {"tokenizer": recipe.tokenizer}
    if recipe.tokenizer.kind == "train":
        return Step.of("tokenizer", "tokenizer", section, {"corpus": corpus})
    digest = local_digest(recipe.tokenizer.source)
    if digest is None:
        return Step.of("tokenizer", "tokenizer", section)
    return Step.of("tokenizer", "tokenizer", {"source_sha256": digest}, facts=section)


class _RunMaker:
    """Makes the steps of runs; remembers those it made, and the teachers whose samples they may use."""

    def __init__(self, corpus: Step, tokenizer: Step, scoring: Scoring) -> None:
        self._corpus, self._tokenizer = corpus, tokenizer
        self.scoring = scoring
        self.made: dict[str, Run] = {}
        self._teachers: tuple[Step, ...] = ()

    def train_teachers(self, recipe: Recipe, facts: CorpusFacts) -> None:
        """Make the runs that `generate.sample` samples from; a teacher cannot be taught by itself."""
        config = sample_section(recipe).teacher
        arms, left_out = _arms_served(recipe, facts)
        check_arm(config, "generate.sample.teacher", [arm.name for arm in arms], left_out)
        arm = next(arm for arm in arms if arm.name == config.arm)
        if needs_samples(arm.recipe):
            raise RecipeError(
                f"the teacher {arm.name!r} trains on its own samples",
                where="generate.sample.teacher.arm",
                remedy=f"name an arm whose ordering is not {arm.recipe.stream.ordering}",
            )
        self._teachers = tuple(self.run(arm, seed).train for seed in member_seeds(config, recipe))

    def run(self, arm: Arm, seed: int) -> Run:
        """The steps of one arm with one seed."""
        train = self._train(arm, seed)
        context_length = arm.recipe.train.context_length
        evaluate = Step.of(
            "evaluate",
            f"evaluate {arm.name} seed {seed}",
            {"evaluate": arm.recipe.evaluate, "context_length": context_length, **own_boundary(train)},
            {"train": train, "corpus": self._corpus, "tokenizer": self._tokenizer},
            only={"evaluate": LOSS_FIELDS},
            slots=train.slots,
        )
        scored = self.scoring.of(f"{arm.name} seed {seed}", [train], context_length)
        kind = sibling_kind(arm.recipe)
        if kind is not None and seed == arm.recipe.seeds[0] and arm.recipe.evaluate.gate:
            label = f"{arm.name} seed {seed}"
            scored = replace(scored, gate=gate_step(label, arm.recipe, train, self._corpus, self._tokenizer, kind))
        run = Run(arm, seed, train, evaluate, scored)
        self.made.setdefault(train.fingerprint, run)
        return run

    def _train(self, arm: Arm, seed: int) -> Step:
        recipe = arm.recipe
        inputs = arm_rows(recipe, self._corpus, self._tokenizer, self._teachers)
        inputs |= {"corpus": self._corpus, "tokenizer": self._tokenizer}
        # Bfloat16, the default of 0.1, is not named, float32 is; where `auto` stands for it, a run of 0.1 serves too.
        dtype = resolve_dtype(recipe.train.dtype, recipe.train.device)
        named = recipe.train.model_copy(update={"dtype": "auto" if dtype == "bfloat16" else dtype})
        codes = arm_codes(recipe)
        # A pretrained model is known by its content, as a tokenizer is: weights that change under a path train again.
        digest = None if recipe.model.init_from is None else local_model_digest(recipe.model.init_from)
        sections: dict[str, Any] = {
            "stream": with_generations(recipe),
            "mixture": recipe.mixture,
            "model": recipe.model if digest is None else {"init_from_sha256": digest},
            "train": named,
            "seed": seed,
        }
        if recipe.train.evaluate_every_steps and recipe.stream.attention_boundary != "none":
            # The validation losses in metrics.jsonl keep the arm's boundary; those of 0.1 went across it.
            sections["validation"] = "inside documents"
        return Step.of(
            "train",
            f"train {arm.name} seed {seed}",
            sections | ({"code": codes} if codes else {}),
            inputs,
            former={"train": recipe.train},
            facts={"model": recipe.model, "train": recipe.train.model_copy(update={"dtype": dtype})},
            settings=own_code_settings(codes),
            slots=recipe.train.num_processes if _fits_one_thread(recipe) else None,
        )


def _fits_one_thread(recipe: Recipe) -> bool:
    """Whether the student is small enough that runs go side by side, one thread each."""
    if recipe.model.init_from is not None:
        return False
    context_length = recipe.train.context_length
    shape = resolve_config(recipe.model, vocab_size=expected_vocab_size(recipe), context_length=context_length)
    return shape.num_parameters < _SIDE_BY_SIDE_PARAMETERS


def expected_vocab_size(recipe: Recipe) -> int:
    """Vocabulary of the student before the tokenizer is there: as asked for, as read from its file, else Llama-3's.

    A hub name is looked up in the local cache only: plans do not download.
    """
    if recipe.tokenizer.kind == "train":
        return recipe.tokenizer.vocab_size
    return read_vocab_size(recipe.tokenizer.source, recipe.tokenizer.revision) or LLAMA_3_VOCAB_SIZE


def _in_priority(
    corpus: Step, tokenizer: Step, runs: tuple[Run, ...], ensembles: Sequence[Ensemble]
) -> tuple[Step, ...]:
    """Generation first (it takes longest), then the runs in order, each step after its inputs and once.

    Of the last seed the longest runs come first, so that no long one is left over for one slot at the end.
    The largest number of generations of a task is written first: a document's stand together then, so that a server
    processes their common prompt once, and what fewer of them need is there.
    """
    rows = [step for run in runs for step in run.train.inputs.values() if "generations" in step.inputs]
    rows.sort(key=lambda step: -step.inputs["generations"].config["num_generations"])
    written = [step.inputs["generations"] for step in rows]
    gates = [run.scored.gate for run in runs if run.scored.gate is not None]
    ordered = [corpus, tokenizer]
    ordered += [step for kind in ("generate", "sample") for step in written if step.kind == kind]
    ordered += [gate.inputs["probe"] for gate in gates if "probe" in gate.inputs]
    last = sorted((run for run in runs if run.seed == runs[-1].seed), key=_training_length, reverse=True)
    in_turn = (*(run for run in runs if run.seed != runs[-1].seed), *last)
    ordered += [step for run in in_turn for step in (run.train, run.evaluate)]
    ordered += [ensemble.losses for ensemble in ensembles]
    for scored in (*(run.scored for run in runs), *(ensemble.scored for ensemble in ensembles)):
        ordered += scored.steps
    return tuple(with_inputs(ordered))


def _training_length(run: Run) -> float:
    """How long a run's training is beside that of others: passes over 1x real tokens that it is as long as."""
    recipe = run.arm.recipe
    real_share = 1 - float(recipe.mixture.synthetic_fraction)
    return recipe.mixture.real_multiple * recipe.train.real_epochs / real_share if real_share else math.inf
