"""The model a run starts with: fresh from a seed, or a pretrained one with its tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from megadocs.errors import InputError
from megadocs.machine import resolve_dtype
from megadocs.model.hf_import import import_hf
from megadocs.model.llama import Llama, build_model
from megadocs.model.pretrained import find_pretrained
from megadocs.model.pretrained import tokenizer_files as tokenizer_files_of
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.text.tokenizer import load_tokenizer

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Student:
    """A model on the CPU, float32, and the folder that it came from (None for a fresh one)."""

    model: Llama
    origin: Path | None

    def exported_files(self, tokenizer_files: Sequence[Path]) -> tuple[Sequence[Path], Path | None]:
        """What is exported beside the weights: tokenizer files, and the folder whose other settings are kept.

        With the tokenizer of the pretrained model all of its files go along (chat template, padding, longest text);
        with another one they would not fit: its own files do, and what is left out is said.
        """
        if self.origin is None:
            return tokenizer_files, None
        own = tokenizer_files_of(self.origin)
        if not tokenizer_files or _same_tokenizer(self.origin, tokenizer_files[0].parent):
            return own, self.origin
        names = ", ".join(path.name for path in own)
        _LOG.warning("exported with another tokenizer than %s has: its %s are left out", self.origin, names)
        return tokenizer_files, None


def build_student(recipe_model: ModelConfig, config: TrainConfig, *, vocab_size: int, seed: int) -> Student:
    """A fresh student, or the one of `model.init_from` (InputError if its vocabulary is too small)."""
    if recipe_model.init_from is None:
        student = Student(build_model(recipe_model, vocab_size, config.context_length, seed), None)
    else:
        folder = find_pretrained(recipe_model.init_from)
        student = Student(import_hf(folder, context_length=config.context_length), folder)
        if student.model.config.vocab_size < vocab_size:
            raise InputError(
                f"the tokenizer has {vocab_size} tokens, the model {student.model.config.vocab_size}",
                where=str(folder),
                remedy="use the model's own tokenizer: tokenizer.source is the same folder or name",
            )
    student.model.compute_dtype = getattr(torch, resolve_dtype(config.dtype, config.device))
    return student


def _same_tokenizer(one: Path, other: Path) -> bool:
    return load_tokenizer(str(one)).fingerprint == load_tokenizer(str(other)).fingerprint
