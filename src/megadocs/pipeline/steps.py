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
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from megadocs.errors import RecipeError
from megadocs.generate import engine_info
from megadocs.generate.plan import Task, build_templates
from megadocs.model import resolve_config
from megadocs.recipe import Arm, Recipe, build_arms, fingerprint
from megadocs.recipe.generation import GenerateConfig
from megadocs.recipe.streams import StreamConfig
from megadocs.streams import ORDERING_NAMES, find_ordering, required_kinds, synthetic_parts

#: Raised by hand when a step's output would change for the same configuration and inputs.
STEP_VERSIONS: Mapping[str, int] = {
    "corpus": 1,
    "tokenizer": 1,
    "generate": 1,
    "rows": 1,
    "train": 1,
    "evaluate": 1,
    "report": 2,
}

#: Rows of this kind are built from this generation task.
TASK_OF_KIND: Mapping[str, Task] = {
    "rephrase": "rephrase",
    "latent_thoughts": "thought",
    "thoughts_appended": "thought",
}

#: Fields of `train` that decide how a run is carried out, not what it computes.
_OPERATIONAL_TRAIN_FIELDS = {"checkpoint_minutes", "keep_checkpoints", "log_every_steps", "trackers"}

#: Below this size one thread per run and runs side by side beat one run on all cores (measured: lab/LOG.md).
_SIDE_BY_SIDE_PARAMETERS = 8_000_000


@dataclass(frozen=True)
class Step:
    """One unit of work.

    Attributes:
        kind: key of `STEP_VERSIONS` and of the stage that carries it out.
        name: what people call it; not part of its identity.
        config: JSON value that, with the inputs, decides the result; complete, for the record.
        identity: the part of `config` that enters the fingerprint.
        inputs: role -> the step whose artifact is needed.
        settings: JSON value that decides only how the work is done.
        slots: CPU slots it takes; None takes them all.
        exclusive: steps with the same word never run at the same time.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    inputs: Mapping[str, Step] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    slots: int | None = 1
    exclusive: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of kind, version, identity and the inputs' fingerprints."""
        inputs = {role: step.fingerprint for role, step in self.inputs.items()}
        return fingerprint([self.kind, STEP_VERSIONS[self.kind], self.identity, inputs])


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
    config = {"corpus": _plain(recipe.corpus), "source_sha256": source_digest}
    return Step("corpus", "corpus", config, config | {"corpus": _chosen(recipe.corpus)})


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
    config = {"tokenizer": _plain(recipe.tokenizer)}
    return Step("tokenizer", "tokenizer", config, {"tokenizer": _chosen(recipe.tokenizer)}, inputs)


def generate_step(config: GenerateConfig, task: Task, num_generations: int, corpus: Step) -> Step:
    """Write G generations of one task for every 1x training document. Steps of one task share its ledger."""
    engine = config.engine
    local = engine.kind == "llamacpp"
    identity = {
        "task": task,
        "num_generations": num_generations,
        "requests": [template.digest for template in build_templates(config, task, engine_info(engine))],
        "gates": _chosen(config.gates),
        "long_documents": config.long_documents,
        "context_tokens": engine.context_tokens,
        "split_tokenizer": config.split_tokenizer,
        "max_attempts": config.max_attempts,
    }
    return Step(
        "generate",
        f"generate {task} G={num_generations}",
        identity | {"generate": _plain(config)},
        identity,
        {"corpus": corpus},
        slots=engine.num_servers * engine.num_threads if local and engine.num_threads else None if local else 1,
        exclusive="engine" if engine.kind == "vllm" else f"ledger {task}",
    )


def real_rows_step(corpus: Step, tokenizer: Step) -> Step:
    """Tokenise every training document, once."""
    return Step("rows", "rows real", {"kind": "real"}, {"kind": "real"}, {"corpus": corpus, "tokenizer": tokenizer})


def synthetic_rows_step(kind: str, num_generations: int, recipe: Recipe, corpus: Step, tokenizer: Step) -> Step:
    """Tokenise the rows of one kind: the first G rephrases, or the documents stretched by G thoughts."""
    generations = generate_step(recipe.generate, TASK_OF_KIND[kind], num_generations, corpus)
    config: dict[str, Any] = {"kind": kind, "num_generations": num_generations}
    if kind != "rephrase":
        config |= {"think_open": recipe.stream.think_open, "think_close": recipe.stream.think_close}
    inputs = {"corpus": corpus, "tokenizer": tokenizer, "generations": generations}
    return Step("rows", f"rows {kind} G={num_generations}", config, config, inputs)


def arm_rows(recipe: Recipe, corpus: Step, tokenizer: Step, *, allow_code: bool) -> dict[str, Step]:
    """The rows that one arm reads: role -> step."""
    steps: dict[str, Step] = {}
    if "real" in required_kinds(recipe.stream, recipe.mixture, allow_code=allow_code):
        steps["rows real"] = real_rows_step(corpus, tokenizer)
    for part in synthetic_parts(recipe.stream, recipe.mixture):
        kinds = find_ordering(part.ordering, real_document=part.real_document, allow_code=allow_code).kinds
        for kind in kinds:
            if kind == "real":
                continue
            if kind not in TASK_OF_KIND:
                raise RecipeError(
                    f"rows of the kind {kind!r} cannot be made from a recipe yet",
                    where="stream.ordering",
                    remedy=f"choose an ordering over {', '.join(TASK_OF_KIND)}",
                )
            wanted = part.num_generations
            if kind != "rephrase":
                wanted = part.num_thoughts or (None if "rephrase" in kinds else part.num_generations)
            num_generations = _checked_generations(recipe, TASK_OF_KIND[kind], wanted)
            role = f"rows {kind} {num_generations}"
            steps[role] = synthetic_rows_step(kind, num_generations, recipe, corpus, tokenizer)
    return steps


def _checked_generations(recipe: Recipe, task: Task, wanted: int | None) -> int:
    """The G of one task that a stream uses: its own, or as many as are generated."""
    section = recipe.generate.rephrase if task == "rephrase" else recipe.generate.thought
    if section is None:
        raise RecipeError(
            f"the ordering {recipe.stream.ordering!r} needs the task {task!r}, which the recipe does not generate",
            where=f"generate.{task}",
            remedy=f"add a section generate.{task}",
        )
    if wanted is not None and wanted > section.num_generations:
        raise RecipeError(
            f"{wanted} generations asked for, {section.num_generations} are generated",
            where="stream.num_generations",
            remedy=f"raise generate.{task}.num_generations to {wanted}; only the missing ones are written",
        )
    return wanted or section.num_generations


def _run(arm: Arm, seed: int, corpus: Step, tokenizer: Step, *, allow_code: bool) -> Run:
    """The steps that train and score one arm with one seed."""
    recipe = arm.recipe
    inputs = arm_rows(recipe, corpus, tokenizer, allow_code=allow_code)
    inputs |= {"corpus": corpus, "tokenizer": tokenizer}
    stream = _with_generations(recipe)
    sections = {"stream": stream, "mixture": recipe.mixture, "model": recipe.model, "train": recipe.train}
    identity = {name: _chosen(section) for name, section in sections.items()}
    for name in _OPERATIONAL_TRAIN_FIELDS:
        identity["train"].pop(name, None)
    train = Step(
        "train",
        f"train {arm.name} seed {seed}",
        {name: _plain(section) for name, section in sections.items()} | {"seed": seed},
        identity | {"seed": seed},
        inputs,
        settings={"allow_code": allow_code},
        slots=1 if _fits_one_thread(recipe) else None,
    )
    context_length = recipe.train.context_length
    evaluate = Step(
        "evaluate",
        f"evaluate {arm.name} seed {seed}",
        {"evaluate": _plain(recipe.evaluate), "context_length": context_length},
        {"evaluate": _chosen(recipe.evaluate), "context_length": context_length},
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


def _with_generations(recipe: Recipe) -> StreamConfig:
    """The stream with its G written out: G = 2 of 4 generated is the same run as G = 2 of 2."""
    stream = recipe.stream
    if not synthetic_parts(stream, recipe.mixture) or stream.ordering not in ORDERING_NAMES:
        return stream
    kinds = find_ordering(stream.ordering, real_document=stream.real_document).kinds
    task = TASK_OF_KIND.get(kinds[0])
    if task is None:
        return stream
    return stream.model_copy(update={"num_generations": _checked_generations(recipe, task, stream.num_generations)})


def _chosen(section: Any) -> dict[str, Any]:
    """What a recipe section sets away from its defaults, as JSON values."""
    chosen: dict[str, Any] = section.model_dump(mode="json", exclude_defaults=True)
    return chosen


def _plain(section: Any) -> dict[str, Any]:
    """A recipe section as JSON values."""
    plain: dict[str, Any] = section.model_dump(mode="json")
    return plain
