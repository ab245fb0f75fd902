"""How long steps will take together: the runner's own order, simulated with expected durations.

    wall_seconds(experiment.steps, seconds, num_slots=2, workers=WorkerTimes(0.9, 4.1))

Simulated as `execute.scheduler` and `execute.local` run them: inputs first, then in the order of the list, small steps
do not starve a large one, one step at a time of those that exclude each other, and an idle worker is used before a new
one is started. A worker imports torch with its first step that trains or scores: seconds that runs of a minute feel.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megadocs.pipeline.steps.step import Step

#: Kinds of steps whose worker needs torch.
TORCH_KINDS = {"train", "evaluate", "ensemble", "extra_set", "benchmark", "sample"}


@dataclass(frozen=True, slots=True)
class WorkerTimes:
    """Overhead of a worker process."""

    process_seconds: float = 0.0  # until a new one can begin its first step
    torch_seconds: float = 0.0  # more, with its first step that trains or scores: imports, kernels that are made once


def wall_seconds(
    steps: Sequence[Step], seconds: Mapping[str, float], num_slots: int, workers: WorkerTimes | None = None
) -> float:
    """Seconds until the last step ends.

    Args:
        steps: each after its inputs.
        seconds: fingerprint -> expected seconds of a step that is to do; the others are there.
        workers: what its processes cost; None: nothing.
    """
    pool = _Pool(workers or WorkerTimes())
    waiting = [step for step in steps if step.fingerprint in seconds]
    missing = {step.fingerprint for step in waiting}
    running: list[tuple[float, int, Step]] = []
    now, free, number = 0.0, num_slots, 0
    while waiting or running:
        taken = {step.exclusive for _, _, step in running if step.exclusive}
        for step in list(waiting):
            if step.exclusive in taken or any(needed.fingerprint in missing for needed in step.inputs.values()):
                continue
            slots = _slots(step, num_slots)
            if slots > free:
                break
            waiting.remove(step)
            free -= slots
            taken |= {step.exclusive} if step.exclusive else set()
            ended = now + pool.begin(step, slots) + seconds[step.fingerprint]
            heapq.heappush(running, (ended, number, step))
            number += 1
        now, _, step = heapq.heappop(running)
        missing.discard(step.fingerprint)
        free += _slots(step, num_slots)
        pool.end(step, _slots(step, num_slots))
    return now


def _slots(step: Step, num_slots: int) -> int:
    return min(step.slots or num_slots, num_slots)


class _Pool:
    """Idle workers by their number of threads; of each, whether it has imported torch."""

    def __init__(self, times: WorkerTimes) -> None:
        self._times = times
        self._idle: dict[int, list[bool]] = {}
        self._busy: dict[str, bool] = {}

    def begin(self, step: Step, slots: int) -> float:
        """Seconds that its worker takes before the work."""
        idle = self._idle.setdefault(slots, [])
        cost = 0.0 if idle else self._times.process_seconds
        has_torch = idle.pop() if idle else False
        if step.kind in TORCH_KINDS and not has_torch:
            cost, has_torch = cost + self._times.torch_seconds, True
        self._busy[step.fingerprint] = has_torch
        return cost

    def end(self, step: Step, slots: int) -> None:
        """Its worker is idle."""
        self._idle[slots].append(self._busy.pop(step.fingerprint))
