"""How fast this machine is, for the times of a plan: by its own finished work, never by a measurement of its own.

    rates = load_rates(workspace, recipe.generate.engine)
    rates.train, rates.source                  # FLOP/s of a slot, or None; "workspace", "user" or "default"
    keep_rates(artifacts)                      # what a run that has ended leaves behind

Three sources, the nearest first: finished steps of this workspace; a small file that finished runs leave in the user's
cache directory (`~/.cache/megadocs/rates.json`; XDG_CACHE_HOME and MEGADOCS_CACHE_DIR move it), for this processor and
number of cores; a table of rates measured on a two-core virtual machine (`plan.py`, `generation.py`; lab/LOG.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from megadocs.errors import MegadocsError
from megadocs.machine import cache_folder, processor_name, usable_cores
from megadocs.pipeline.price.wall_time import WorkerTimes
from megadocs.recipe import EngineConfig
from megadocs.store.artifact import Artifact, Workspace
from megadocs.store.files import make_directory, read_json, write_json_atomic

Source = Literal["workspace", "user", "default"]

#: Where the times of a plan come from, in words.
RATES_FROM = {
    "workspace": "by the finished runs of this workspace",
    "user": "by earlier runs on this machine",
    "default": "by a table of another machine's rates, until a first run has finished here",
}

#: Of a training run whose rate is remembered. A run of the quickstart takes 3e11 to 1e12 (8 to 12 GFLOP/s on two busy
#: cores); toys of 1e9, at 0.6 GFLOP/s, made the next plan of real work twenty times too long.
_FEWEST_FLOPS = 5e10

#: Of a generate step, likewise: one of a few replies is mostly the engine's start (19 tokens/s were remembered of a
#: machine that writes 800, and the demo's plan said half an hour for a minute and a half).
_FEWEST_NEW_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What the steps beside generation, training and scoring take, on a two-core virtual machine."""

    #: of worker processes.
    workers: WorkerTimes = field(default_factory=lambda: WorkerTimes(process_seconds=0.6, torch_seconds=3.0))
    command_seconds: float = 0.7  # until the command has found its first step to do
    publish_seconds: float = 0.05  # of any step beside its work: lock, inputs' hashes, its own record
    corpus_seconds: float = 1.0  # reading, cutting and splitting the corpus
    tokenizer_seconds: float = 0.5  # training or loading the student's tokenizer
    encode_seconds_per_character: float = 1e-6  # rows of text
    #: `report_seconds`, `report_seconds_per_run`: the report, whole and for each run in it.
    report_seconds: float = 0.2
    report_seconds_per_run: float = 0.03


@dataclass(frozen=True, slots=True)
class Rates:
    """Rates of finished work."""

    train: float | None  # training FLOP/s of one slot; None: nothing has been trained here
    generate: Mapping[str, float]  # task -> new tokens per second of the recipe's engine
    source: Source  # where `train` comes from


def load_rates(workspace: Workspace, engine: EngineConfig) -> Rates:
    """The rates that a plan of this workspace rests on, for the recipe's engine."""
    here, before = _means(workspace.artifacts()), _remembered()
    generate = {
        key.rpartition(" ")[2]: rate
        for key, rate in {**before, **here}.items()
        if key.startswith(_engine_key(engine.kind, engine.model))
    }
    source: Source = "workspace" if "train" in here else "user" if "train" in before else "default"
    return Rates(here.get("train", before.get("train")), generate, source)


def keep_rates(artifacts: Iterable[Artifact]) -> None:
    """Leave the rates of steps that were just done in the user's cache directory; if it is read-only, do without."""
    fresh = _means(artifact for artifact in artifacts if _tells_of_others(artifact))
    if not fresh:
        return
    path = rates_file()
    try:
        make_directory(path.parent)
        write_json_atomic(path, {**_file(), _machine(): {**_remembered(), **fresh}})
    except (MegadocsError, OSError):
        return


def _tells_of_others(artifact: Artifact) -> bool:
    """Whether the rate holds for larger work: a toy's time is that between operations and of the engine's start."""
    if artifact.step == "generate":
        return bool(artifact.summary["accounting"]["new_tokens"] >= _FEWEST_NEW_TOKENS)
    flops = artifact.summary.get("flops")
    return artifact.step != "train" or flops is None or flops >= _FEWEST_FLOPS


def rates_file() -> Path:
    """Where finished runs leave their rates."""
    return cache_folder() / "rates.json"


def _means(artifacts: Iterable[Artifact]) -> dict[str, float]:
    """`train` -> FLOP/s of a slot, `generate <engine> <model> <task>` -> new tokens/s: means over finished steps."""
    found: dict[str, list[float]] = {}
    for artifact in artifacts:
        rate = artifact.summary.get("rate_for_plan")
        config = artifact.record["config"]
        if rate and artifact.step == "train":
            found.setdefault("train", []).append(rate)
        elif rate and artifact.step == "generate":
            engine = config["generate"]["engine"]
            found.setdefault(_engine_key(engine["kind"], engine["model"]) + config["task"], []).append(rate)
    return {key: sum(rates) / len(rates) for key, rates in found.items()}


def _engine_key(kind: str, model: str) -> str:
    return f"generate {kind} {model} "


def _remembered() -> dict[str, float]:
    """What finished runs of this machine left; nothing where the file is missing, damaged or another's."""
    found = _file().get(_machine())
    rates = found if isinstance(found, dict) else {}
    return {key: rate for key, rate in rates.items() if isinstance(rate, float) and rate > 0}


def _file() -> dict[str, Any]:
    """Machine -> its rates, of the user's file; empty where it is missing or damaged."""
    try:
        found = read_json(rates_file())
    except (MegadocsError, OSError):
        return {}
    return found if isinstance(found, dict) else {}


def _machine() -> str:
    """`AMD EPYC-Rome Processor, 2 cores`: what rates depend on."""
    return f"{processor_name()}, {usable_cores()} cores"
