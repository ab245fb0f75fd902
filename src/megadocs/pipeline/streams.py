"""Look at the streams of a recipe's arms and export them: counts, a sample window, files. Needs published rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import InputError
from megadocs.pipeline.stages.arm_data import TrainingData
from megadocs.pipeline.steps.experiment import Experiment, Run
from megadocs.pipeline.steps.step import find_artifact
from megadocs.rows.export import FORMATS, export_stream
from megadocs.store.artifact import Artifact, Workspace
from megadocs.streams import REAL_STREAM, StreamFacts, WindowPiece, describe_stream, sample_window


@dataclass(frozen=True, slots=True)
class ShownStream:
    """One stream of one arm: its statistics, and the pieces of the window that was asked for."""

    arm: str
    facts: StreamFacts
    pieces: tuple[WindowPiece, ...]


def iter_streams(
    experiment: Experiment, workspace: Workspace, *, arm: str | None = None, window: int = 0
) -> Iterator[ShownStream]:
    """The streams of every arm (or of one), for its first seed.

    Raises:
        InputError: no such arm; rows that are not published yet; no such window.
    """
    for name, run in _first_runs(experiment, arm).items():
        yield from _streams_of(name, run, workspace, window)


def export_streams(
    experiment: Experiment,
    workspace: Workspace,
    directory: Path,
    *,
    arm: str,
    formats: Collection[str] = FORMATS,
) -> dict[str, dict[str, Any]]:
    """Write each stream of an arm (its first seed, epoch 0) into `<directory>/<stream>`; the facts of each export.

    Raises:
        InputError: no such arm, rows that are not published yet, an unknown format, a directory that is not empty.
    """
    run = _first_runs(experiment, arm)[arm]
    opened = _open_arm(run, workspace)
    return {
        stream.name: export_stream(
            opened.rows,
            stream.order(0),
            directory / stream.name.replace(":", "-"),
            name=stream.name,
            group_documents=stream.name != REAL_STREAM,
            formats=formats,
            facts={"arm": arm, "seed": run.seed, "run": run.train.fingerprint},
        )
        for stream in opened.mixture.streams
    }


def _first_runs(experiment: Experiment, arm: str | None) -> dict[str, Run]:
    """The first run of each arm, or of the one that is named."""
    runs: dict[str, Run] = {}
    for run in experiment.runs:
        runs.setdefault(run.arm.name, run)
    if arm is not None and arm not in runs:
        raise InputError(f"no arm {arm!r}", where="--arm", remedy=f"choose one of {', '.join(runs)}")
    return runs if arm is None else {arm: runs[arm]}


def _open_arm(run: Run, workspace: Workspace) -> TrainingData:
    """What a run reads, from published artifacts."""
    artifacts = {role: _published(role, run, workspace) for role in run.train.inputs}
    return TrainingData.of(run.train.config, artifacts, workspace)


def _streams_of(name: str, run: Run, workspace: Workspace, window: int) -> Iterator[ShownStream]:
    opened = _open_arm(run, workspace)
    for stream in opened.mixture.streams:
        if not 0 <= window < stream.num_windows:
            raise InputError(
                f"stream {stream.name} of arm {name} has {stream.num_windows} windows",
                where="--window",
                remedy="choose one",
            )
        pieces = sample_window(stream, window=window, decode=opened.tokenizer.decode)
        yield ShownStream(name, describe_stream(stream), tuple(pieces))


def _published(role: str, run: Run, workspace: Workspace) -> Artifact:
    artifact = find_artifact(run.train.inputs[role], workspace)
    if artifact is None:
        raise InputError(
            f"{run.train.inputs[role].name!r} is not there yet",
            where=str(workspace.root),
            remedy="run `megadocs rows` first",
        )
    return artifact
