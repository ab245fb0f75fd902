"""A step: one unit of work and its identity.

A step's fingerprint is the hash of its kind, its kind's version, the configuration that decides its result, and the
fingerprints of the steps it needs. `experiment.py` and the other files here say which steps a recipe asks for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from megadocs.recipe import fingerprint
from megadocs.recipe.base import Section
from megadocs.store.artifact import Artifact, Workspace

#: Raised by hand when a step's output would change for the same configuration and inputs.
STEP_VERSIONS: Mapping[str, int] = {
    "corpus": 1,
    "tokenizer": 1,
    "generate": 1,
    "rows": 1,
    "train": 3,
    "sample": 1,
    "evaluate": 2,
    "extra_set": 2,
    "benchmark": 3,
    "ensemble": 2,
    "gate": 2,
    "report": 28,
}


@dataclass(frozen=True)
class Step:
    """One unit of work."""

    kind: str  # key of `STEP_VERSIONS` and of the stage that runs it
    name: str  # what people call it; not part of its identity
    config: Mapping[str, Any]  # JSON value that, with the inputs, decides the result; complete, for the record
    identity: Mapping[str, Any]  # the part of `config` that enters the fingerprint
    inputs: Mapping[str, Step] = field(default_factory=dict)  # role -> the step whose artifact is needed
    settings: Mapping[str, Any] = field(default_factory=dict)  # JSON value that decides only how the work is done
    slots: int | None = 1  # CPU slots it takes; None takes them all
    exclusive: str | None = None  # steps with the same word never run at the same time
    former_identity: Mapping[str, Any] | None = None  # that of 0.1, where it differs

    @classmethod
    def of(
        cls,
        kind: str,
        name: str,
        sections: Mapping[str, Any],
        inputs: Mapping[str, Step] | None = None,
        *,
        only: Mapping[str, Collection[str]] | None = None,
        former: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        slots: int | None = 1,
        exclusive: str | None = None,
    ) -> Step:
        """A step whose configuration and identity follow from the recipe's sections.

        Args:
            kind, name, settings, slots, exclusive: see the class.
            sections: name -> section of the recipe, or a JSON value. The configuration holds all of a section, the
                identity what it sets away from its defaults and does not mark as `Operational`; a JSON value both.
            inputs: role -> step.
            only: name of a section -> the fields that matter here.
            former: sections as 0.1 took them for an identity, where it did otherwise.
            facts: name -> section or JSON value, in the configuration alone: for the record and the stage. Where both
                have a name, `sections` says what it is and `facts` how it is written down.
        """
        parts, facts = only or {}, facts or {}

        def dump(values: Mapping[str, Any], **how: Any) -> dict[str, Any]:
            return {key: _dump(value, parts.get(key), **how) for key, value in values.items()}

        identity = dump(sections, is_identity=True)
        before = dump({**sections, **(former or {})}, is_identity=True, as_of_0_1=True)
        return cls(
            kind,
            name,
            dump(sections) | dump(facts),
            identity,
            inputs or {},
            settings or {},
            slots,
            exclusive,
            before if before != identity else None,
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of kind, version, identity and the inputs' fingerprints."""
        inputs = {role: step.fingerprint for role, step in self.inputs.items()}
        return fingerprint([self.kind, STEP_VERSIONS[self.kind], self.identity, inputs])

    @cached_property
    def fingerprints(self) -> tuple[str, ...]:
        """Where its artifact may lie: under its fingerprint, or under the one that 0.1 gave it."""
        inputs = {role: step.fingerprints[-1] for role, step in self.inputs.items()}
        identity = self.identity if self.former_identity is None else self.former_identity
        former = fingerprint([self.kind, STEP_VERSIONS[self.kind], identity, inputs])
        return (self.fingerprint,) if former == self.fingerprint else (self.fingerprint, former)


def _dump(value: Any, only: Collection[str] | None, *, is_identity: bool = False, as_of_0_1: bool = False) -> Any:
    """A section as JSON values, whole or as an identity; any other value as it is."""
    if not isinstance(value, Section):
        return value
    fields = value.identity(as_of_0_1=as_of_0_1) if is_identity else value.model_dump(mode="json")
    return fields if only is None else {name: fields[name] for name in only if name in fields}


def find_artifact(step: Step, workspace: Workspace) -> Artifact | None:
    """The step's published artifact, or None; `DamagedError` when its files do not match the record."""
    found = (workspace.find(step.kind, fingerprint) for fingerprint in step.fingerprints)
    return next((artifact for artifact in found if artifact is not None), None)


def job_of(step: Step) -> dict[str, Any]:
    """A step as the JSON that a worker understands."""
    return {
        "kind": step.kind,
        "fingerprint": step.fingerprint,
        "version": STEP_VERSIONS[step.kind],
        "config": step.config,
        "settings": step.settings,
        "inputs": {role: [needed.kind, *needed.fingerprints] for role, needed in step.inputs.items()},
    }


def with_inputs(steps: Iterable[Step]) -> list[Step]:
    """The steps and everything that they need, each once and after its inputs, otherwise in their order."""
    ordered: dict[str, Step] = {}

    def add(step: Step) -> None:
        for needed in step.inputs.values():
            add(needed)
        ordered.setdefault(f"{step.kind}/{step.fingerprint}", step)

    for step in steps:
        add(step)
    return list(ordered.values())
