"""What a machine does: rates that a plan's times rest on, measured by `probe.py` or, without a probe, a default's.

    rates = load_probe(root, num_slots=2)     # what was measured before on this machine, or None

The result of a probe is kept in `<workspace>/probe.json`, for this machine, number of slots and these shapes of
student; a plan without `--probe` uses it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from megadocs.pipeline.price.wall_time import WorkerTimes
from megadocs.pipeline.steps.experiment import expected_vocab_size
from megadocs.recipe import EngineConfig, Recipe, fingerprint
from megadocs.store.files import read_json

#: At the top of the workspace.
PROBE_FILE = "probe.json"
#: Raised when the fields change: an older file is measured again.
PROBE_FORMAT = 4
#: Servers on a GPU read much faster than they write (a guess), a CPU core with four replies at once hardly: 24
#: rephrases (2,496 tokens read, 2,883 written) took 38.7 s, 24 thoughts (4,546 and 2,012) 40.0 s.
_READING_SPEED = {"llamacpp": 2.1}
_SERVER_READING_SPEED = 15.0
_SHAPE_FIELDS = ("context_length", "batch_size", "micro_batch_size", "dtype", "device", "compile", "ema_decay")


@dataclass(frozen=True, slots=True)
class ShapeRates:
    """What one shape of student takes, with as many of them side by side as steps will be.

    Attributes:
        run_seconds: of a run beside its steps (opening its data, building, saving).
        step_seconds: of an optimiser step.
        score_seconds: of scoring beside the forward passes (loading the model, writing scores).
        score_seconds_per_token: of both ways of scoring, per token of the documents.
    """

    run_seconds: float
    step_seconds: float
    score_seconds: float
    score_seconds_per_token: float


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What the steps beside generation, training and scoring take; the defaults are of a two-core virtual machine.

    Attributes:
        workers: of worker processes.
        command_seconds: until the command has found its first step to do.
        publish_seconds: of any step beside its work: lock, inputs' hashes, its own record.
        corpus_seconds: reading, cutting and splitting this corpus.
        tokenizer_seconds: training or loading the student's tokenizer.
        encode_seconds_per_character: rows of text.
        report_seconds, report_seconds_per_run: the report, whole and for each run in it; not measured, a default.
    """

    workers: WorkerTimes = field(default_factory=lambda: WorkerTimes(process_seconds=0.6, torch_seconds=3.0))
    command_seconds: float = 0.7
    publish_seconds: float = 0.05
    corpus_seconds: float = 1.0
    tokenizer_seconds: float = 0.5
    encode_seconds_per_character: float = 1e-6
    report_seconds: float = 0.2
    report_seconds_per_run: float = 0.03


@dataclass(frozen=True, slots=True)
class TaskRates:
    """What the engine makes of one task.

    Attributes:
        tokens_per_second: new ones, and prompt tokens that were not in the cache at their share of the time
            (`reading_speed`), as many requests at once as configured. A short probe reads more than a whole run.
        start_seconds: until the engine answers.
        mean_reply_tokens: new tokens of a reply; None: too few were seen.
    """

    tokens_per_second: float
    start_seconds: float
    mean_reply_tokens: float | None = None


def reading_speed(engine: EngineConfig) -> float:
    """How many tokens of a prompt an engine reads in the time in which it writes one."""
    return _READING_SPEED.get(engine.kind, _SERVER_READING_SPEED)


@dataclass(frozen=True, slots=True)
class Probe:
    """What was measured.

    Attributes:
        machine: what it was measured on; another machine has to measure again.
        shapes: `shape_key` -> rates.
        stages: of the other steps.
        generation: task -> rates of the engine as configured.
        characters_per_token: of the student's tokenizer on the 1x training documents, and on others.
    """

    machine: Mapping[str, Any]
    shapes: Mapping[str, ShapeRates]
    stages: StageTimes = field(default_factory=StageTimes)
    generation: Mapping[str, TaskRates] = field(default_factory=dict)
    characters_per_token: tuple[float, float] | None = None
    format: int = PROBE_FORMAT


def shape_key(recipe: Recipe) -> str:
    """Names what the speed of a run depends on: the student's shape, the batch, the compute type."""
    train = recipe.train.model_dump(mode="json")
    fields = {name: train[name] for name in _SHAPE_FIELDS}
    return fingerprint([recipe.model.model_dump(mode="json"), fields, expected_vocab_size(recipe)])


def load_probe(root: Path, num_slots: int) -> Probe | None:
    """What was measured in this workspace on this machine; None: nothing."""
    path = root / PROBE_FILE
    if not path.is_file():
        return None
    found = read_json(path)
    if found.get("format") != PROBE_FORMAT or found.get("machine") != this_machine(num_slots):
        return None
    stages = found["stages"]
    return Probe(
        machine=found["machine"],
        shapes={key: ShapeRates(**rates) for key, rates in found["shapes"].items()},
        stages=StageTimes(**{**stages, "workers": WorkerTimes(**stages["workers"])}),
        generation={task: TaskRates(**rates) for task, rates in found["generation"].items()},
        characters_per_token=tuple(found["characters_per_token"]) if found["characters_per_token"] else None,
    )


def this_machine(num_slots: int) -> dict[str, Any]:
    """What rates depend on beside the shape."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "slots": num_slots,
        "has_nvidia": Path("/proc/driver/nvidia/version").exists(),
        "torch": metadata.version("torch"),
    }
