"""What a search has learnt: trials, the certificate of each arm, cost; and the content of `search.json`.

The test loss of every trial lies in its evaluate artifact, because scoring makes both; it is shown only where a
certificate stands, at its centre and the neighbours, so that nobody tunes on it.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from megadocs.pipeline.search_space import ArmSpace
from megadocs.search import Certificate, Trial, certify, next_trials

#: Keys of an evaluate artifact's losses: the set that decides, and the one that is reported.
DECIDES = "validation windowed"
REPORTED = "test windowed"

#: An arm none of whose first trials succeeds is given up: something is wrong with all of them.
_MAX_FIRST_FAILURES = 5

Ending = Literal["finished", "max_runs", "max_hours", "interrupted", "unfinished"]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial that has ended.

    Attributes:
        setting: dotted key -> value.
        loss: on validation, nats per token; None: it failed, see `error`.
        test_loss: on the reported set; shown only at the settings of a certificate.
        fingerprint: of the train step; None: the setting cannot be trained at all.
        is_new: trained by this call, not found in the workspace.
    """

    seed: int
    setting: Mapping[str, float]
    fingerprint: str | None
    loss: float | None
    test_loss: float | None = None
    num_tokens: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    is_new: bool = False
    error: str | None = None


@dataclass(slots=True)
class ArmSearch:
    """The search of one arm as far as it has come."""

    space: ArmSpace
    seeds: list[int]
    confidence: float
    results: dict[Trial, TrialResult] = field(default_factory=dict)

    @property
    def losses(self) -> dict[Trial, float | None]:
        """For the decisions."""
        return {trial: result.loss for trial, result in self.results.items()}

    @property
    def certificate(self) -> Certificate:
        """Of what is known by now."""
        return certify(self.space.grid, self.seeds, self.losses, confidence=self.confidence)

    def wanted(self, round_size: int) -> list[Trial]:
        """The next trials; none when all of the first ones failed."""
        losses = self.losses
        if len(losses) >= _MAX_FIRST_FAILURES and all(loss is None for loss in losses.values()):
            return []
        return next_trials(
            self.space.grid, self.space.start, self.seeds, losses, confidence=self.confidence, round_size=round_size
        )


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """How a search ended.

    Attributes:
        arms: in the recipe's order.
        ending: why it ended.
        interrupted_by: the signal, when it was one.
        left_out: arm -> why the corpus cannot serve it.
        seconds: wall time of this call.
    """

    name: str
    arms: tuple[ArmSearch, ...]
    ending: Ending
    interrupted_by: signal.Signals | None
    left_out: Mapping[str, str]
    seconds: float

    @property
    def failures(self) -> list[TrialResult]:
        """Trials that failed."""
        return [result for arm in self.arms for result in arm.results.values() if result.loss is None]

    def to_json(self) -> dict[str, Any]:
        """The content of `search.json`."""
        return {
            "format": 1,
            "name": self.name,
            "ending": self.ending,
            "decides": DECIDES,
            "reported": REPORTED,
            "left_out": dict(self.left_out),
            "seconds": round(self.seconds, 1),
            "arms": [_arm_json(arm) for arm in self.arms],
        }


def _arm_json(arm: ArmSearch) -> dict[str, Any]:
    """Certificate, cost and table of one arm; test losses only where the certificate rests."""
    certificate = arm.certificate
    star = set(arm.space.grid.neighbours(certificate.point)) | {certificate.point} if certificate.point else set()
    shown = star if certificate.kind != "incomplete" else set()
    trials = []
    for trial, result in sorted(arm.results.items(), key=lambda item: (item[0].point, item[0].seed)):
        line = asdict(result)
        if trial.point not in shown:
            line.pop("test_loss")
        trials.append(line)
    done = [result for result in arm.results.values() if result.loss is not None]
    return {
        "arm": arm.space.arm.name,
        "axes": {axis.name: list(axis.values) for axis in arm.space.grid.axes},
        "start": arm.space.grid.setting(arm.space.start),
        "seeds": arm.seeds,
        "confidence": arm.confidence,
        "certificate": certificate.to_json(),
        "test": _test_losses(arm, certificate),
        "cost": {
            "num_trials": len(arm.results),
            "num_new": sum(result.is_new for result in done),
            "num_settings": len({trial.point for trial in arm.results}),
            "num_grid_settings": arm.space.grid.num_points,
            "num_tokens": sum(result.num_tokens for result in done),
            "flops": sum(result.flops for result in done),
            "training_seconds": sum(result.seconds for result in done),
        },
        "trials": trials,
    }


def _test_losses(arm: ArmSearch, certificate: Certificate) -> dict[str, Any] | None:
    """The centre's losses on the reported set, once the certificate stands."""
    if certificate.kind == "incomplete":
        return None
    chosen = {trial.seed: result.test_loss for trial, result in arm.results.items() if trial.point == certificate.point}
    losses = {seed: loss for seed, loss in sorted(chosen.items()) if loss is not None}
    return {"mean": sum(losses.values()) / len(losses), "by_seed": {str(seed): loss for seed, loss in losses.items()}}
