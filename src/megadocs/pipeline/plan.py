"""What a recipe will do, and what it will cost, before anything runs.

    plan = build_plan(recipe, Path("runs/quickstart"))     # reads the corpus, starts nothing, writes nothing
    for line in plan.lines: print(line.name, line.status, line.num_tokens, line.seconds)

Counts are exact where their inputs are published and estimates (`is_estimate`) where they are not. Times come from the
rates of finished steps of this workspace, else from rates measured on a two-core virtual machine (lab/LOG.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megadocs.corpus import SplitCorpus, iter_documents, read_corpus, source_digest, split_documents
from megadocs.generate import load_index, plan_requests
from megadocs.model import resolve_config
from megadocs.pipeline.runner import find_artifact
from megadocs.pipeline.stages.generate import with_num_generations
from megadocs.pipeline.step import Step
from megadocs.pipeline.steps import (
    CorpusFacts,
    Experiment,
    Run,
    build_experiment,
    corpus_step,
    expected_vocab_size,
)
from megadocs.recipe import GenerateConfig, Recipe
from megadocs.store.artifact import Artifact, Workspace
from megadocs.store.lock import is_locked

#: New tokens per second of one llamacpp thread with SmolLM2-135M, and of other engines' servers (a guess, said so).
_NEW_TOKENS_PER_SECOND = {"llamacpp": 55.0, "fake": 20_000.0}
_SERVER_TOKENS_PER_SECOND = 1000.0
#: Share of the length limit that replies use (measured on the quickstart: 0.85 of 160 and 96 tokens).
_REPLY_FRACTION = 0.85
#: Training rate of one core in bfloat16, model FLOPs per second.
_TRAIN_FLOPS_PER_CORE = 1.2e11
#: English characters per token of a 2,048-vocabulary BPE trained on the documents, and of a large vocabulary.
_CHARACTERS_PER_TOKEN = {"train": 3.9, "load": 4.5}
_SECONDS_OF_KIND = {"corpus": 1.0, "tokenizer": 2.0, "rows": 1.0, "report": 5.0}


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One step with its price.

    Attributes:
        status: done, running (another process has it) or to do.
        num_requests: generations still to be written (generate), else None.
        num_tokens: new tokens still to be generated, or tokens to train on.
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
    num_tokens: int | None = None
    num_steps: int | None = None
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
        seconds: expected wall time of what is left.
        left_out: arm -> why the corpus cannot serve it.
        corpus: document counts.
    """

    lines: tuple[PlanLine, ...]
    num_slots: int
    seconds: float
    left_out: Mapping[str, str]
    corpus: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def build_plan(recipe: Recipe, root: Path, num_slots: int | None = None) -> Plan:
    """Price a recipe in a workspace; `MegadocsError` for what would fail at the start anyway."""
    workspace = Workspace(root)
    slots = num_slots or len(os.sched_getaffinity(0))
    corpus = corpus_step(recipe, source_digest(recipe.corpus))
    artifact = find_artifact(corpus, workspace)
    documents = (
        read_corpus(artifact.path) if artifact else split_documents(iter_documents(recipe.corpus), recipe.corpus)
    )
    facts = CorpusFacts(documents.num_train_1x, documents.max_multiple)
    experiment = build_experiment(recipe, corpus, facts)
    pricer = _Pricer(recipe, workspace, documents, experiment, slots)
    lines = tuple(pricer.line(step) for step in experiment.steps)
    counts = {
        "num_train_1x": documents.num_train_1x,
        "max_multiple": documents.max_multiple,
        "num_validation": len(documents.validation),
        "num_test": len(documents.test),
    }
    return Plan(lines, slots, _wall_seconds(lines, slots), experiment.left_out, counts)


class _Pricer:
    """Prices steps one by one."""

    def __init__(
        self, recipe: Recipe, workspace: Workspace, documents: SplitCorpus, experiment: Experiment, num_slots: int
    ) -> None:
        self._recipe = recipe
        self._workspace = workspace
        self._documents = documents
        self._runs = {run.train.fingerprint: run for run in experiment.runs}
        self._arms = {step.fingerprint: run.arm.name for run in experiment.runs for step in (run.train, run.evaluate)}
        self._num_slots = num_slots
        self._rates = _measured_rates(workspace.artifacts())
        self._characters_per_token = _CHARACTERS_PER_TOKEN[recipe.tokenizer.kind]

    def line(self, step: Step) -> PlanLine:
        """The step's line."""
        slots = min(step.slots or self._num_slots, self._num_slots)
        arm = self._arms.get(step.fingerprint)
        if find_artifact(step, self._workspace) is not None:
            return PlanLine(step.name, step.kind, step.fingerprint, "done", slots=slots, arm=arm)
        lock = self._workspace.root / "locks" / f"{step.kind}-{step.fingerprint}.lock"
        status = "running" if is_locked(lock) else "to do"
        price: dict[str, Any]
        match step.kind:
            case "generate":
                price = self._generation(step)
            case "train":
                price = self._training(self._runs[step.fingerprint], slots)
            case "evaluate":
                price = self._evaluation(slots)
            case _:
                price = {"seconds": _SECONDS_OF_KIND[step.kind]}
        return PlanLine(step.name, step.kind, step.fingerprint, status, slots=slots, arm=arm, **price)

    def _generation(self, step: Step) -> dict[str, Any]:
        config = GenerateConfig.model_validate(step.config["generate"])
        task, ledger = step.config["task"], self._workspace.root / "ledger" / step.config["task"]
        documents = self._documents.train_multiple(1)
        config = with_num_generations(config, task, step.config["num_generations"])
        requests = [request for request in plan_requests(config, task, documents) if not request.skip]
        found = load_index(ledger).find([request.identity for request in requests])
        pending = int((found < 0).sum())
        section = config.rephrase if task == "rephrase" else config.thought
        assert section is not None
        num_tokens = round(pending * section.max_new_tokens * _REPLY_FRACTION)
        default = _NEW_TOKENS_PER_SECOND.get(config.engine.kind, _SERVER_TOKENS_PER_SECOND)
        rate = self._rates.get("generate", default * config.engine.num_servers)
        return {"num_requests": pending, "num_tokens": num_tokens, "seconds": num_tokens / rate, "is_estimate": True}

    def _training(self, run: Run, slots: int) -> dict[str, Any]:
        config = run.arm.recipe
        window_tokens = config.train.batch_size * config.train.context_length
        fraction = float(config.mixture.synthetic_fraction)
        real = self._documents.train_multiple(config.mixture.real_multiple)
        real_windows = int(self._tokens(len(d.text) for d in real) / config.train.context_length)
        epochs = config.train.real_epochs / (1 - fraction) if fraction < 1 else config.train.synthetic_epochs or 1.0
        num_steps = int(epochs * real_windows / config.train.batch_size)
        num_tokens = num_steps * window_tokens
        flops = num_tokens * flops_per_token(config)
        rate = self._rates.get("train", _TRAIN_FLOPS_PER_CORE) * slots
        return {"num_steps": num_steps, "num_tokens": num_tokens, "seconds": flops / rate, "is_estimate": True}

    def _evaluation(self, slots: int) -> dict[str, Any]:
        scored = [*self._documents.validation, *self._documents.test]
        num_tokens = round(3 * self._tokens(len(document.text) for document in scored))  # windowed, and sliding alone
        flops = num_tokens * flops_per_token(self._recipe) / 3  # forward only
        return {"num_tokens": num_tokens, "seconds": 1 + flops / (_TRAIN_FLOPS_PER_CORE * slots), "is_estimate": True}

    def _tokens(self, lengths: Iterable[int]) -> float:
        return sum(lengths) / self._characters_per_token


def flops_per_token(recipe: Recipe) -> float:
    """Training FLOPs per token of the recipe's student, forward and backward."""
    context_length = recipe.train.context_length
    shape = resolve_config(recipe.model, vocab_size=expected_vocab_size(recipe), context_length=context_length)
    return shape.flops_per_token(context_length)


def _measured_rates(artifacts: Iterable[Artifact]) -> dict[str, float]:
    """Rates of this workspace's finished steps: new tokens/s of generation, FLOP/s per slot of training."""
    sums: dict[str, list[float]] = {}
    for artifact in artifacts:
        rate = artifact.summary.get("rate_for_plan")
        if rate:
            sums.setdefault(artifact.step, []).append(rate)
    return {step: sum(rates) / len(rates) for step, rates in sums.items()}


def _wall_seconds(lines: Iterable[PlanLine], num_slots: int) -> float:
    """Work over slots, at least the longest step."""
    to_do = [line for line in lines if line.status != "done"]
    work = sum(line.seconds * line.slots for line in to_do)
    return max([work / num_slots, *(line.seconds for line in to_do)], default=0.0)
