"""Saving while training goes on: the state is copied to the CPU, a thread writes it. Never two saves at once.

    with CheckpointWriter(store, run, world) as writer:       # leaving it waits for the save in flight
        writer.start(step, state)                             # copies, returns; waits for the save before it
        ...                                                   # train
        writer.publish(world.sum([float(writer.is_written)])[0])

One rank and DDP: the first rank writes whole tensors and publishes them, all in its thread. FSDP2: every rank writes
its own shard (torch's distributed checkpoint, asynchronous, over a gloo group of its own) and no rank ever holds the
whole state; the first rank publishes once all have said, in the exchange that every step makes anyway, that theirs is
on disk. A save that fails raises at the next call; what was published before stays.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from megadocs.store.files import read_json, store_error, write_json_atomic
from megadocs.train.checkpoint import CheckpointStore, describe_file
from megadocs.train.distributed import World
from megadocs.train.run_state import RunState


@dataclass(frozen=True)
class _Save:
    """A save in flight: its step, its small values, this rank's part of the work."""

    step: int
    state: dict[str, Any]
    part: Future[None]


class CheckpointWriter:
    """Saves one run's checkpoints; every rank has one and calls it alike.

    Args:
        store: where they go.
        run: what is saved.
        world: this rank's place.
        timeout_seconds: after which a rank that does not answer fails a sharded save.
    """

    def __init__(self, store: CheckpointStore, run: RunState, world: World, *, timeout_seconds: float) -> None:
        self._store, self._run, self._world = store, run, world
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._save: _Save | None = None
        self._group: Any = None
        if run.is_sharded:
            self._group = torch.distributed.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Wait for the save in flight. After an error a sharded one is given up: other ranks may be gone."""
        try:
            if kind is None:
                self.wait()
        finally:
            self._threads.shutdown(wait=kind is None or self._group is None)

    def start(self, step: int, state: dict[str, Any]) -> None:
        """Copy the state as it is now and begin to write it; every rank calls it after the same step."""
        self.wait()
        work = self._write_shard(step) if self._group is not None else self._write_whole(step, state)
        self._save = _Save(step, state, self._threads.submit(work))

    @property
    def is_written(self) -> bool:
        """Whether this rank's part of the save in flight is on disk, or there is none (StoreError: it failed)."""
        if self._save is None or not self._save.part.done():
            return self._save is None
        self._save.part.result()
        return True

    def publish(self, num_written: float) -> None:
        """Finish the save in flight if all ranks' parts are on disk: `num_written` is the sum of their `is_written`."""
        if self._save is None or num_written < self._world.size:
            return
        save, self._save = self._save, None
        if self._group is not None and self._world.is_first:
            folder = self._folder(save.step)
            files = {name: facts for path in sorted(folder.glob("*.json")) for name, facts in read_json(path).items()}
            self._store.publish(save.step, files, save.state)

    def wait(self) -> None:
        """Finish the save in flight, if there is one; every rank calls it."""
        if self._save is None:
            return
        self._save.part.result()
        self._world.barrier()
        self.publish(self._world.size)

    def _write_whole(self, step: int, state: dict[str, Any]) -> Callable[[], None]:
        if not self._world.is_first:
            return lambda: None
        staged = {name: tensor.to("cpu", copy=True) for name, tensor in self._run.tensors(step=step).items()}
        return lambda: self._store.save(step, staged, state)

    def _write_shard(self, step: int) -> Callable[[], None]:
        from torch.distributed.checkpoint.api import CheckpointException
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import async_save

        if self._world.is_first:
            self._store.begin(step)
        self._world.barrier()
        folder = self._folder(step)
        upload: Any = async_save(
            self._run.tensors(step=step),
            storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
            process_group=self._group,
        )

        def finish() -> None:
            try:
                getattr(upload, "upload_completion", upload).result()
                for path in folder.glob(f"shard-{self._world.rank + 1:05d}-*.safetensors"):
                    write_json_atomic(path.with_suffix(".json"), {path.name: describe_file(path)})
            except (OSError, RuntimeError, CheckpointException) as error:
                cause = error if isinstance(error, OSError) else OSError(str(error))
                raise store_error("this rank's part of the checkpoint could not be written", folder, cause) from error

        return finish

    def _folder(self, step: int) -> Path:
        return self._store.directory / f".saving-{step:08d}"
