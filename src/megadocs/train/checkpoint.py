"""Checkpoints on disk: a folder a step, published whole, safetensors and JSON, never pickle.

    store = CheckpointStore(output_dir / "checkpoints", keep=2)
    store.save(step, tensors, state)                       # old ones stay until the new one is complete on disk
    found = store.find_newest(world, strict=False)         # None, or step, folder, state
    found.read_into(tensors)                               # in place; a shard reads its own part only

On disk: `checkpoints/step-00000120/{tensors.safetensors, state.json}`, or one `shard-...safetensors` a rank where the
model is sharded (torch's distributed checkpoint in safetensors: any layout reads either). A save writes under a
temporary name, syncs files and folder, renames, syncs the parent, and only then prunes: at every system call of a
save a complete checkpoint exists (once there was a first). `state.json` is written last and holds the size and SHA-256
of every file, since safetensors itself accepts a flipped bit. A damaged newest checkpoint gives way to the one before
it with a warning, or is refused under `strict`; with none whole left the run is refused, never silently restarted.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megadocs.errors import DamagedError, TrainingError
from megadocs.store.files import (
    file_sha256,
    fsync_directory,
    fsync_file,
    make_directory,
    store_error,
    write_json_atomic,
)
from megadocs.train.distributed import World, is_sharded

_NAME = re.compile(r"step-(\d{8,})")
_TENSORS = "tensors.safetensors"
_STATE = "state.json"
_FORMAT = 2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A published state: updates made so far, where its tensors are, small values."""

    step: int
    directory: Path
    state: dict[str, Any]

    @torch.no_grad()
    def read_into(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill tensors in place, whole or sharded (TrainingError if the checkpoint has not one of that shape)."""
        whole = self.directory / _TENSORS
        if whole.exists() and not any(is_sharded(tensor) for tensor in tensors.values()):
            _read_whole(whole, tensors)
            return
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        reader = HuggingFaceStorageReader(str(self.directory))
        metadata: Any = reader.read_metadata().state_dict_metadata
        there = {name: entry.size for name, entry in metadata.items()}
        for name, tensor in tensors.items():
            if there.get(name) != tensor.shape:
                raise _missing(name, tensor)
        load(dict(tensors), storage_reader=reader, no_dist=True)  # every rank reads its own parts


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

    def save(self, step: int, tensors: Mapping[str, Tensor], state: dict[str, Any]) -> None:
        """Write whole tensors and publish them (StoreError: nothing older was touched)."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = self.begin(step) / _TENSORS
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
            described = {path.name: describe_file(path)}
        except (OSError, SafetensorError) as error:
            raise self._failed(step, error) from error
        self.publish(step, described, state)

    def begin(self, step: int) -> Path:
        """An empty folder to write the files of a step into; leftovers of a killed save go."""
        folder = self._temporary(step)
        try:
            make_directory(self.directory)
            for leftover in self.directory.glob(".*ing-*"):
                shutil.rmtree(leftover)
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise self._failed(step, error) from error
        return folder

    def publish(self, step: int, files: Mapping[str, Mapping[str, Any]], state: dict[str, Any]) -> None:
        """Make what was written the newest checkpoint, then remove all but the newest `keep`.

        Args:
            step: updates made.
            files: name -> bytes and sha256 of each file, synced already (`describe_file`).
            state: small JSON values.
        """
        folder, target = self._temporary(step), self._path(step)
        try:
            write_json_atomic(folder / _STATE, {"format": _FORMAT, "step": step, "files": dict(files), "state": state})
            if target.exists():
                shutil.rmtree(target)
            folder.rename(target)
            fsync_directory(self.directory)
        except OSError as error:
            raise self._failed(step, error) from error
        for old in self.steps()[: -self.keep]:
            self._remove(old)

    def find_newest(self, world: World, *, strict: bool = False) -> Checkpoint | None:
        """The newest whole checkpoint, or None where none was ever saved (DamagedError otherwise). Every rank calls it.

        The files of a checkpoint are shared out among the ranks for checking; all come to the same answer.
        """
        steps = self.steps()
        problems: list[str] = []
        for step in reversed(steps):
            found, problem = self._check(step, world)
            if found is not None:
                return found
            if strict:
                raise DamagedError(
                    problem,
                    where=str(self._path(step)),
                    remedy="remove this folder to continue from the checkpoint before it",
                )
            problems.append(problem)
            _log.warning("checkpoint of step %d is damaged (%s); trying the one before it", step, problem)
        if steps:
            raise DamagedError(
                f"no whole checkpoint is left: {'; '.join(problems)}",
                where=str(self.directory),
                remedy="restore a checkpoint from a backup, or remove the run's folder to start anew",
            )
        return None

    def _check(self, step: int, world: World) -> tuple[Checkpoint | None, str]:
        """The checkpoint, or what is wrong with it, the same on every rank."""
        found, problem = None, ""
        try:
            found = _read_record(self._path(step), step, world)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = str(error) if isinstance(error, _MismatchError) else f"{type(error).__name__}: {error}"
        if world.sum([float(found is None)])[0]:
            return None, problem or "another rank found other bytes than were written"
        return found, ""

    def _path(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"

    def _temporary(self, step: int) -> Path:
        return self.directory / f".saving-{step:08d}"

    def _failed(self, step: int, error: Exception) -> Exception:
        shutil.rmtree(self._temporary(step), ignore_errors=True)
        os_error = error if isinstance(error, OSError) else OSError(str(error))
        return store_error("the checkpoint could not be written", self.directory, os_error)

    def _remove(self, step: int) -> None:
        # Renamed first: a kill in the middle of a removal must not leave half a checkpoint under a valid name.
        doomed = self.directory / f".removing-{step:08d}"
        try:
            self._path(step).rename(doomed)
            shutil.rmtree(doomed)
        except OSError as error:
            _log.warning("the old checkpoint of step %d could not be removed: %s", step, error)


def describe_file(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file that was just written, pushed to the disk first."""
    fsync_file(path)
    return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}


class _MismatchError(ValueError):
    """The files are not the ones that the record describes."""


def _read_record(folder: Path, step: int, world: World) -> Checkpoint:
    record = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    if (record["format"], record["step"]) != (_FORMAT, step):
        raise _MismatchError(f"{_STATE} does not describe step {step}")
    for index, (name, facts) in enumerate(sorted(record["files"].items())):
        path = folder / Path(name).name
        if path.stat().st_size != facts["bytes"]:
            raise _MismatchError(f"{name} has {path.stat().st_size} bytes instead of {facts['bytes']}")
        if index % world.size == world.rank and file_sha256(path) != facts["sha256"]:
            raise _MismatchError(f"{name} has other bytes than were written")
    return Checkpoint(step, folder, record["state"])


def _read_whole(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
        for name, tensor in tensors.items():
            if name not in there or tuple(file.get_slice(name).get_shape()) != tuple(tensor.shape):
                raise _missing(name, tensor)
            tensor.copy_(file.get_tensor(name))


def _missing(name: str, like: Tensor) -> TrainingError:
    return TrainingError(
        f"the checkpoint has no {name} of shape {tuple(like.shape)}",
        remedy="it is of another model or program; give this run a folder of its own",
    )
