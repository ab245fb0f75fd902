"""Twenty seconds of measurement, so that a plan's times are this machine's: `megadocs plan --probe`.

    probe = run_probe(recipe, root)     # reads the corpus, trains and scores random tokens, generates a few replies

As many processes measure at once as steps will run side by side, each with the threads of a step: on two cores that
share a memory bus, two runs are slower than one. They start as workers do, so that imports are counted, and do the
first run and the first scoring twice: a worker's first one makes what later ones find. What was found is kept
(`rates.py`), what was made is thrown away.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from megadocs.corpus import SplitCorpus
from megadocs.errors import MegadocsError
from megadocs.pipeline.execute.local import THREAD_VARIABLES
from megadocs.pipeline.price.corpus_sizes import measure_corpus
from megadocs.pipeline.price.probe_generation import probe_tasks
from megadocs.pipeline.price.rates import (
    PROBE_FILE,
    Probe,
    ShapeRates,
    StageTimes,
    load_probe,
    shape_key,
    this_machine,
)
from megadocs.pipeline.price.wall_time import WorkerTimes
from megadocs.pipeline.steps.experiment import build_experiment
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import Recipe
from megadocs.recipe.consent import check_consent
from megadocs.recipe.data import LoadedTokenizer
from megadocs.store.artifact import Workspace
from megadocs.store.files import write_json_atomic
from megadocs.text.tokenizer import load_tokenizer, train_tokenizer

#: Seconds of each part; with one shape and an engine some twenty in all.
_TRAIN_SECONDS, _SCORE_SECONDS = 4.0, 2.0
_MAX_SHAPES = 3
_MAX_TOKENIZER_CHARACTERS = 4_000_000
_MAX_TEXTS = 256
_COMMAND_MODULES = ("megadocs.cli", "megadocs.cli.outcome", "megadocs.pipeline.run")


def run_probe(recipe: Recipe, root: Path, num_slots: int | None = None, *, allow_code: bool = False) -> Probe:
    """Measure what the recipe's runs to do need, and keep it in the workspace beside earlier shapes.

    Raises:
        MegadocsError: the corpus or the tokenizer cannot be read, the engine does not start, a trial run fails.
    """
    check_consent(recipe, {"generate"})
    slots = num_slots or len(os.sched_getaffinity(0))
    workspace = Workspace(root)
    begun = time.perf_counter()
    sizes = measure_corpus(recipe, workspace)
    corpus_seconds = time.perf_counter() - begun
    documents = sizes.documents
    if documents is None:
        raise MegadocsError("the corpus is not on this machine", where="corpus.source", remedy="probe where it is")
    experiment = build_experiment(recipe, sizes.step, sizes.facts, allow_code=allow_code)
    wanted: dict[str, tuple[Recipe, Step]] = {}
    for run in experiment.runs:
        if find_artifact(run.evaluate, workspace) is None:
            wanted.setdefault(shape_key(run.arm.recipe), (run.arm.recipe, run.train))
    chosen = dict(list(wanted.items())[:_MAX_SHAPES])
    root.mkdir(parents=True, exist_ok=True)
    probe = load_probe(root, slots) or Probe(this_machine(slots), {})
    with tempfile.TemporaryDirectory(dir=root, prefix=".probe-") as name:
        folder = Path(name)
        stages, per_token = _tokenizer(recipe, documents, folder)
        stages = dataclasses.replace(stages, corpus_seconds=corpus_seconds, command_seconds=_command_seconds())
        shapes = dict(probe.shapes)
        for key, (arm, step) in chosen.items():
            found = _probe_shape(arm, step, documents, folder / "tokenizer", folder, slots, len(chosen))
            shapes[key] = ShapeRates(**{field.name: found[field.name] for field in dataclasses.fields(ShapeRates)})
            stages = _with_workers(stages, found)
        missing = [step for step in experiment.of_kind("generate") if find_artifact(step, workspace) is None]
        tasks: dict[str, int] = {step.config["task"]: min(step.slots or slots, slots) for step in missing}
        generation = dict(probe.generation) | probe_tasks(recipe, tasks, documents, folder, slots)
    probe = Probe(this_machine(slots), shapes, stages, generation, per_token)
    write_json_atomic(root / PROBE_FILE, dataclasses.asdict(probe))
    return probe


def _command_seconds() -> float:
    """What `megadocs run` imports before it looks for something to do."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {', '.join(_COMMAND_MODULES)}"], check=True)
    return time.perf_counter() - begun


def _with_workers(stages: StageTimes, found: Mapping[str, float]) -> StageTimes:
    """The times with what a worker process measured of itself."""
    workers = WorkerTimes(found["process_seconds"], found["torch_seconds"])
    return dataclasses.replace(stages, workers=workers, publish_seconds=found["publish_seconds"])


def _tokenizer(recipe: Recipe, documents: SplitCorpus, folder: Path) -> tuple[StageTimes, tuple[float, float]]:
    """Make a tokenizer as the student's in `folder/tokenizer`; the times that it took, and its characters per token.

    On documents that it was not trained on a small vocabulary takes a seventh more tokens.
    """
    texts, total = [], 0
    wanted = documents.train_multiple(1)
    for document in wanted:
        texts.append(document.text)
        total += len(document.text)
        if total > _MAX_TOKENIZER_CHARACTERS:
            break
    begun = time.perf_counter()
    if isinstance(recipe.tokenizer, LoadedTokenizer):
        tokenizer = load_tokenizer(recipe.tokenizer.source, recipe.tokenizer.revision)
        seconds = time.perf_counter() - begun
    else:
        tokenizer = train_tokenizer(texts, recipe.tokenizer.vocab_size)
        seconds = (time.perf_counter() - begun) * len(wanted) / len(texts)
    tokenizer.save(folder / "tokenizer")
    begun = time.perf_counter()
    known = total / sum(len(row) for row in tokenizer.encode_rows(texts))
    times = StageTimes(tokenizer_seconds=seconds, encode_seconds_per_character=(time.perf_counter() - begun) / total)
    others = [document.text for document in (*documents.validation, *documents.test)][:_MAX_TEXTS]
    new = sum(map(len, others)) / sum(len(row) for row in tokenizer.encode_rows(others))
    return times, (known, new)


def _probe_shape(
    recipe: Recipe, step: Step, documents: SplitCorpus, tokenizer: Path, folder: Path, num_slots: int, num_shapes: int
) -> dict[str, float]:
    """What `probe_worker` answers, the mean of as many processes as fit side by side."""
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
                [sys.executable, "-m", "megadocs.pipeline.price.probe_worker"],
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
    found = [json.loads(answer) for answer in answers]
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}
