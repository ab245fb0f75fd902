"""Trials under way: from (arm, trial) to steps in the schedule, and from ended steps to results.

trials = TrialRunner(recipe, workspace, scheduler, corpus, facts, slots_of=executor.slots_of, listener=show)
result = trials.find(space, trial)       # at once when it is published or impossible, else None
trials.begin(space, trial)
scheduler.advance()
for arm, trial, result in trials.take_ended(): ...
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from megadocs.errors import DamagedError, DivergedError
from megadocs.pipeline.execute.scheduler import Listener, Scheduler, StepState
from megadocs.pipeline.steps.experiment import CorpusFacts, Run
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.pipeline.tune.results import DECIDES, REPORTED, RunningTrial, TrialResult
from megadocs.pipeline.tune.space import ArmSpace, TrialSteps, trial_steps
from megadocs.recipe import Recipe
from megadocs.search import Trial
from megadocs.store.artifact import Workspace

#: Steps that belong to one trial; the others are shared.
_OWN_KINDS = ("train", "evaluate")


@dataclass(slots=True)
class _Begun:
    """A trial whose steps are in the schedule."""

    space: ArmSpace
    trial: Trial
    run: Run


@dataclass(slots=True, eq=False)
class TrialRunner:
    """Begins trials and collects their results."""

    recipe: Recipe
    workspace: Workspace
    scheduler: Scheduler
    corpus: Step  # the corpus step, published
    facts: CorpusFacts
    slots_of: Callable[[Step], int]  # how many of the executor's slots a step takes
    listener: Listener  # receives the progress of steps that trials share (generation, rows)
    allow_code: bool  # load orderings of the form module:attribute
    _begun: dict[tuple[str, Trial], _Begun] = field(default_factory=dict, init=False)
    _steps: dict[tuple[str, Trial], TrialSteps] = field(default_factory=dict, init=False)

    @property
    def num_taken_slots(self) -> int:
        """Slots that the trials under way take or wait for; one that another process works on takes none here."""
        return sum(self.slots_of(begun.run.train) for begun in self._begun.values() if not self._is_elsewhere(begun))

    def trials_of(self, space: ArmSpace) -> set[Trial]:
        """An arm's trials under way."""
        return {trial for name, trial in self._begun if name == space.arm.name}

    def running(self, asked: Mapping[str, Collection[Trial]]) -> tuple[RunningTrial, ...]:
        """For watchers. `asked`: arm -> trials that its walk has asked for; the others began ahead."""
        return tuple(
            self._as_running(begun, is_ahead=trial not in asked[arm]) for (arm, trial), begun in self._begun.items()
        )

    def find(self, space: ArmSpace, trial: Trial) -> TrialResult | None:
        """The result of a trial that is published, or cannot be (then it is a failure); None: it is to be made."""
        key = (space.arm.name, trial)
        is_new_question = key not in self._steps
        needed = self._steps_of(space, trial)
        if key in needed.impossible:
            setting = space.grid.setting(trial.point)
            return TrialResult(trial.seed, setting, None, None, error=needed.impossible[key])
        run = needed.runs[key]
        if is_new_question and self._is_published(run):
            return self._result(_Begun(space, trial, run), is_new=False)
        return None

    def begin(self, space: ArmSpace, trial: Trial) -> None:
        """Put the steps of a trial that was not found into the schedule."""
        key = (space.arm.name, trial)
        needed = self._steps_of(space, trial)
        run, steps = needed.runs[key], needed.steps
        self.scheduler.add([step for step in steps if step.kind not in _OWN_KINDS], self.listener)
        self.scheduler.add([step for step in steps if step.kind in _OWN_KINDS])
        self._begun[key] = _Begun(space, trial, run)

    def take_ended(self) -> list[tuple[str, Trial, TrialResult]]:
        """Trials that have ended since the last call. Those that were asked to stop are let go without a result."""
        found = []
        for key, begun in list(self._begun.items()):
            states = self._states(begun)
            if any(state.status in ("waiting", "running") for state in states):
                continue
            del self._begun[key], self._steps[key]
            if self._is_published(begun.run):
                is_new = any(state.status == "done" for state in states)
                found.append((*key, self._result(begun, is_new=is_new)))
            elif not any(state.status == "stopped" for state in states):
                found.append((*key, self._failure(begun, states)))
        return found

    def _steps_of(self, space: ArmSpace, trial: Trial) -> TrialSteps:
        """Its steps; kept from the first question until it has ended, because a driver asks often."""
        key = (space.arm.name, trial)
        if key not in self._steps:
            self._steps[key] = trial_steps(
                self.recipe, [(space, trial)], self.corpus, self.facts, allow_code=self.allow_code
            )
        return self._steps[key]

    def _states(self, begun: _Begun) -> list[StepState]:
        return [self.scheduler.states[step.fingerprint] for step in (begun.run.train, begun.run.evaluate)]

    def _is_elsewhere(self, begun: _Begun) -> bool:
        """Whether another process works on it now."""
        return any(state.status == "waiting" and state.not_before > 0 for state in self._states(begun))

    def _is_published(self, run: Run) -> bool:
        try:
            return all(find_artifact(step, self.workspace) is not None for step in (run.train, run.evaluate))
        except DamagedError:
            return False

    def _result(self, begun: _Begun, *, is_new: bool) -> TrialResult:
        run, trial = begun.run, begun.trial
        train, evaluate = find_artifact(run.train, self.workspace), find_artifact(run.evaluate, self.workspace)
        assert train is not None and evaluate is not None
        summary, losses = train.summary, evaluate.summary["losses"]
        loss = float(losses[DECIDES]["nats_per_token"])
        return TrialResult(
            trial.seed,
            begun.space.grid.setting(trial.point),
            run.train.fingerprint,
            loss=loss if math.isfinite(loss) else None,
            diverged=None if math.isfinite(loss) else f"validation loss {loss}",
            test_loss=float(losses[REPORTED]["nats_per_token"]),
            num_tokens=summary["num_tokens"],
            flops=summary["flops"],
            seconds=summary["training_seconds"],
            held_seconds=self._held_seconds(begun) if is_new else 0.0,
            is_new=is_new,
        )

    def _failure(self, begun: _Begun, states: list[StepState]) -> TrialResult:
        errors = [state.error for state in states if state.error]
        setting = begun.space.grid.setting(begun.trial.point)
        error: dict[str, Any] = errors[0] if errors else {"what": "not finished"}
        what, has_diverged = str(error["what"]), error.get("error") == DivergedError.__name__
        return TrialResult(
            begun.trial.seed,
            setting,
            begun.run.train.fingerprint,
            None,
            held_seconds=self._held_seconds(begun),
            error=None if has_diverged else what,
            diverged=what if has_diverged else None,
        )

    def _held_seconds(self, begun: _Begun) -> float:
        states = self.scheduler.states
        steps = (begun.run.train, begun.run.evaluate)
        return sum(states[step.fingerprint].held_seconds for step in steps if step.fingerprint in states)

    def _as_running(self, begun: _Begun, *, is_ahead: bool) -> RunningTrial:
        train, evaluate = self._states(begun)
        progress = train.progress
        if self._is_elsewhere(begun):
            phase = "elsewhere"
        elif evaluate.status in ("running", "done"):
            phase = "evaluate"
        else:
            phase = "train" if train.status == "running" else "waiting"
        return RunningTrial(
            arm=begun.space.arm.name,
            setting=begun.space.grid.setting(begun.trial.point),
            seed=begun.trial.seed,
            is_ahead=is_ahead,
            phase=phase,
            step=progress.get("done"),
            num_steps=progress.get("total"),
            loss=progress.get("loss"),
            seconds_left=progress.get("seconds_left") if phase == "train" else None,
        )
