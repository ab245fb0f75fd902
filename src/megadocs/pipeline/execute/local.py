"""Run steps in processes of this machine, side by side, one slot per core."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from megadocs.machine import kill_group, usable_cores
from megadocs.pipeline.steps.step import Step, job_of
from megadocs.store.files import make_directory, store_error

_STOP_GRACE_SECONDS = 30.0
#: Steps that save what they have when they are asked to stop; the others lose nothing that they would not do again.
_SAVING_KINDS = ("train", "generate", "sample")
#: So long after the signal a step that does not stop by itself (a long call into a library) is killed. Artifacts are
#: published whole or not at all, the ledger and checkpoints are written at all times: killing is safe.
_STOP_SECONDS, _SAVE_SECONDS = 5.0, 30.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


class LocalExecutor:
    """A pool of worker processes.

    Args:
        num_slots: how many single-slot steps run at once; None is the number of usable cores.
    """

    def __init__(self, workspace: Path, num_slots: int | None = None) -> None:
        self.num_slots = num_slots or usable_cores()
        self._workspace = workspace
        self._idle: dict[int, list[_Worker]] = {}
        self._busy: dict[_Worker, Step] = {}
        self._selector = selectors.DefaultSelector()
        self._stopping_since: float | None = None

    def start(self, step: Step) -> None:
        """Give the step to an idle worker with its number of threads, or to a new one."""
        num_threads = self.slots_of(step)
        idle = self._idle.setdefault(num_threads, [])
        worker = idle.pop() if idle else self._new_worker(num_threads)
        worker.log_step(step.name)
        worker.send(job_of(step))
        self._busy[worker] = step

    def slots_of(self, step: Step) -> int:
        """Slots of a step, and its threads: one per slot."""
        return min(step.slots or self.num_slots, self.num_slots)

    def events(self, timeout_seconds: float) -> list[tuple[Step, dict[str, Any]]]:
        """Events of running steps; a worker that died gives its step the event `failed`."""
        found: list[tuple[Step, dict[str, Any]]] = []
        for key, _ in self._selector.select(timeout_seconds):
            worker: _Worker = key.data
            step = self._busy.get(worker)
            events, is_open = worker.receive()
            for event in events:
                if step is not None:
                    found.append((step, event))
                if event["event"] != "progress":
                    self._busy.pop(worker, None)
                    self._idle[worker.num_threads].append(worker)
                    step = None
            if not is_open:
                if step is not None:
                    is_stopping = self._stopping_since is not None  # one that still starts dies of the signal
                    found.append((step, {"event": "stopped"} if is_stopping else worker.death_event()))
                self._forget(worker)
        return found + self._kill_late()

    def stop(self) -> None:
        """Ask running steps to save and stop (SIGTERM); `events` kills those that do not within seconds."""
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()
        for worker in self._busy:
            worker.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End running steps at once, engines with them (SIGKILL to each worker's process group)."""
        for worker in self._busy:
            worker.kill_group()

    def close(self) -> None:
        """Let all workers go; those that still work are given 30 s to save, then killed."""
        workers = [*self._busy, *(worker for idle in self._idle.values() for worker in idle)]
        self.stop()
        for worker in workers:
            worker.close_input()
        deadline = time.monotonic() + _STOP_GRACE_SECONDS
        for worker in workers:
            worker.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(worker.output)
            worker.output.close()
        self._selector.close()

    def _kill_late(self) -> list[tuple[Step, dict[str, Any]]]:
        """End the steps that were asked to stop and have had their time."""
        if self._stopping_since is None:
            return []
        waited = time.monotonic() - self._stopping_since
        late = [worker for worker, step in self._busy.items() if waited > _seconds_to_stop(step)]
        found: list[tuple[Step, dict[str, Any]]] = []
        for worker in late:
            found.append((self._busy[worker], {"event": "stopped"}))
            worker.kill_group()
            worker.wait(_STOP_SECONDS)
            self._forget(worker)
        return found

    def _new_worker(self, num_threads: int) -> _Worker:
        number = sum(len(idle) for idle in self._idle.values()) + len(self._busy)
        variables = os.environ | dict.fromkeys(THREAD_VARIABLES, str(num_threads))
        worker = _Worker(self._workspace, num_threads, number, variables)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _forget(self, worker: _Worker) -> None:
        self._busy.pop(worker, None)
        if worker in self._idle.get(worker.num_threads, []):
            self._idle[worker.num_threads].remove(worker)
        self._selector.unregister(worker.output)
        worker.output.close()


def _seconds_to_stop(step: Step) -> float:
    """What a step has between the signal and its end."""
    return _SAVE_SECONDS if step.kind in _SAVING_KINDS else _STOP_SECONDS


class _Worker:
    """A worker process with its pipes, its log and what it has said so far."""

    def __init__(self, workspace: Path, num_threads: int, number: int, environment: dict[str, str]) -> None:
        self.num_threads = num_threads
        logs = workspace / "logs"
        make_directory(logs)
        self.log_path = logs / f"worker-{socket.gethostname()}-{os.getpid()}-{number}.log"
        try:
            log = self.log_path.open("ab")
        except OSError as error:
            raise store_error("cannot write", self.log_path, error) from error
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "megadocs.pipeline.execute.worker", str(workspace)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the runner alone, which then asks the workers to save
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self.output: BinaryIO = self._process.stdout  # type: ignore[assignment]
        self._unfinished_line = b""

    def log_step(self, name: str) -> None:
        """Put the step's name into the log, so that what follows can be read."""
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(f"--- {name}\n")

    def send(self, job: dict[str, Any]) -> None:
        """Hand over a job; a worker that has just died shows at the next `receive`."""
        with contextlib.suppress(BrokenPipeError):
            self._input.write(json.dumps(job).encode("utf-8") + b"\n")
            self._input.flush()

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """Events that are complete by now, and whether the worker lives."""
        data = os.read(self.output.fileno(), 1 << 16)
        *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
        return [json.loads(line) for line in lines], bool(data)

    def death_event(self) -> dict[str, Any]:
        """Why the process ended in the middle of a step; `signal` is the one that killed it, or None."""
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        remedy = "out of memory? close other programs or lower --jobs" if code == -signal.SIGKILL else "see the log"
        return {
            "event": "failed",
            "what": f"the worker process {how}",
            "where": str(self.log_path),
            "remedy": f"{remedy}; run again to go on",
            "exit_code": 1,
            "signal": -code if code < 0 else None,
        }

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill_group(self) -> None:
        kill_group(self._process.pid)

    def close_input(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._input.close()

    def wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill_group()
            self._process.wait()
