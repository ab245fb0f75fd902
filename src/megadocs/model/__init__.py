"""The student: a Llama with Hugging Face's parameter names, its initialisation, loss, import and export."""

from megadocs.model.config import PRESETS, LlamaConfig, resolve_config
from megadocs.model.hf_export import export_hf
from megadocs.model.llama import Llama, build_model

__all__ = ["PRESETS", "Llama", "LlamaConfig", "build_model", "export_hf", "resolve_config"]
