"""When a search gives up a trial (`search.stop_hopeless`): late enough, its training loss is above a bound.

The rule comes in the train step's settings, outside its fingerprint: a run that is not stopped is the run it would have
been. A run that was stopped leaves a note in its partial directory, so that the same search, begun again, need not
train it as far again; a call without the rule goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from megadocs.errors import HopelessError
from megadocs.store.files import read_json, write_json_atomic

_NOTE = "stopped.json"


class StopRule:
    """The rule for one run.

    Args:
        rule: `after` (share of the steps) and `above` (nats per token); None: never stop.
        directory: the run's partial directory.

    Raises:
        HopelessError: an earlier call stopped this run, and this rule would too.
    """

    def __init__(self, rule: Mapping[str, float] | None, directory: Path) -> None:
        self._rule = rule
        self._note = directory / _NOTE
        if rule is not None and self._note.is_file():
            note = read_json(self._note)
            self.check(note["step"], note["num_steps"], note["loss"])
        self._note.unlink(missing_ok=True)  # the run goes on: its artifact holds no such note

    def check(self, step: int, num_steps: int, loss: float) -> None:
        """Raise `HopelessError` when the run is far enough and its training loss above the bound."""
        rule = self._rule
        if rule is None or step < rule["after"] * num_steps or step == num_steps or loss <= rule["above"]:
            return
        write_json_atomic(self._note, {"step": step, "num_steps": num_steps, "loss": loss})
        raise HopelessError(
            f"training loss {loss:.3f} after {step} of {num_steps} steps, above {rule['above']:.3f}",
            where="search.stop_hopeless",
            remedy="none needed: the search goes on without it",
        )
