"""What a search has learnt: trials, the certificate of each arm, cost; and the content of `search.json`.

The test loss of every trial lies in its evaluate artifact, because scoring makes both; it is shown only where a
certificate stands, at its centre and the neighbours, so that nobody tunes on it.

`search.json` is written at the top of the workspace every few seconds and at the end, with a copy of each recipe's own
in `searches/`:

    format 1 · name · ending (finished, max_runs, max_hours, interrupted; unfinished: the search runs or was killed)
    updated_unix · seconds (of this call) · decides, reported (names of the sets) · left_out (arm -> why)
    budget       max_runs, max_hours (null: none), compute_matched_epochs
    utilisation  num_slots; busy_fraction (slots held by steps / slots x seconds); cpu_fraction (CPU seconds of the
                 steps / slots x seconds; null where the executor does not tell); wasted_fraction (of the held time)
    running      arm, setting, seed, is_ahead, phase (waiting, train, evaluate, elsewhere: another process has it),
                 step, num_steps, loss (training loss so far), seconds_left: each null until it is known
    arms         in the recipe's order:
      arm · axes (name -> all values, extensions included) · start (setting) · seeds (the first one walks) · confidence
      certificate  `search.Certificate`: kind, setting, loss, num_seeds, is_separated, edges, neighbours, noise_sd, ...
      matched_epochs  null, or with matched compute the train.real_epochs of the certificate's setting
      test         null, or mean and by_seed of the centre's loss on the reported set
      cost         num_trials, num_new, num_settings, num_grid_settings, num_diverged, num_wasted, num_tokens,
                   flops, training_seconds (tokens, flops and seconds of all that was trained, wasted or not)
      trials       those that count, ordered by setting and seed: seed, setting, fingerprint (of the train step), loss,
                   num_tokens, flops, seconds, held_seconds, is_new, error, diverged (each null or why), round (the
                   walk's, from 0: trials of one round were asked for together), and test_loss at the certificate
      wasted       begun ahead on a free slot and never asked for; the same fields, round null. They decide nothing.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from megadocs.pipeline.tune.space import ArmSpace
from megadocs.search import DIVERGED, Certificate, Trial, Walk, certify

#: Keys of an evaluate artifact's losses: the set that decides, and the one that is reported.
DECIDES = "validation windowed"
REPORTED = "test windowed"

Ending = Literal["finished", "max_runs", "max_hours", "interrupted", "unfinished"]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial that has ended."""

    seed: int
    setting: Mapping[str, float]  # dotted key -> value
    fingerprint: str | None  # of the train step; None: the setting cannot be trained at all
    loss: float | None  # on validation, nats per token; None: it failed, see `error`
    test_loss: float | None = None  # on the reported set; shown only at the settings of a certificate
    num_tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0  # of training
    held_seconds: float = 0.0  # for which its steps held slots in this call
    is_new: bool = False  # trained by this call, not found in the workspace
    error: str | None = None
    diverged: str | None = None

    @property
    def outcome(self) -> float | None:
        """As the walk sees it: a loss, `DIVERGED`, or None for a failure."""
        return DIVERGED if self.diverged is not None else self.loss


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial under way; see the module for the fields."""

    arm: str
    setting: Mapping[str, float]
    seed: int
    is_ahead: bool
    phase: str
    step: int | None
    num_steps: int | None
    loss: float | None
    seconds_left: float | None


@dataclass(slots=True)
class ArmSearch:
    """The search of one arm as far as it has come."""

    space: ArmSpace
    walk: Walk  # its rounds and what it has taken in
    seeds: list[int]
    confidence: float
    results: dict[Trial, TrialResult] = field(default_factory=dict)  # whatever has ended, asked for or not

    @property
    def known(self) -> dict[Trial, float | None]:
        """For the decisions: everything that has ended."""
        return {trial: result.outcome for trial, result in self.results.items()}

    @property
    def rounds(self) -> dict[Trial, int]:
        """Every trial that the walk has asked for within the budget -> number of its round."""
        asked = {trial: index for index, trials in enumerate(self.walk.rounds) for trial in trials}
        return {trial: asked[trial] for trial in self.walk.losses} if self.walk.is_cut else asked

    @property
    def counted(self) -> dict[Trial, TrialResult]:
        """Trials that the walk has asked for and that have ended."""
        return {trial: self.results[trial] for trial in self.rounds if trial in self.results}

    @property
    def wasted(self) -> dict[Trial, TrialResult]:
        """Trials that have ended and that it has not asked for."""
        rounds = self.rounds
        return {trial: result for trial, result in self.results.items() if trial not in rounds}

    @property
    def certificate(self) -> Certificate:
        """Of what the walk has taken in."""
        return certify(self.space.grid, self.seeds, self.walk.losses, confidence=self.confidence)


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How busy the slots were: seconds of the call, seconds for which steps held slots, CPU seconds of the steps."""

    num_slots: int
    seconds: float
    held_slot_seconds: float
    cpu_seconds: float

    @property
    def busy_fraction(self) -> float:
        """Share of the slots' time that steps held."""
        return min(1.0, self.held_slot_seconds / (self.num_slots * self.seconds)) if self.seconds > 0 else 0.0

    def to_json(self, wasted_seconds: float) -> dict[str, Any]:
        """See the module."""
        cpu = self.cpu_seconds / (self.num_slots * self.seconds) if self.cpu_seconds and self.seconds > 0 else None
        held = self.held_slot_seconds
        return {
            "num_slots": self.num_slots,
            "busy_fraction": round(self.busy_fraction, 4),
            "cpu_fraction": round(cpu, 4) if cpu is not None else None,
            "wasted_fraction": round(min(1.0, wasted_seconds / held), 4) if held > 0 else 0.0,
        }


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """How a search ended, or how it stands."""

    name: str
    arms: tuple[ArmSearch, ...]  # in the recipe's order
    ending: Ending
    interrupted_by: signal.Signals | None  # the signal, when it was one
    left_out: Mapping[str, str]  # arm -> why the corpus cannot serve it
    utilisation: Utilisation
    budget: Mapping[str, float | None]  # max_runs, max_hours, compute_matched_epochs
    running: tuple[RunningTrial, ...] = ()  # trials under way

    @property
    def seconds(self) -> float:
        """Wall time of this call."""
        return self.utilisation.seconds

    @property
    def failures(self) -> list[TrialResult]:
        """Trials that failed."""
        return [result for arm in self.arms for result in arm.counted.values() if result.error is not None]

    def to_json(self) -> dict[str, Any]:
        """The content of `search.json`."""
        wasted = sum(result.held_seconds for arm in self.arms for result in arm.wasted.values())
        return {
            "format": 1,
            "name": self.name,
            "ending": self.ending,
            "updated_unix": round(time.time(), 3),
            "decides": DECIDES,
            "reported": REPORTED,
            "left_out": dict(self.left_out),
            "seconds": round(self.seconds, 1),
            "budget": dict(self.budget),
            "utilisation": self.utilisation.to_json(wasted),
            "running": [asdict(trial) for trial in self.running],
            "arms": [_arm_json(arm) for arm in self.arms],
        }


def _arm_json(arm: ArmSearch) -> dict[str, Any]:
    """Certificate, cost and table of one arm; test losses only where the certificate rests."""
    certificate = arm.certificate
    star = set(arm.space.grid.neighbours(certificate.point)) | {certificate.point} if certificate.point else set()
    shown = star if certificate.kind != "incomplete" else set()
    trained = [result for result in arm.results.values() if result.loss is not None]
    counted, wasted, rounds = arm.counted, arm.wasted, arm.rounds
    return {
        "arm": arm.space.arm.name,
        "axes": {axis.name: list(axis.values) for axis in arm.space.grid.axes},
        "start": arm.space.grid.setting(arm.space.start),
        "seeds": arm.seeds,
        "confidence": arm.confidence,
        "certificate": certificate.to_json(),
        "matched_epochs": arm.space.matched_epochs(certificate.point) if certificate.point else None,
        "test": _test_losses(arm, certificate),
        "cost": {
            "num_trials": len(counted),
            "num_new": sum(result.is_new for result in counted.values()),
            "num_settings": len({trial.point for trial in counted}),
            "num_grid_settings": arm.space.grid.num_points,
            "num_diverged": sum(result.diverged is not None for result in counted.values()),
            "num_wasted": len(wasted),
            "num_tokens": sum(result.num_tokens for result in trained),
            "flops": sum(result.flops for result in trained),
            "training_seconds": sum(result.seconds for result in trained),
        },
        "trials": [_trial_json(counted[t], rounds[t], is_shown=t.point in shown) for t in _ordered(counted)],
        "wasted": [_trial_json(wasted[t], None, is_shown=False) for t in _ordered(wasted)],
    }


def _ordered(results: Mapping[Trial, TrialResult]) -> list[Trial]:
    return sorted(results, key=lambda trial: (trial.point, trial.seed))


def _trial_json(result: TrialResult, number: int | None, *, is_shown: bool) -> dict[str, Any]:
    line = asdict(result)
    if not is_shown:
        line.pop("test_loss")
    return line | {"round": number}


def _test_losses(arm: ArmSearch, certificate: Certificate) -> dict[str, Any] | None:
    """The centre's losses on the reported set, once the certificate stands."""
    if certificate.kind == "incomplete":
        return None
    chosen = {trial.seed: result.test_loss for trial, result in arm.counted.items() if trial.point == certificate.point}
    losses = {seed: loss for seed, loss in sorted(chosen.items()) if loss is not None}
    return {"mean": sum(losses.values()) / len(losses), "by_seed": {str(seed): loss for seed, loss in losses.items()}}
