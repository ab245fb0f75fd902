"""The model a run starts with: fresh from a seed, or a pretrained one with its tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from megadocs.errors import InputError, RecipeError
from megadocs.machine import resolve_dtype
from megadocs.model.hf_import import import_hf
from megadocs.model.llama import Llama, build_model
from megadocs.model.pretrained import find_pretrained, tokenizer_files
from megadocs.recipe.training import ModelConfig, TrainConfig

_SHAPE = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


@dataclass(frozen=True)
class Student:
    """A model on the CPU, float32, and the tokenizer files that came with it (none for a fresh one)."""

    model: Llama
    tokenizer_files: list[Path]


def build_student(recipe_model: ModelConfig, config: TrainConfig, *, vocab_size: int, seed: int) -> Student:
    """A fresh student, or the one of `model.init_from` (InputError if its vocabulary is too small)."""
    if recipe_model.init_from is None:
        student = Student(build_model(recipe_model, vocab_size, config.context_length, seed), [])
    else:
        overridden = [name for name in _SHAPE if getattr(recipe_model, name) is not None]
        if overridden:
            raise RecipeError(
                "a model that is gone on from keeps its shape",
                where=f"model.{overridden[0]}",
                remedy=f"remove {', '.join(overridden)}, or remove model.init_from",
            )
        folder = find_pretrained(recipe_model.init_from)
        student = Student(import_hf(folder, context_length=config.context_length), tokenizer_files(folder))
        if student.model.config.vocab_size < vocab_size:
            raise InputError(
                f"the tokenizer has {vocab_size} tokens, the model {student.model.config.vocab_size}",
                where=str(folder),
                remedy="use the model's own tokenizer: tokenizer.source is the same folder or name",
            )
    student.model.compute_dtype = getattr(torch, resolve_dtype(config.dtype, config.device))
    return student
