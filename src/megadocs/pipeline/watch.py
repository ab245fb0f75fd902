"""A workspace as it stands, for the page of `megadocs watch`: what is written, what trains, how far each arm is.

    watcher = Watcher(Path("runs/quickstart"))
    html = build_live_page(watcher.look(), refresh_seconds=5)

Reads without locks while others write. Nothing is kept but the numbers of generations seen so far, for their curves.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, InputError, MegadocsError
from megadocs.generate.progress import progress_note, read_progress
from megadocs.pipeline.run import last_recipe
from megadocs.pipeline.status import read_search
from megadocs.pipeline.steps.experiment import Experiment
from megadocs.pipeline.steps.sources import open_experiment
from megadocs.recipe import Recipe
from megadocs.report import Curve
from megadocs.report.live import LiveGeneration, LiveRun, LiveView
from megadocs.store.artifact import Workspace
from megadocs.store.files import iter_json_lines, read_json
from megadocs.store.lock import is_locked

#: Points of a generation curve that are kept: an hour of looks at one every five seconds.
_MAX_HISTORY = 720
#: Trials of a search that are drawn, the newest ones.
_MAX_TRIALS = 6
_TRIAL = "trial"


class Watcher:
    """Looks at one workspace again and again.

    Raises:
        InputError: the directory is no workspace.
        MegadocsError: its recipe is not one of this version.
    """

    def __init__(self, root: Path, *, allow_code: bool = False) -> None:
        if not root.is_dir() or not any((root / name).exists() for name in ("recipe.json", "corpus", "locks", "logs")):
            remedy = "give the directory of --workspace; it exists once a run has begun"
            raise InputError("no workspace there", where=str(root), remedy=remedy)
        self._root = root
        self._allow_code = allow_code
        self._history: dict[str, deque[tuple[float, int]]] = {}
        self.look()

    def look(self) -> LiveView:
        """The view of this moment."""
        recipe = last_recipe(self._root)
        experiment = self._experiment(recipe) if recipe is not None else None
        runs, curves = self._runs(experiment)
        trials, trial_curves = self._trials({name for run in _all_runs(experiment) for name in run.train.fingerprints})
        generations = list(self._generations())
        shown = [*trials, *runs]
        is_busy = any(run.state == "running" for run in shown) or any(task.is_running for task in generations)
        done = sum(run.state == "done" for run in runs)
        state = "running" if is_busy else "nothing runs here now"
        return LiveView(
            name=recipe.name if recipe is not None else self._root.resolve().name,
            state=f"{state}; {done} of {len(runs)} training runs done" if runs else state,
            notes=list(self._search_notes()),
            generations=generations,
            arms=_arm_rows(experiment, trials),
            runs=shown,
            curves=[*trial_curves, *curves],
            has_report=(self._root / "report.html").is_file(),
        )

    def _experiment(self, recipe: Recipe) -> Experiment | None:
        """The recipe's runs; None before its corpus is there."""
        with contextlib.suppress(InputError):  # a source that has gone: what was written can be looked at all the same
            return open_experiment(recipe, Workspace(self._root), allow_code=self._allow_code)[0]
        return None

    def _generations(self) -> Iterator[LiveGeneration]:
        for directory in sorted((self._root / "ledger").glob("*/")):
            live = read_progress(directory)
            if live is None:
                continue
            history = self._history.setdefault(directory.name, deque(maxlen=_MAX_HISTORY))
            history.append((time.monotonic(), live.progress.done))
            yield LiveGeneration(
                task=directory.name,
                done=live.progress.done,
                requested=live.progress.requested,
                is_running=live.is_running,
                speed=live.progress.tokens_per_second,
                note=progress_note(live.progress),
                history=tuple(history),
            )

    def _runs(self, experiment: Experiment | None) -> tuple[list[LiveRun], list[Curve]]:
        """Every run of the recipe, those that have not begun too; the curves of those that have."""
        runs, curves = [], []
        for run in _all_runs(experiment):
            found = next((self._training(name) for name in run.train.fingerprints if self._directory(name)), None)
            row, curve = _describe(run.arm.name, run.seed, found)
            runs.append(row)
            curves += [curve] if curve is not None else []
        return runs, curves

    def _trials(self, known: set[str]) -> tuple[list[LiveRun], list[Curve]]:
        """Trainings in progress that belong to no run of the recipe: trials of a search, newest first."""
        partial = sorted((self._root / "train").glob("*.partial"), key=_last_change, reverse=True)
        names = [path.name.removesuffix(".partial") for path in partial]
        described = [
            _describe(f"{_TRIAL} {name[:6]}", 0, self._training(name))
            for name in [name for name in names if name not in known][:_MAX_TRIALS]
        ]
        running = [(row, curve) for row, curve in described if row.state == "running"]
        return [row for row, _ in running], [curve for _, curve in running if curve is not None]

    def _directory(self, fingerprint: str) -> Path | None:
        workspace = Workspace(self._root)
        places = workspace.directory("train", fingerprint), workspace.partial("train", fingerprint)
        return next((place for place in places if place.is_dir()), None)

    def _training(self, fingerprint: str) -> dict[str, Any] | None:
        """State and metrics of a training run; None while its folder holds nothing yet."""
        directory = self._directory(fingerprint)
        if directory is None:
            return None
        is_partial = directory.name.endswith(".partial")
        is_running = is_partial and is_locked(self._root / "locks" / f"train-{fingerprint}.lock")
        try:
            identity = read_json(directory / "run.json")
            records = list(iter_json_lines(directory / "metrics.jsonl"))
        except (MegadocsError, OSError):  # not written yet, or published between two looks
            return None
        state = "running" if is_running else "interrupted" if is_partial else "done"
        return {"state": state, "identity": identity, "records": records}

    def _search_notes(self) -> Iterator[str]:
        search = read_search(self._root)
        if search is None:
            return
        ending = "running" if search["is_alive"] else search["ending"]
        yield f"search {search['name']}: {ending}"
        for arm in search["arms"]:
            loss = arm["certificate"].get("loss")
            best = f", best validation loss {loss:.4f}" if loss else ""
            yield f"{arm['arm']}: {arm['cost']['num_trials']} trials{best}"


def _last_change(path: Path) -> float:
    """When a folder was last written to; 0 for one that was published between two looks."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _all_runs(experiment: Experiment | None) -> tuple[Any, ...]:
    return () if experiment is None else (*experiment.runs, *experiment.members)


def _arm_rows(experiment: Experiment | None, trials: list[LiveRun]) -> list[dict[str, Any]]:
    """The arms as the figures want them: synthetic ones in colour."""
    rows: dict[str, dict[str, Any]] = {
        run.arm: {"arm": run.arm, "kind": "synthetic", "settings": {"ordering": run.arm}} for run in trials
    }
    for run in _all_runs(experiment):
        ordering = run.arm.recipe.stream.ordering
        kind = "real" if ordering is None else "synthetic"
        rows[run.arm.name] = {"arm": run.arm.name, "kind": kind, "settings": {"ordering": ordering}}
    return list(rows.values())


def _describe(arm: str, seed: int, training: dict[str, Any] | None) -> tuple[LiveRun, Curve | None]:
    """The row of a run and, where it has logged a step, its curve."""
    if training is None:
        return LiveRun(arm, seed, "not begun", 0, None, None, None, None), None
    identity = training["identity"]
    steps = [record for record in training["records"] if _is_number(record.get("loss"))]
    measured = [record["evaluation"].get("validation_loss") for record in training["records"] if "evaluation" in record]
    try:
        tokens_per_step = identity["train"]["batch_size"] * identity["train"]["context_length"]
        seed, num_steps = int(identity["seed"]), int(identity["num_steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError("run.json is not one of this version", where=arm, remedy="update megadocs") from error
    last = steps[-1] if steps else {}
    row = LiveRun(
        arm=arm,
        seed=seed,
        state=training["state"],
        steps=last.get("step", 0),
        num_steps=num_steps,
        training_loss=last.get("loss"),
        validation_loss=measured[-1] if measured else None,
        tokens_per_second=last.get("tokens_per_second"),
    )
    if not steps:
        return row, None
    places, losses = [record["step"] for record in steps], [record["loss"] for record in steps]
    return row, Curve(arm, seed, places, losses, tokens_per_step=tokens_per_step)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
