"""Measuring for the row benchmarks: wall and CPU time of this process and its children, memory, machine, versions.

CPU seconds are the figure to compare on a machine that is not idle: waiting for a core is not in them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("megadocs", "numpy", "pyarrow", "tokenizers", "torch", "datasets", "datatrove", "megatron-core")


class Timer:
    """Wall and CPU seconds of a block (`with Timer() as timer: ...`)."""

    def __enter__(self) -> Timer:
        self._wall, self._cpu = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = cpu_seconds() - self._cpu

    def rates(self, num_tokens: int) -> dict[str, float]:
        """Seconds and tokens per second, by the wall clock and by CPU time."""
        return {
            "num_tokens": num_tokens,
            "wall_seconds": round(self.wall, 4),
            "cpu_seconds": round(self.cpu, 4),
            "tokens_per_wall_second": round(num_tokens / self.wall),
            "tokens_per_cpu_second": round(num_tokens / max(self.cpu, 1e-9)),
        }


def cpu_seconds() -> float:
    """User and system time of this process and of the children it has waited for."""
    parts = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in parts)


def status_bytes(field: str) -> int:
    """A memory figure of /proc/self/status (RssAnon: private memory; VmHWM: peak of everything mapped in)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


@contextlib.contextmanager
def sampled_memory(seconds: float = 1.0) -> Iterator[list[int]]:
    """Samples of anonymous memory, one each `seconds`, while the block runs (and one at its end)."""
    samples = [status_bytes("RssAnon")]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(seconds):
            samples.append(status_bytes("RssAnon"))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.append(status_bytes("RssAnon"))


def machine() -> dict[str, Any]:
    """Hardware, load and versions, for the result file."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    return {
        "cpu": model,
        "num_cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_average": os.getloadavg(),
        "python": platform.python_version(),
        "packages": versions(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that matter, of this interpreter."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def median(values: list[float]) -> float:
    """The median, rounded to whole tokens per second."""
    return round(statistics.median(values))
