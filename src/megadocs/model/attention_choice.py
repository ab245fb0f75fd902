"""Which attention kernel is the fastest on this machine for a run's shape: measured once, then remembered.

    kernel = choose_kernel(model.config, length=1024, dtype=torch.bfloat16)      # "fused_float32"

No rule holds across processors (`attention.py` has the figures), so each candidate runs forward and backward on windows
of two heads and some 2,048 positions in all: about a second, once for a processor, torch version, number of threads and
shape. A single head misleads: at 256 positions with AMX it takes `plain` 1.08 ms and `fused_float32` 0.68, eight heads
0.56 and 0.65 each, 32 heads 0.45 and 0.71 (a batch's products are prepared once). torch's own kernel stays unless
another takes a tenth less, so that noise decides little. The answer is kept in the user's cache folder, where the first
of several processes wins; a folder that cannot be written only means measuring again. Kernels round differently, so a
training run keeps the one it began with (`train/loop.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from megadocs.errors import StoreError
from megadocs.machine import cache_folder, processor_name
from megadocs.model.attention import Kernel, candidates, causal_attention, keeps_weights
from megadocs.model.config import LlamaConfig
from megadocs.model.memory import freed_memory_kept
from megadocs.recipe import fingerprint
from megadocs.store.files import make_directory, read_json, write_json_atomic

#: Seconds of processor time for all repetitions of all candidates, and the fewest of each. They take turns: a neighbour
#: who disturbs for a tenth of a second disturbs all alike, and the least of several is what counts.
_BUDGET = 0.5
_FEWEST = 3
#: Of the windows that a pass reads, together; one window is the least.
_POSITIONS = 2048
_WORTH_A_CHANGE = 0.9


def choose_kernel(config: LlamaConfig, *, length: int, dtype: torch.dtype) -> Kernel:
    """The fastest of `attention.candidates` for windows of `length` tokens, on a CPU."""
    choices = candidates(dtype, length)
    grouped = config.num_attention_heads != config.num_key_value_heads
    key = {
        "processor": processor_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dtype": str(dtype),
        "length": length,
        "head_dim": config.head_dim,
        "grouped": grouped,
        "candidates": list(choices),
        "positions": _POSITIONS,
    }
    keep_weights = keeps_weights(config.num_attention_heads, length, dtype)
    if not keep_weights:  # `blocks` is slower then
        key["keep_weights"] = keep_weights
    path = cache_folder() / "attention" / f"{fingerprint(key)}.json"
    found = _remembered(path, choices)
    if found is not None:
        return found
    with freed_memory_kept():  # as in training
        seconds = _seconds(
            lambda kernel: _pass(kernel, length, config.head_dim, dtype, grouped=grouped, keep_weights=keep_weights),
            choices,
        )
    fastest = min(choices, key=lambda kernel: seconds[kernel])
    chosen = fastest if seconds[fastest] < _WORTH_A_CHANGE * seconds["fused"] else "fused"
    found = _remembered(path, choices)  # of a process that measured at the same time
    if found is not None:
        return found
    try:
        make_directory(path.parent)
        write_json_atomic(path, {"kernel": chosen, "seconds": seconds, "measured_for": key})
    except (OSError, StoreError):  # measured again next time
        pass
    return chosen


def _remembered(path: Path, choices: tuple[Kernel, ...]) -> Kernel | None:
    try:
        name = read_json(path)["kernel"]
    except (OSError, StoreError, ValueError, KeyError, TypeError):
        return None
    return next((kernel for kernel in choices if kernel == name), None)


def _seconds(run: Callable[[Kernel], float], choices: Sequence[Kernel]) -> dict[Kernel, float]:
    """The least of each kernel's repetitions, in processor seconds."""
    times: dict[Kernel, list[float]] = {kernel: [] for kernel in choices}
    for kernel in choices:
        run(kernel)  # warms up
    while len(times["fused"]) < _FEWEST or sum(map(sum, times.values())) < _BUDGET:
        for kernel in choices:
            times[kernel].append(run(kernel))
    return {kernel: min(found) for kernel, found in times.items()}


def _pass(
    kernel: Kernel, length: int, head_dim: int, dtype: torch.dtype, *, grouped: bool, keep_weights: bool
) -> float:
    heads = (2, 1, 1) if grouped else (2, 2, 2)
    rows = max(1, _POSITIONS // length)
    q, k, v = (
        torch.ones(rows, length, count, head_dim, dtype=dtype).transpose(1, 2).requires_grad_() for count in heads
    )
    grad = torch.ones(rows, heads[0], length, head_dim, dtype=dtype)
    started = time.process_time()
    with torch.enable_grad():
        causal_attention(q, k, v, kernel, keep_weights=keep_weights).backward(grad)  # type: ignore[no-untyped-call]
    return time.process_time() - started
