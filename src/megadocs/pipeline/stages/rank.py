"""One rank of a training run: started by torchrun, on one machine (`torchrun.py`) or on many.

On one machine the pipeline starts `python -m megadocs.pipeline.stages.rank JOB.json`, and the first rank answers on
standard output, one JSON object a line:

    {"event": "started", "pid": ...}   {"event": "progress", ...}
    {"event": "done", "summary": ...}  {"event": "stopped"}   {"event": "failed", "what": ..., "exit_code": ...}

On many machines `torchrun ... -m megadocs train RECIPE --arm ARM --seed SEED` calls `train_as_rank` on every rank: the
first one holds the lock and publishes the artifact.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from megadocs.errors import InputError, MegadocsError, UsageError
from megadocs.machine import die_with_parent
from megadocs.pipeline.stages.arm_data import TrainingData
from megadocs.pipeline.stages.stage import StageContext, Stopped, find_inputs, load_jobs_code, run_step
from megadocs.pipeline.stages.train import train
from megadocs.pipeline.steps.sources import open_experiment
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.pipeline.steps.step import job_of as step_job
from megadocs.recipe import Recipe
from megadocs.recipe.consent import check_consent
from megadocs.store.artifact import Artifact, Build, Workspace
from megadocs.store.files import read_json


def main() -> int:
    """Train as this rank and tell how it ended; the exit code."""
    die_with_parent()
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # a library's print goes to the log

    def emit(event: Mapping[str, Any]) -> None:
        protocol.write(json.dumps(event) + "\n")
        protocol.flush()

    job = read_json(Path(sys.argv[1]))
    try:
        context = _context_of(job, lambda event: emit({"event": "progress", **event}))
        data = TrainingData.open(context, is_checked=False)  # the parent has
        summary = train(context, data, announce=lambda: emit({"event": "started", "pid": os.getpid()}))
    except Stopped:
        closing: dict[str, Any] = {"event": "stopped"}
    except MegadocsError as error:
        emit({"event": "failed", **error.to_json()})
        return error.exit_code
    else:
        closing = {"event": "done", "summary": asdict(summary)}
    if is_first_rank():
        emit(closing)
    return 0


def train_as_rank(
    recipe: Recipe, root: Path, *, report: Callable[[str], None], allow_code: bool = False
) -> Artifact | None:
    """Train the one run of a recipe as one of the ranks that torchrun or a scheduler started.

    Args:
        recipe: with one arm and one seed.
        root: the workspace, on storage that all machines see; the run's rows must be published already.
        report: receives a line of progress now and then, on the first rank.

    Returns:
        The published artifact on the first rank, None on the others.

    Raises:
        UsageError: the recipe is more than one run. InputError: its rows are not there. Stopped: asked to stop.
    """
    check_consent(recipe, {"train"})
    workspace = Workspace(root)
    experiment, _ = open_experiment(recipe, workspace, allow_code=allow_code)
    runs = experiment.runs if experiment is not None else ()
    if len(runs) > 1:
        raise UsageError(
            f"several ranks train one run, the recipe has {len(runs)}", remedy="name it with --arm and --seed"
        )
    step = runs[0].train if runs else None
    if step is None or any(find_artifact(needed, workspace) is None for needed in step.inputs.values()):
        raise InputError(
            "the run's rows are not there yet",
            where=str(root),
            remedy="run `megadocs rows` with the same recipe and workspace first, in one process",
        )
    if find_artifact(step, workspace) is None:
        _take_part(step, workspace, report)
    return find_artifact(step, workspace) if is_first_rank() else None


def is_first_rank() -> bool:
    """Whether this rank writes and talks."""
    return os.environ["RANK"] == "0"


def _take_part(step: Step, workspace: Workspace, report: Callable[[str], None]) -> None:
    """The first rank builds and publishes; the others train beside it in the same folder."""
    job = step_job(step)
    if is_first_rank():
        run_step(job, workspace, lambda event: report(_line(event)), lambda: False)
        return
    path = workspace.partial(step.kind, step.fingerprint)
    context = _context_of({**job, "workspace": str(workspace.root), "path": str(path)}, lambda event: None)
    train(context, TrainingData.open(context, is_checked=False))


def _line(event: Mapping[str, Any]) -> str:
    """`step 20 of 240, loss 5.312, 25,079 tokens/s`, or the note alone."""
    if "done" not in event:
        return str(event["note"])
    return f"step {event['done']} of {event['total']}, {event['note']}, {event['tokens_per_second']:,.0f} tokens/s"


def _context_of(job: Mapping[str, Any], report: Any) -> StageContext:
    """The stage's context of a job that another process holds."""
    load_jobs_code(job)
    workspace = Workspace(job["workspace"])
    inputs, build = find_inputs(job, workspace), Build(Path(job["path"]))
    return StageContext(workspace, job["config"], job["settings"], inputs, build, report, lambda: False)


def leave(exit_code: int) -> NoReturn:
    """End this process without finalising the interpreter: communication threads that wake up in it abort the rank."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


if __name__ == "__main__":
    leave(main())
