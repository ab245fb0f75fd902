"""What this machine is and what its system offers, found without importing torch.

    has_fast_bfloat16("auto")    # True: multiply in bfloat16; False: float32 is faster
    usable_cores()               # of this process, not of the machine

This is the one place that asks for what only Linux has (`prctl`, `sched_getaffinity`, `/proc`, `fdatasync`, glibc's
`mallopt`), and each has a fallback here for macOS. `generate/engines/supervise.py`, which runs by its path and imports
nothing of ours, is the one exception; `tests/test_machine.py` searches the package for others and runs an experiment
without any of them.

A processor without bfloat16 instructions emulates them: on an EPYC with AVX2 alone one core multiplied 10 GFLOP/s in
bfloat16 and 90 in float32, and a 0.3M-parameter student trained at 2.3k tokens a processor second instead of 22.7k.
With AMX, or AVX-512 bfloat16 on an EPYC, it is the other way round, by a factor of three to four. On an Intel processor
whose AVX-512 has bfloat16 but whose AMX is not there (virtual machines hide it) float32 is faster again: 122 against 82
GFLOP/s forward at 1.3M parameters, 155 against 82 backward, since a bfloat16 product is no wider than a float32 one and
operands are repacked; a model that writes 16 sequences multiplies 1.5 times faster with float16 weights.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import signal
import sys
import threading
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

#: Processor flags of bfloat16 products that torch's CPU kernels use (x86; `bf16` on ARM).
_BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}
#: Of Intel's, those that are faster than float32.
_INTEL_FLAGS = {"amx_bf16"}
_PR_SET_PDEATHSIG = 1


def has_fast_bfloat16(device: Literal["auto", "cpu", "cuda"] = "auto") -> bool:
    """Whether the device multiplies bfloat16 faster than float32; `auto` is CUDA where there is a GPU, else the CPU."""
    if device == "cuda" or (device == "auto" and _has_cuda()):
        return True
    return bool(cpu_flags() & (_INTEL_FLAGS if _vendor() == "GenuineIntel" else _BFLOAT16_FLAGS))


def resolve_dtype(dtype: str, device: Literal["auto", "cpu", "cuda"] = "auto") -> str:
    """`bfloat16` or `float32`: what was asked for, or what `auto` stands for on this machine."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def has_nvidia_driver() -> bool:
    """Whether the kernel has loaded NVIDIA's driver; False where the system cannot say (macOS has none)."""
    return Path("/proc/driver/nvidia/version").exists()


def usable_cores() -> int:
    """Cores that this process may run on: its affinity where the system has one, else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """`AMD EPYC (family 25, model 17)`; the architecture where the system does not say more.

    Virtual machines call very different processors "AMD EPYC": family and model tell a Zen 4 from a Zen 5, whose
    products run at two and a half times the rate.
    """
    name = next(iter(_cpu_info("model name")), platform.machine())
    numbers = [f"family {value}" for value in _cpu_info("cpu family")[:1]]
    numbers += [f"model {value}" for value in _cpu_info("model")[:1]]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def cache_folder() -> Path:
    """The user's folder for what was measured on this machine: `~/.cache/megadocs`, unless variables move it."""
    own = os.environ.get("MEGADOCS_CACHE_DIR")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "megadocs"


def cpu_flags() -> frozenset[str]:
    """Instruction-set flags of the first processor; none where the system does not list them (macOS)."""
    return _cpu_flags()


def memory_bytes() -> int | None:
    """Memory of the machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def available_memory_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say (macOS)."""
    lines = _read("/proc/meminfo").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def child_processes(process: int) -> list[int]:
    """Process ids of the direct children; empty where the system does not list them (macOS)."""
    return [int(child) for child in _read(f"/proc/{process}/task/{process}/children").split()]


def die_with_parent(number: signal.Signals = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Send this process a signal when its parent ends: the kernel does on Linux, elsewhere a thread looks each second.

    Args:
        number: SIGTERM where there is something to save first.
        parent: its process id, read before; this process leaves at once if the parent has died since.
    """
    library = _c_library()
    if library is not None and hasattr(library, "prctl"):
        library.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    else:
        threading.Thread(target=_signal_orphan, args=(number, parent or os.getppid()), daemon=True).start()
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _signal_orphan(number: signal.Signals, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), number)


def kill_group(group: int) -> None:
    """SIGKILL to a process group that may have ended; macOS answers EPERM where only zombies are left of it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def sync_data(descriptor: int) -> None:
    """Force a file's content and size to the disk; the rest of what the system knows of it may come later.

    Raises:
        OSError: the disk did not take it.
    """
    if hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        sync_file(descriptor)


def sync_file(descriptor: int) -> None:
    """Force a file or directory to the disk. macOS's fsync stops at the drive's cache, F_FULLFSYNC does not.

    Raises:
        OSError: the disk did not take it.
    """
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        try:
            fcntl.fcntl(descriptor, full_sync)
            return
        except OSError:  # a file system without it: some network mounts
            pass
    os.fsync(descriptor)


def glibc() -> ctypes.CDLL | None:
    """The C library where it is glibc, whose allocator can be told to keep memory; None elsewhere."""
    library = _c_library()
    return library if hasattr(library, "mallopt") else None


def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def _has_cuda() -> bool:
    """Whether torch will find an NVIDIA GPU: the driver is loaded, a GPU is visible, and torch is built for it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or not has_nvidia_driver():
        return False
    try:
        return "+cpu" not in version("torch")
    except PackageNotFoundError:
        return False


@cache
def _cpu_flags() -> frozenset[str]:
    return frozenset(next(iter([*_cpu_info("flags"), *_cpu_info("Features")]), "").split())


@cache
def _vendor() -> str:
    return next(iter(_cpu_info("vendor_id")), "")


def _cpu_info(name: str) -> list[str]:
    """Values of a field of /proc/cpuinfo, one a processor."""
    fields = (line.partition(":") for line in _read("/proc/cpuinfo").splitlines())
    return [value.strip() for field, _, value in fields if field.strip() == name]


def _read(path: str) -> str:
    """A file of /proc; empty where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
