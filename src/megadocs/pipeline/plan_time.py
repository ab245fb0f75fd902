"""How long steps will take together: the runner's own order, played through with expected durations."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from megadocs.pipeline.step import Step


def wall_seconds(steps: Sequence[Step], seconds: Mapping[str, float], num_slots: int) -> float:
    """Seconds until the last step ends.

    As `runner.Scheduler` does: inputs first, then in the order of the list, and small steps do not starve a large one.

    Args:
        steps: each after its inputs.
        seconds: fingerprint -> expected seconds of a step that is to do; the others are there.
        num_slots: slots of the executor.
    """
    waiting = [step for step in steps if step.fingerprint in seconds]
    missing = {step.fingerprint for step in waiting}
    running: list[tuple[float, str, int]] = []
    now, free = 0.0, num_slots
    while waiting or running:
        for step in list(waiting):
            if any(needed.fingerprint in missing for needed in step.inputs.values()):
                continue
            slots = min(step.slots or num_slots, num_slots)
            if slots > free:
                break
            waiting.remove(step)
            free -= slots
            heapq.heappush(running, (now + seconds[step.fingerprint], step.fingerprint, slots))
        now, ended, slots = heapq.heappop(running)
        missing.discard(ended)
        free += slots
    return now
