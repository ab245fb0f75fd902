"""The student: a Llama with Hugging Face's parameter names, its initialisation, loss, import and export.

Names are loaded when first used: the shapes (`resolve_config`, `PRESETS`) without torch, all else with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from megadocs.model.config import PRESETS, LlamaConfig, resolve_config
    from megadocs.model.hf_export import export_hf
    from megadocs.model.hf_import import import_hf
    from megadocs.model.llama import Llama, build_model

__all__ = ["PRESETS", "Llama", "LlamaConfig", "build_model", "export_hf", "import_hf", "resolve_config"]

_MODULES = {
    "PRESETS": "config",
    "LlamaConfig": "config",
    "resolve_config": "config",
    "export_hf": "hf_export",
    "import_hf": "hf_import",
    "Llama": "llama",
    "build_model": "llama",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
