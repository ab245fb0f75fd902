"""The student: a Llama with Hugging Face's parameter names, its initialisation, loss, import and export.

Shapes and counts (`config`) need no torch; what does is loaded at its first use, so that `megadocs plan` answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from megadocs.model.config import PRESETS, LlamaConfig, resolve_config

if TYPE_CHECKING:
    from megadocs.model.hf_export import export_hf
    from megadocs.model.llama import Llama, build_model

_NEEDS_TORCH = {"Llama": "llama", "build_model": "llama", "export_hf": "hf_export"}

__all__ = ["PRESETS", "Llama", "LlamaConfig", "build_model", "export_hf", "resolve_config"]


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_NEEDS_TORCH[name]}"), name)
