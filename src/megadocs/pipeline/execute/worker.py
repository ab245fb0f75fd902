"""A worker: one process that runs steps, one after the other, as the runner sends them.

Started as `python -m megadocs.pipeline.execute.worker WORKSPACE`. It reads one job per line (JSON) from standard
input and answers with events, one per line:

    {"event": "progress", ...}   {"event": "done", "seconds": ..., "cpu_seconds": ...}   {"event": "locked"}
    {"event": "stopped"}         {"event": "failed", "what": ..., "where": ..., "remedy": ..., "exit_code": ...}

A worker outlives its steps so that torch is imported once. Whatever a library prints goes to the log, not into the
protocol. SIGTERM asks the running step to save and stop; a dead parent does the same (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from typing import Any

from megadocs.errors import LockedError, MegadocsError
from megadocs.machine import die_with_parent
from megadocs.pipeline.stages.stage import Stopped, run_step
from megadocs.store.artifact import Workspace


def main() -> int:
    """Serve jobs until standard input ends."""
    workspace = Workspace(sys.argv[1])
    die_with_parent(signal.SIGTERM)  # a killed runner leaves no orphans, and its training is saved
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # a library's print goes to the log
    stop = _StopFlag()
    signal.signal(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner decides

    def emit(event: dict[str, Any]) -> None:
        protocol.write(json.dumps(event) + "\n")
        protocol.flush()

    cpu_before = 0.0
    for line in sys.stdin:
        ended = _serve(json.loads(line), workspace, emit, stop)
        cpu_now = time.process_time()  # the first job's includes the start of this process
        emit(ended | {"cpu_seconds": cpu_now - cpu_before})
        cpu_before = cpu_now
    return 0


class _StopFlag:
    """Set by SIGTERM, asked by the running step between two pieces of work."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self, *_: object) -> None:
        self.is_set = True

    def __call__(self) -> bool:
        return self.is_set


def _serve(job: dict[str, Any], workspace: Workspace, emit: Any, stop: _StopFlag) -> dict[str, Any]:
    """Run one job; the closing event."""
    started = time.monotonic()
    try:
        run_step(job, workspace, lambda event: emit({"event": "progress", **event}), stop)
    except Stopped:
        return {"event": "stopped"}
    except LockedError as error:
        return {"event": "locked", **error.to_json()}
    except MegadocsError as error:
        return {"event": "failed", **error.to_json()}
    except Exception as error:
        traceback.print_exc()
        return {
            "event": "failed",
            "error": type(error).__name__,
            "what": f"unexpected {type(error).__name__}: {error}",
            "where": None,
            "remedy": "this is a bug: please report it with the log",
            "exit_code": 1,
            "is_bug": True,
        }
    return {"event": "done", "seconds": time.monotonic() - started}


if __name__ == "__main__":
    sys.exit(main())
