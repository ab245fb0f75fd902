"""Fixtures of the command-line tests: the command itself, and a small recipe with its corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command import Command

BASE = """
name: t
corpus: {source: SOURCE, split: auto}
generate:
  engine: {kind: fake, model: fake, context_tokens: 2048, concurrency: 4}
  rephrase: {num_generations: 1, max_new_tokens: 64}
tokenizer: {kind: train, vocab_size: 512}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2}
train: {context_length: 64, batch_size: 2, real_epochs: 2}
arms:
  real_only: {}
  simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.5}
seeds: [0]
"""


@pytest.fixture
def megadocs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A recipe over 32 short documents."""
    source = tmp_path / "in"
    source.mkdir()
    words = ["river", "stone", "cloud", "winter", "letter", "garden", "music", "silver", "harbour", "window", "candle"]
    lines = []
    for number in range(32):
        text = " ".join(words[(number * 7 + place * place + place) % 11] for place in range(24))
        lines.append(json.dumps({"id": f"d{number}", "text": f"{text} number {number}."}))
    (source / "a.jsonl").write_text("\n".join(lines) + "\n")
    recipe = tmp_path / "base.yaml"
    recipe.write_text(BASE.replace("SOURCE", str(source)))
    return recipe
