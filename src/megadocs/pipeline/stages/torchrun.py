"""One training run on several processes of this machine: torchrun is started, watched and stopped.

    summary = train_on_ranks(context, num_processes=4)

Every rank is `python -m megadocs.pipeline.stages.rank JOB.json` (`rank.py`); the first one tells its progress on
torchrun's standard output, one JSON object a line. To stop, the first rank is signalled: all ranks agree in the next
step's exchange, save and end. Nothing outlives this process: the kernel kills torchrun with it, and the ranks with
torchrun.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from megadocs.errors import MegadocsError
from megadocs.machine import die_with_parent, usable_cores
from megadocs.pipeline.stages.stage import StageContext, Stopped
from megadocs.store.files import write_json_atomic

if TYPE_CHECKING:
    from megadocs.train import TrainSummary

_JOB = "ranks.json"
_POLL_SECONDS = 0.25


def is_rank() -> bool:
    """Whether this process is one of several ranks already (torchrun, or a scheduler that sets its variables)."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def train_on_ranks(context: StageContext, num_processes: int) -> TrainSummary:
    """Train the step of `context` on new processes.

    Raises:
        Stopped: asked to stop; a checkpoint was saved.
        MegadocsError: what a rank raised, or that one died.
    """
    from megadocs.train import TrainSummary

    job = context.build.path / _JOB
    write_json_atomic(job, rank_job(context))
    process = _start_torchrun(str(job), num_processes)
    closing: dict[str, Any] = {}
    first_rank, is_stopping = None, False
    try:
        for event in _events(process):
            if event is None:
                pass
            elif event["event"] == "progress":
                context.report({key: value for key, value in event.items() if key != "event"})
            elif event["event"] == "started":
                first_rank = event["pid"]
            elif not closing:  # later ones follow from the first
                closing = event
            if first_rank is not None and not is_stopping and context.should_stop():
                is_stopping = True
                os.kill(first_rank, signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
    return _conclude(closing, process.returncode, TrainSummary, job)


def rank_job(context: StageContext) -> dict[str, Any]:
    """What a rank needs to open the same step."""
    return {
        "workspace": str(context.workspace.root),
        "path": str(context.build.path),
        "config": context.config,
        "settings": context.settings,
        "inputs": {role: [artifact.step, artifact.fingerprint] for role, artifact in context.inputs.items()},
    }


def _start_torchrun(job: str, num_processes: int) -> subprocess.Popen[bytes]:
    threads = int(os.environ.get("OMP_NUM_THREADS") or usable_cores())
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    return subprocess.Popen(
        [*torchrun, "-m", "megadocs.pipeline.stages.rank", job],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(max(1, threads // num_processes))},
        preexec_fn=die_with_parent,
    )


def _events(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any] | None]:
    """What the ranks say, and None four times a second, until torchrun has ended."""
    assert process.stdout is not None
    output: BinaryIO = process.stdout  # type: ignore[assignment]
    unfinished = b""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while True:
            if selector.select(_POLL_SECONDS):
                data = os.read(output.fileno(), 1 << 16)
                if not data:
                    process.wait()
                    return
                *lines, unfinished = (unfinished + data).split(b"\n")
                yield from (event for event in map(_parsed, lines) if event is not None)
            yield None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where a library printed something else."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _conclude(closing: dict[str, Any], returncode: int, summary: type[TrainSummary], job: Any) -> TrainSummary:
    """The summary of a run that finished; otherwise the error that fits."""
    kind = closing.get("event")
    if kind == "done":
        job.unlink()
        return summary(**closing["summary"])
    if kind == "stopped":
        raise Stopped
    if kind == "failed":
        error = MegadocsError(closing["what"], where=closing["where"], remedy=closing["remedy"])
        error.exit_code = closing["exit_code"]
        raise error
    raise MegadocsError(
        f"a rank of the run died (torchrun ended with exit code {returncode})",
        where="the workspace's logs/",
        remedy="out of memory? use more ranks or a smaller train.micro_batch_size; run again to continue from the "
        "last checkpoint",
    )
