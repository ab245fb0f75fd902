"""What each kind of step does, one file a kind. A stage reads its inputs' artifacts and writes into its own.

A stage never decides what is needed or whether it is done (that is `steps/experiment.py` and `execute/scheduler.py`)
and never prints: it reports progress and fills `context.build.summary`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megadocs.errors import InputError
from megadocs.kinds import load_code
from megadocs.store.artifact import Artifact, Build, Workspace

#: Steps whose partial directory is worth keeping after an interruption.
_RESUMABLE = {"train"}


class Stopped(Exception):
    """The step saved what it had and stopped because it was asked to."""


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage gets."""

    workspace: Workspace  # for what lives outside artifacts (ledger, segments)
    config: Mapping[str, Any]  # the step's configuration, as in its fingerprint
    settings: Mapping[str, Any]  # how to do the work
    inputs: Mapping[str, Artifact]  # role -> artifact, its content checked against its record
    build: Build  # directory to write in and summary to fill
    report: Callable[[dict[str, Any]], None]  # call with {"done": .., "total": .., "unit": .., "note": ..} now and then
    should_stop: Callable[[], bool]  # ask between two pieces of work; then save and raise `Stopped`

    def inputs_of_kind(self, step: str) -> list[Artifact]:
        """The input artifacts that one kind of step made, in the order of their roles."""
        return [self.inputs[role] for role in sorted(self.inputs) if self.inputs[role].step == step]


def run_step(
    job: Mapping[str, Any],
    workspace: Workspace,
    report: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
) -> None:
    """Do one step and publish its artifact.

    Args:
        job: kind, fingerprint, version, config, settings and inputs (role -> [kind, fingerprints]) of a step.
        report: receives progress.
        should_stop: whether the work is to be interrupted.

    Raises:
        LockedError: another process is at it. MegadocsError: it cannot be done. Stopped: it was interrupted.
    """
    stage = importlib.import_module(f"megadocs.pipeline.stages.{job['kind']}")
    load_jobs_code(job)
    inputs = find_inputs(job, workspace)
    with workspace.build(
        job["kind"],
        job["fingerprint"],
        config=job["config"],
        inputs={role: artifact.fingerprint for role, artifact in inputs.items()},
        version=job["version"],
        resumable=job["kind"] in _RESUMABLE,
    ) as build:
        for artifact in inputs.values():
            artifact.check()
        context = StageContext(workspace, job["config"], job["settings"], inputs, build, report, should_stop)
        stage.run(context)


def load_jobs_code(job: Mapping[str, Any]) -> None:
    """Load the user's own code that the step needs: the process that made the job was allowed to.

    Raises:
        RecipeError: it cannot be loaded here. InputError: it is not what the step was planned with.
    """
    wanted: Mapping[str, str] = job["settings"].get("code", {})
    for name, digest in load_code(wanted, allow=True).items():
        if digest != wanted[name]:
            raise InputError(
                "the code changed while the recipe ran", where=name, remedy="run again when nothing writes to it"
            )


def find_inputs(job: Mapping[str, Any], workspace: Workspace) -> dict[str, Artifact]:
    """Role -> published artifact of a job's inputs.

    Raises:
        InputError: one is not in the workspace that this process sees.
    """
    inputs = {}
    for role, (kind, *fingerprints) in job["inputs"].items():
        found = (workspace.find(kind, fingerprint) for fingerprint in fingerprints)
        artifact = next((artifact for artifact in found if artifact is not None), None)
        if artifact is None:
            raise InputError(
                f"the input {role!r} is not there",
                where=str(workspace.directory(kind, fingerprints[0])),
                remedy="run the same command again: what is missing is made first",
            )
        inputs[role] = artifact
    return inputs
