"""Small runs for the tests: a mixture of numbered windows and random tokens made from the step alone."""

from __future__ import annotations

import numpy as np

from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.train import TrainingJob, run_training

VOCAB = 64
MODEL = ModelConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)


class NumberedWindows:
    """Window ids (stream, epoch, window), counted up."""

    def __init__(self, num_steps, batch_size):
        self.num_steps = num_steps
        self.batch_size = batch_size

    def window_ids(self, step):
        return [("real", 0, step * self.batch_size + i) for i in range(self.batch_size)]


def train_config(**changes):
    fields = {
        "context_length": 16,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "log_every_steps": 1,
        "checkpoint_minutes": 1e-9,
    }
    return TrainConfig(**(fields | changes))


def read_random(step):
    """(4, 16) tokens that depend on the step only."""
    return np.random.default_rng(step).integers(0, VOCAB, (4, 16), dtype=np.uint32), None


def train(output_dir, *, num_steps=12, config=None, read_batch=read_random, **changes):
    """A run with the defaults above."""
    config = config or train_config()
    arguments = {
        "recipe_model": MODEL,
        "config": config,
        "mixture": NumberedWindows(num_steps, config.batch_size),
        "read_batch": read_batch,
        "vocab_size": VOCAB,
        "seed": 0,
        "output_dir": output_dir,
    }
    return run_training(TrainingJob(**(arguments | changes)))
