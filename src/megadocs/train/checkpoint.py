"""Checkpoints: a folder a step, published whole, safetensors and JSON, never pickle.

    store = CheckpointStore(output_dir / "checkpoints", keep=2)
    store.save(step, tensors, state)                       # old ones stay until the new one is complete on disk
    found = store.load_newest(strict=False)                # None, or step, tensors, state

On disk: `checkpoints/step-00000120/{tensors.safetensors, state.json}`. A save writes both under a temporary name,
syncs them and the folder, renames, syncs the parent, and only then prunes: at every system call of a save a complete
checkpoint exists (once there was a first). `state.json` is written last and holds the size and SHA-256 of the
tensors, since safetensors itself accepts a flipped bit. A damaged newest checkpoint gives way to the one before it
with a warning, or is refused under `strict`; with none whole left the run is refused, never silently restarted.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from megadocs.errors import DamagedError
from megadocs.store.files import file_sha256, fsync_directory, fsync_file, store_error, write_json_atomic

_NAME = re.compile(r"step-(\d{8,})")
_TENSORS = "tensors.safetensors"
_STATE = "state.json"
_FORMAT = 1
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A complete state: updates made so far, tensors by name, small values."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, directory: Path, *, keep: int) -> None:
        self.directory = directory
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps that have a published checkpoint, ascending."""
        if not self.directory.is_dir():
            return []
        matches = (_NAME.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted(int(match.group(1)) for match in matches if match)

    def save(self, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> Path:
        """Publish a checkpoint, then remove all but the newest `keep` (StoreError: nothing older was touched)."""
        target = self._path(step)
        temporary = self.directory / f".saving-{step:08d}"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            temporary.mkdir(mode=0o700)
            _write_checkpoint(temporary, step, tensors, state)
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
            fsync_directory(self.directory)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise store_error("the checkpoint could not be written", self.directory, error) from error
        for old in self.steps()[: -self.keep]:
            self._remove(old)
        return target

    def load_newest(self, *, strict: bool = False) -> Checkpoint | None:
        """The newest whole checkpoint, or None where none was ever saved (DamagedError otherwise)."""
        steps = self.steps()
        problems: list[str] = []
        for step in reversed(steps):
            try:
                found = _read_checkpoint(self._path(step), step)
            except DamagedError as error:
                if strict:
                    raise
                problems.append(str(error.what))
                _log.warning("checkpoint of step %d is damaged (%s); trying the one before it", step, error.what)
                continue
            return found
        if steps:
            raise DamagedError(
                f"no whole checkpoint is left: {'; '.join(problems)}",
                where=str(self.directory),
                remedy="restore a checkpoint from a backup, or remove the run's folder to start anew",
            )
        return None

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def _clear_leftovers(self) -> None:
        for path in self.directory.glob(".*ing-*"):
            shutil.rmtree(path)

    def _remove(self, step: int) -> None:
        # Renamed first: a kill in the middle of a removal must not leave half a checkpoint under a valid name.
        doomed = self.directory / f".removing-{step:08d}"
        try:
            self._path(step).rename(doomed)
            shutil.rmtree(doomed)
        except OSError as error:
            _log.warning("the old checkpoint of step %d could not be removed: %s", step, error)


def _write_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = folder / _TENSORS
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    fsync_file(path)
    record = {
        "format": _FORMAT,
        "step": step,
        "bytes": path.stat().st_size,
        "sha256": file_sha256(path),
        "state": state,
    }
    write_json_atomic(folder / _STATE, record)


def _read_checkpoint(folder: Path, step: int) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / _TENSORS
    try:
        record = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        expected = (record["format"], record["step"], record["bytes"])
        if expected != (_FORMAT, step, path.stat().st_size):
            raise _damaged(folder, f"{_STATE} does not describe {_TENSORS} of step {step}")
        if record["sha256"] != file_sha256(path):
            raise _damaged(folder, f"{_TENSORS} has other bytes than were written")
        return Checkpoint(step, load_file(path), record["state"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error


def _damaged(folder: Path, what: str) -> DamagedError:
    return DamagedError(what, where=str(folder), remedy="remove this folder to go on from the checkpoint before it")
