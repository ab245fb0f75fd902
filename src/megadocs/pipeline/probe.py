"""Twenty seconds of measurement, so that a plan's times are this machine's: `megadocs plan --probe`.

    probe = run_probe(recipe, root)          # trains and scores random tokens, generates a few replies; keeps nothing
    probe = load_probe(root, num_slots=2)    # what was measured before on this machine, or None

As many processes measure at once as steps will run side by side, each with the threads of a step: on two cores that
share a memory bus, two runs are slower than one. The result is kept in `<workspace>/probe.json`, for this machine and
these shapes; a plan without `--probe` uses it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from megadocs.corpus import SplitCorpus
from megadocs.errors import MegadocsError
from megadocs.generate import run_generation
from megadocs.generate.plan import Task
from megadocs.pipeline.corpus_sizes import measure_corpus
from megadocs.pipeline.executors.local import THREAD_VARIABLES
from megadocs.pipeline.runner import find_artifact
from megadocs.pipeline.step import Step
from megadocs.pipeline.steps import build_experiment, expected_vocab_size
from megadocs.recipe import Recipe, fingerprint
from megadocs.recipe.data import LoadedTokenizer
from megadocs.store.artifact import Workspace
from megadocs.store.files import read_json, write_json_atomic
from megadocs.text.tokenizer import load_tokenizer, train_tokenizer

#: At the top of the workspace.
PROBE_FILE = "probe.json"
#: Seconds of each part; with one shape and an engine some twenty in all.
_TRAIN_SECONDS, _SCORE_SECONDS, _GENERATE_SECONDS = 4.0, 2.0, 7.0
_MAX_SHAPES = 3
_MAX_TOKENIZER_CHARACTERS = 4_000_000
_MAX_TEXTS = 256
_SHAPE_FIELDS = ("context_length", "batch_size", "micro_batch_size", "dtype", "device", "compile", "ema_decay")


@dataclass(frozen=True, slots=True)
class ShapeRates:
    """What one shape of student takes, with as many of them side by side as steps will be.

    Attributes:
        start_seconds: of a worker process, once.
        run_seconds: of a run beside its steps (building, saving).
        step_seconds: of an optimiser step.
        score_seconds_per_token: of both ways of scoring, per token of the documents.
    """

    start_seconds: float
    run_seconds: float
    step_seconds: float
    score_seconds_per_token: float


@dataclass(frozen=True, slots=True)
class Probe:
    """What a machine does.

    Attributes:
        machine: what it was measured on; another machine has to measure again.
        shapes: `shape_key` -> rates.
        characters_per_token: of the student's tokenizer on these documents.
        new_tokens_per_second: of the engine as configured; None: not measured.
        engine_start_seconds: until its first progress.
        mean_reply_tokens: task -> new tokens of a reply, where enough replies were seen.
    """

    machine: Mapping[str, Any]
    shapes: Mapping[str, ShapeRates]
    characters_per_token: float | None = None
    new_tokens_per_second: float | None = None
    engine_start_seconds: float = 0.0
    mean_reply_tokens: Mapping[str, float] = dataclasses.field(default_factory=dict)


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
    if found.get("machine") != _machine(num_slots):
        return None
    shapes = {key: ShapeRates(**rates) for key, rates in found.pop("shapes").items()}
    return Probe(shapes=shapes, **found)


def run_probe(recipe: Recipe, root: Path, num_slots: int | None = None) -> Probe:
    """Measure what the recipe's runs to do need, and keep it in the workspace beside earlier shapes.

    Raises:
        MegadocsError: the corpus or the tokenizer cannot be read, the engine does not start, a trial run fails.
    """
    slots = num_slots or len(os.sched_getaffinity(0))
    workspace = Workspace(root)
    sizes = measure_corpus(recipe, workspace)
    documents = sizes.documents
    if documents is None:
        raise MegadocsError("the corpus is not on this machine", where="corpus.source", remedy="probe where it is")
    experiment = build_experiment(recipe, sizes.step, sizes.facts)
    wanted: dict[str, tuple[Recipe, Step]] = {}
    for run in experiment.runs:
        if find_artifact(run.evaluate, workspace) is None:
            wanted.setdefault(shape_key(run.arm.recipe), (run.arm.recipe, run.train))
    chosen = dict(list(wanted.items())[:_MAX_SHAPES])
    root.mkdir(parents=True, exist_ok=True)
    before = load_probe(root, slots) or Probe(_machine(slots), {})
    with tempfile.TemporaryDirectory(dir=root, prefix=".probe-") as folder:
        tokenizer, per_token = _tokenizer(recipe, documents, Path(folder))
        shapes = {
            key: _probe_shape(arm, step, documents, tokenizer, Path(folder), slots, len(chosen))
            for key, (arm, step) in chosen.items()
        }
        probe = dataclasses.replace(before, shapes={**before.shapes, **shapes}, characters_per_token=per_token)
        missing = [step for step in experiment.of_kind("generate") if find_artifact(step, workspace) is None]
        if missing:
            probe = _probe_generation(probe, recipe, missing[0].config["task"], documents, Path(folder))
    write_json_atomic(root / PROBE_FILE, dataclasses.asdict(probe))
    return probe


def _machine(num_slots: int) -> dict[str, Any]:
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


def _tokenizer(recipe: Recipe, documents: SplitCorpus, folder: Path) -> tuple[Path, float]:
    """A tokenizer as the student's, and its characters per token on the training documents."""
    texts, total = [], 0
    for document in documents.train_multiple(1):
        texts.append(document.text)
        total += len(document.text)
        if total > _MAX_TOKENIZER_CHARACTERS:
            break
    if isinstance(recipe.tokenizer, LoadedTokenizer):
        tokenizer = load_tokenizer(recipe.tokenizer.source, recipe.tokenizer.revision)
    else:
        tokenizer = train_tokenizer(texts, recipe.tokenizer.vocab_size)
    tokenizer.save(folder / "tokenizer")
    num_tokens = sum(len(row) for row in tokenizer.encode_rows(texts))
    return folder / "tokenizer", total / num_tokens


def _probe_shape(
    recipe: Recipe, step: Step, documents: SplitCorpus, tokenizer: Path, folder: Path, num_slots: int, num_shapes: int
) -> ShapeRates:
    """The mean of as many processes as fit side by side."""
    threads = min(step.slots or num_slots, num_slots)
    job = {
        "model": recipe.model.model_dump(mode="json"),
        "train": recipe.train.model_dump(mode="json"),
        "evaluate_batch_size": recipe.evaluate.batch_size,
        "tokenizer": str(tokenizer),
        "texts": [document.text for document in (*documents.validation, *documents.test)][:_MAX_TEXTS],
        "folder": str(folder),
        "train_seconds": _TRAIN_SECONDS / num_shapes,
        "score_seconds": _SCORE_SECONDS / num_shapes,
        "spawned_unix": time.time(),
    }
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
    log = folder / "probe.log"
    with log.open("ab") as stderr:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "megadocs.pipeline.probe_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
            )
            for _ in range(max(1, num_slots // threads))
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job).encode("utf-8"))
            process.stdin.close()
        answers = [process.stdout.read() if process.stdout else b"" for process in processes]
    if any(process.wait() != 0 for process in processes):
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        raise MegadocsError(
            f"a trial run of this shape fails: {' '.join(last)}", where="plan --probe", remedy="see `train` and `model`"
        )
    return _mean([json.loads(answer) for answer in answers])


def _mean(found: Sequence[Mapping[str, float]]) -> ShapeRates:
    names = [field.name for field in dataclasses.fields(ShapeRates)]
    return ShapeRates(**{name: sum(one[name] for one in found) / len(found) for name in names})


def _probe_generation(probe: Probe, recipe: Recipe, task: Task, documents: SplitCorpus, folder: Path) -> Probe:
    """Generate for some seconds with the configured engine into a ledger that is thrown away."""
    begun = time.monotonic()
    first: list[float] = []

    def should_stop() -> bool:
        return bool(first) and time.monotonic() - first[0] > _GENERATE_SECONDS

    def progress(_: object) -> None:
        first.append(time.monotonic())

    books = run_generation(recipe.generate, task, documents.train_multiple(1), folder / "ledger", progress, should_stop)
    ended = time.monotonic()
    starting = first[0] - begun if first else 0.0
    rate = books.spent_new_tokens / max(1e-6, ended - begun - starting)
    replies = books.ok + books.rejected
    means = dict(probe.mean_reply_tokens)
    if replies >= 8:
        means[task] = books.spent_new_tokens / replies
    return dataclasses.replace(
        probe, new_tokens_per_second=rate or None, engine_start_seconds=starting, mean_reply_tokens=means
    )
