"""Small corpora of made-up prose, and the recipe that runs on them with the fake engine."""

from __future__ import annotations

import random
from pathlib import Path

WORDS = [
    "river",
    "stone",
    "market",
    "paper",
    "winter",
    "engine",
    "garden",
    "letter",
    "harbour",
    "council",
    "signal",
    "bridge",
    "mountain",
    "evening",
    "copper",
    "teacher",
    "village",
    "machine",
    "story",
    "cotton",
    "railway",
    "island",
    "lantern",
    "measure",
    "journey",
    "window",
    "harvest",
    "minister",
    "theory",
    "orchard",
]
VERBS = [
    "carries",
    "finds",
    "builds",
    "explains",
    "remembers",
    "changes",
    "follows",
    "returns",
    "opens",
    "measures",
    "describes",
    "keeps",
]

RECIPE = """
name: toy
description: Made-up prose and a fake engine.
corpus: {{source: "{source}", split: auto}}
generate:
  engine: {{kind: fake, model: fake, concurrency: 8}}
  rephrase: {{num_generations: 2, max_new_tokens: 60}}
  thought: {{num_generations: 2, max_new_tokens: 40}}
  split_tokenizer: {split_tokenizer}
tokenizer: {{kind: train, vocab_size: 300}}
model: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2}}
train: {{context_length: 64, batch_size: 4, real_epochs: 2, checkpoint_minutes: 0.01, log_every_steps: 1}}
mixture: {{block_windows: 16}}
analysis: {{num_bootstrap: 100}}
arms:
  real_only: {{}}
  real_2x: {{mixture.real_multiple: 2}}
  real_4x: {{mixture.real_multiple: 4}}
  simple: {{stream.ordering: simple, mixture.synthetic_fraction: 0.75}}
  stitched: {{stream.ordering: stitched, mixture.synthetic_fraction: 0.75}}
  latent_thoughts: {{stream.ordering: latent_thoughts, mixture.synthetic_fraction: 0.75}}
seeds: [0, 1]
"""


def write_texts(directory: Path, num_documents: int, seed: int = 0) -> Path:
    """A folder of .txt files of some 400 characters."""
    directory.mkdir(parents=True)
    draw = random.Random(seed)
    for number in range(num_documents):
        sentences = [
            f"The {draw.choice(WORDS)} {draw.choice(VERBS)} the {draw.choice(WORDS)} of the {draw.choice(WORDS)}."
            for _ in range(10)
        ]
        (directory / f"{number:03}.txt").write_text(f"Number {number}. {' '.join(sentences)}\n", encoding="utf-8")
    return directory


def write_recipe(path: Path, source: Path, split_tokenizer: Path) -> Path:
    """The toy recipe over a source."""
    path.write_text(RECIPE.format(source=source, split_tokenizer=split_tokenizer), encoding="utf-8")
    return path
