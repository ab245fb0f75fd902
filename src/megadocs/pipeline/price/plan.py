"""What a recipe will do, and what it will cost, before anything runs.

    plan = build_plan(recipe, Path("runs/quickstart"))     # reads the corpus, starts nothing, writes nothing
    for line in plan.lines: print(line.name, line.status, line.num_tokens, line.seconds)

Counts are exact where their inputs are published and estimates (`is_estimate`) where they are not. Times come from
finished work (`rates.py`): of this workspace, else of earlier runs on this machine, else from rates measured on a
two-core virtual machine (lab/LOG.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from megadocs.errors import RecipeError
from megadocs.kinds import SAMPLE, row_kind
from megadocs.machine import resolve_dtype, usable_cores
from megadocs.model import LlamaConfig, resolve_config
from megadocs.model.pretrained import local_model
from megadocs.pipeline.price.corpus_sizes import CorpusSizes, characters, measure_corpus
from megadocs.pipeline.price.generation import GenerationPricer, reply_tokens
from megadocs.pipeline.price.lines import Plan, PlanLine
from megadocs.pipeline.price.rates import StageTimes, load_rates
from megadocs.pipeline.price.room import order_room
from megadocs.pipeline.price.run_length import clock_of, estimated_steps, refuse_large_batch
from megadocs.pipeline.price.wall_time import wall_seconds
from megadocs.pipeline.stages.arm_data import published_mixture
from megadocs.pipeline.steps.experiment import Experiment, Run, build_experiment, expected_vocab_size
from megadocs.pipeline.steps.places import check_places, unseen_names
from megadocs.pipeline.steps.report import report_step
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import Recipe
from megadocs.store.artifact import Workspace
from megadocs.store.lock import is_locked

#: Training rate of one core, model FLOPs per second, by the type of its products: bfloat16 with AMX; float32 on a
#: processor that is not faster in bfloat16 (22,700 tokens a second of the quickstart's student).
_TRAIN_FLOPS_PER_CORE = {"bfloat16": 1.2e11, "float32": 3.6e10}
#: A zero-shot item: a question with two to four answers, scored separately.
_TOKENS_PER_BENCHMARK_ITEM = 160
#: Sampling is bound by memory and by one token at a time: FLOPs a second lower than training's by about this factor.
_SAMPLING_COST = 5.0
#: Characters of a generator's token, for rows that are not written yet.
_CHARACTERS_PER_NEW_TOKEN = 4.5
#: Per-run overhead of training and of scoring, for a small student.
_RUN_SECONDS, _SCORE_SECONDS = 0.4, 0.3


def build_plan(
    recipe: Recipe,
    root: Path,
    num_slots: int | None = None,
    *,
    sizes: CorpusSizes | None = None,
    only: Collection[str] | None = None,
    whole: Recipe | None = None,
    allow_code: bool = False,
) -> Plan:
    """Price a recipe in a workspace; `MegadocsError` for what would fail at the start anyway.

    Args:
        num_slots: steps side by side; None: one per core of this machine.
        sizes: by `plan_sizes`, where the corpus has been measured already.
        only: price steps of these kinds, as if the others were there; None: all.
        whole: where a search prices settings as arms, the recipe with all arms and seeds (see `build_experiment`).
            A setting whose runs have no optimiser step then is a line with `num_steps` 0, else an error.
    """
    if whole is None:
        check_places(recipe)
    workspace = Workspace(root)
    slots = num_slots or usable_cores()
    sizes = sizes or plan_sizes(recipe, root)
    experiment = planned_experiment(recipe, sizes, whole, allow_code=allow_code)
    pricer = _Pricer(recipe, workspace, sizes, experiment, slots, counts_rows=whole is None)
    lines = [pricer.line(step) for step in experiment.steps if only is None or step.kind in only]
    if whole is None:
        _refuse_empty_runs(lines)
    report = pricer.report(experiment, is_open=any(line.status != "done" for line in lines))
    seconds = _wall_seconds(experiment, lines, slots, pricer.stages) + report.seconds
    room = order_room(experiment, lines, sizes) if whole is None else ()
    return Plan(
        (*lines, report),
        slots,
        seconds,
        experiment.left_out,
        sizes.to_json(),
        pricer.rates.source,
        room,
        unseen_names(recipe) if whole is None else (),
    )


def planned_experiment(
    recipe: Recipe, sizes: CorpusSizes, whole: Recipe | None = None, *, allow_code: bool = False
) -> Experiment:
    """The steps that a plan prices; without a corpus, those that need no other data either."""
    if sizes.documents is None:  # made for another machine, where the other sets and the benchmarks lie too
        scored = recipe.evaluate.model_copy(update={"sets": {}, "benchmarks": []})
        recipe = recipe.model_copy(update={"evaluate": scored})
    return build_experiment(recipe, sizes.step, sizes.facts, whole=whole, allow_code=allow_code)


def plan_sizes(recipe: Recipe, root: Path) -> CorpusSizes:
    """The corpus, counted."""
    return measure_corpus(recipe, Workspace(root))


class _Pricer:
    """Prices steps one by one."""

    def __init__(
        self,
        recipe: Recipe,
        workspace: Workspace,
        sizes: CorpusSizes,
        experiment: Experiment,
        num_slots: int,
        *,
        counts_rows: bool,
    ) -> None:
        self._counts_rows = counts_rows  # of a search with hundreds of settings each would have its rows ordered
        self._recipe = recipe
        self._workspace = workspace
        self._sizes = sizes
        runs = (*experiment.runs, *experiment.members)
        self._runs = {step.fingerprint: run for run in runs for step in (run.train, run.evaluate)}
        self._num_slots = num_slots
        self.rates = load_rates(workspace, recipe.generate.engine)
        self._generation = GenerationPricer(recipe, workspace, sizes, self.rates.generate)
        self.stages = StageTimes()

    def line(self, step: Step) -> PlanLine:
        """The step's line."""
        slots = min(step.slots or self._num_slots, self._num_slots)
        run = self._runs.get(step.fingerprint)
        arm = run.arm.name if run else None
        if find_artifact(step, self._workspace) is not None:
            return PlanLine(step.name, step.kind, step.fingerprint, "done", slots=slots, arm=arm)
        lock = self._workspace.root / "locks" / f"{step.kind}-{step.fingerprint}.lock"
        status = "running" if is_locked(lock) else "to do"
        price: dict[str, Any]
        match step.kind:
            case "generate":
                price = self._generation.price(step)
            case "train":
                price = self._training(self._runs[step.fingerprint], slots)
            case "evaluate":
                price = self._evaluation(self._runs[step.fingerprint], slots)
            case "ensemble" | "extra_set" | "benchmark" | "gate":
                price = self._scoring(step, slots)
            case "sample":
                price = self._sampling(step, slots)
            case "rows":
                price = {"seconds": self._rows_characters(step) * self.stages.encode_seconds_per_character}
            case "tokenizer":
                price = {"seconds": self.stages.tokenizer_seconds}
            case _:
                price = {"seconds": self.stages.corpus_seconds}
        if step.kind != "generate":  # its seconds are its server's
            price["seconds"] += self.stages.publish_seconds
        return PlanLine(step.name, step.kind, step.fingerprint, status, slots=slots, arm=arm, **price)

    def report(self, experiment: Experiment, *, is_open: bool) -> PlanLine:
        """The report's line; `is_open`: some step before it is to do."""
        step = report_step(self._recipe, experiment, self._workspace, {})
        if not is_open and find_artifact(step, self._workspace) is not None:
            return PlanLine(step.name, step.kind, step.fingerprint, "done")
        runs = len(experiment.runs) * self.stages.report_seconds_per_run
        seconds = self.stages.publish_seconds + self.stages.report_seconds + runs
        return PlanLine(step.name, step.kind, step.fingerprint, "to do", seconds=seconds)

    def _rows_characters(self, step: Step) -> float:
        """Characters that a rows step encodes."""
        if self._sizes.documents is None:
            return 0.0
        once = characters(self._sizes.documents.train_multiple(1))
        generations = step.inputs.get("generations")
        if generations is None:
            return characters(self._sizes.documents.train)
        task = generations.config["task"]
        if task == SAMPLE:
            return float(once)
        new: float = step.config["num_generations"] * reply_tokens(self._recipe, task) * _CHARACTERS_PER_NEW_TOKEN
        return (once if row_kind(step.config["kind"]).is_stretched else 0) + self._sizes.facts.num_train_1x * new

    def _training(self, run: Run, slots: int) -> dict[str, Any]:
        config = run.arm.recipe
        context_length, batch_size = config.train.context_length, config.train.batch_size
        real_tokens = self._sizes.train_tokens(config.mixture.real_multiple)
        clock = clock_of(config, real_tokens, self._synthetic_tokens(run))
        num_steps = estimated_steps(clock, batch_size)
        mixture = published_mixture(run.train, self._workspace) if self._counts_rows else None
        if mixture is not None:  # the rows are there: as many steps as training will make of them
            num_steps = mixture.num_steps
        elif num_steps and self._counts_rows and config.mixture.has_real_stream and self._sizes.counted:
            refuse_large_batch(run.arm.name, clock, batch_size)
        num_tokens = num_steps * batch_size * context_length
        seconds = _RUN_SECONDS + num_tokens * flops_per_token(config) / (self._train_rate() * slots)
        price: dict[str, Any] = {"num_steps": num_steps, "num_tokens": num_tokens, "seconds": seconds}
        return price | {"flops": num_tokens * flops_per_token(config), "is_estimate": mixture is None}

    def _synthetic_tokens(self, run: Run) -> float:
        """Tokens of an arm's synthetic rows and of the real documents among them, once."""
        tokens = self._sizes.train_tokens(1)
        for step in run.train.inputs.values():
            generations = step.inputs.get("generations")
            if generations is not None:
                task = generations.config["task"]
                num_documents = 1 if task == SAMPLE else self._sizes.facts.num_train_1x
                tokens += num_documents * step.config["num_generations"] * reply_tokens(self._recipe, task)
        return tokens

    def _evaluation(self, run: Run, slots: int) -> dict[str, Any]:
        num_tokens = round(3 * self._sizes.held_out_tokens)  # windowed, and sliding alone
        flops = num_tokens * flops_per_token(run.arm.recipe) / 3  # forward only
        seconds = _SCORE_SECONDS + flops / (self._train_rate() * slots)
        return {"num_tokens": num_tokens, "flops": flops, "seconds": seconds, "is_estimate": True}

    def _scoring(self, step: Step, slots: int) -> dict[str, Any]:
        """A benchmark, an additional set, or an ensemble's validation and test sets: one forward pass a member."""
        members = [self._runs[needed.fingerprint] for needed in step.inputs.values() if needed.kind == "train"]
        if step.kind == "benchmark":
            num_tokens = step.config["expected_items"] * _TOKENS_PER_BENCHMARK_ITEM
        else:  # an additional set is not read for the plan: as large as validation and test together
            num_tokens = round(3 * self._sizes.held_out_tokens)
        flops = sum(num_tokens * flops_per_token(run.arm.recipe) / 3 for run in members)
        seconds = _SCORE_SECONDS + flops / (self._train_rate() * slots)
        return {"num_tokens": num_tokens, "flops": flops, "seconds": seconds, "is_estimate": True}

    def _sampling(self, step: Step, slots: int) -> dict[str, Any]:
        teachers = [self._runs[needed.fingerprint] for needed in step.inputs.values() if needed.kind == "train"]
        num_tokens = step.config["num_generations"] * step.config["max_new_tokens"]
        flops = sum(num_tokens * flops_per_token(run.arm.recipe) / 3 for run in teachers)
        seconds = _SAMPLING_COST * flops / (self._train_rate() * slots)
        return {"num_tokens": num_tokens, "seconds": seconds, "is_estimate": True}

    def _train_rate(self) -> float:
        """Model FLOP/s of one slot."""
        train = self._recipe.train
        by_table = _TRAIN_FLOPS_PER_CORE[resolve_dtype(train.dtype, train.device)]
        return self.rates.train or self._recipe.plan.train_flops_per_second or by_table


def flops_per_token(recipe: Recipe) -> float:
    """Training FLOPs per token of the recipe's student, forward and backward."""
    context_length = recipe.train.context_length
    return student_shape(recipe).flops_per_token(context_length)


def student_shape(recipe: Recipe) -> LlamaConfig:
    """The student's shape: of `model.init_from` its folder's own; the preset's where the hub's cache has none of it.

    The plan then says so (`unseen_names`).
    """
    context_length, source = recipe.train.context_length, recipe.model.init_from
    folder = local_model(source) if source is not None else None
    if folder is not None:
        from megadocs.model.hf_import import read_config  # imports torch: only where a folder is to be read

        return read_config(folder, context_length=context_length)
    return resolve_config(recipe.model, vocab_size=expected_vocab_size(recipe), context_length=context_length)


def _refuse_empty_runs(lines: Iterable[PlanLine]) -> None:
    """`RecipeError` for the first run whose epochs fill no batch: training refuses it too."""
    for line in lines:
        if line.num_steps == 0:
            raise RecipeError(
                f"{line.name}: its epochs do not fill one batch",
                where=f"arms.{line.arm}",
                remedy="raise train.real_epochs (synthetic_epochs without a real stream), lower train.batch_size or "
                "train.context_length, or add documents",
            )


def _wall_seconds(experiment: Experiment, lines: Iterable[PlanLine], num_slots: int, stages: StageTimes) -> float:
    """The steps in the runner's order, with the start of their workers and of the command itself."""
    seconds = {line.fingerprint: line.seconds for line in lines if line.status != "done"}
    if not seconds:
        return 0.0
    return stages.command_seconds + wall_seconds(experiment.steps, seconds, num_slots, stages.workers)
