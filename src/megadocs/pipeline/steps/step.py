"""A step: one unit of work and its identity.

A step's fingerprint is the hash of its kind, its kind's version, the configuration that decides its result, and the
fingerprints of the steps it needs. `experiment.py` and the other files here say which steps a recipe asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from megadocs.recipe import fingerprint
from megadocs.store.artifact import Artifact, Workspace

#: Raised by hand when a step's output would change for the same configuration and inputs.
STEP_VERSIONS: Mapping[str, int] = {
    "corpus": 1,
    "tokenizer": 1,
    "generate": 1,
    "rows": 1,
    "train": 1,
    "sample": 1,
    "evaluate": 1,
    "extra_set": 1,
    "benchmark": 1,
    "ensemble": 1,
    "report": 13,
}


@dataclass(frozen=True)
class Step:
    """One unit of work.

    Attributes:
        kind: key of `STEP_VERSIONS` and of the stage that carries it out.
        name: what people call it; not part of its identity.
        config: JSON value that, with the inputs, decides the result; complete, for the record.
        identity: the part of `config` that enters the fingerprint.
        inputs: role -> the step whose artifact is needed.
        settings: JSON value that decides only how the work is done.
        slots: CPU slots it takes; None takes them all.
        exclusive: steps with the same word never run at the same time.
    """

    kind: str
    name: str
    config: Mapping[str, Any]
    identity: Mapping[str, Any]
    inputs: Mapping[str, Step] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    slots: int | None = 1
    exclusive: str | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of kind, version, identity and the inputs' fingerprints."""
        inputs = {role: step.fingerprint for role, step in self.inputs.items()}
        return fingerprint([self.kind, STEP_VERSIONS[self.kind], self.identity, inputs])


def chosen_fields(section: Any) -> dict[str, Any]:
    """What a recipe section sets away from its defaults, as JSON values."""
    fields: dict[str, Any] = section.model_dump(mode="json", exclude_defaults=True)
    return fields


def all_fields(section: Any) -> dict[str, Any]:
    """A recipe section as JSON values."""
    fields: dict[str, Any] = section.model_dump(mode="json")
    return fields


def find_artifact(step: Step, workspace: Workspace) -> Artifact | None:
    """The step's published artifact, or None; `DamagedError` when its files do not match the record."""
    return workspace.find(step.kind, step.fingerprint)


def job_of(step: Step) -> dict[str, Any]:
    """A step as the JSON that a worker understands."""
    return {
        "kind": step.kind,
        "fingerprint": step.fingerprint,
        "version": STEP_VERSIONS[step.kind],
        "config": step.config,
        "settings": step.settings,
        "inputs": {role: [needed.kind, needed.fingerprint] for role, needed in step.inputs.items()},
    }
