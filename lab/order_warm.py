"""The warm start of `recipes/order.yaml`: a small student that learns to copy from its context, then to read text.

    python lab/order_text.py TREE... runs/order_text             # public text that is no speech; see lab/order.md
    python lab/order_warm.py runs/order_text runs/order_model

Phases of plain training, each with an optimiser of its own: first windows of random tokens that repeat after 4 to 48
(in which a two-layer student learns to copy after some 1,500 updates), then text of which half is repeated, in longer
windows. Every hundred updates the repeat score is printed. The student is written as a Hugging Face folder.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from megadocs.evaluate.context_use import repeat_score
from megadocs.evaluate.scoring_model import as_scoring_model
from megadocs.model.hf_export import export_hf
from megadocs.model.llama import Llama, build_model
from megadocs.model.memory import freed_memory_kept
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.text.tokenizer import train_tokenizer
from megadocs.train.optimiser import build_optimiser, set_rates

VOCABULARY, LONGEST = 2048, 1024
SHAPE = ModelConfig(
    hidden_size=96,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=3,
    tie_word_embeddings=True,
)


@dataclass(frozen=True)
class Phase:
    """A stretch of updates.

    Attributes:
        num_updates: at a constant rate less `decay` of it, linearly, after a warm-up of 50.
        batch_size: windows.
        length: of a window.
        random_share: share of windows that are random tokens, over and over.
        longest_period: after which they repeat (4 or more, drawn uniformly).
        learning_rate: peak.
        decay: share of the rate that is gone at the end.
        seed: of the windows.
        text: file that the other windows are cut from.
    """

    num_updates: int
    batch_size: int
    length: int
    random_share: float
    longest_period: int
    learning_rate: float = 3e-3
    decay: float = 0.0
    seed: int = 0
    text: str = "text"


#: As run on 2026-11-29: after each of the first three, training was stopped, looked at and gone on with.
PHASES = (
    Phase(800, 4, 128, 1.0, 48, seed=0),
    Phase(1800, 4, 128, 1.0, 48, seed=1),
    Phase(2500, 1, 512, 0.2, 200, decay=0.6, seed=2),
    Phase(4000, 1, 768, 0.1, 300, learning_rate=2e-3, decay=0.95, seed=3),
    Phase(5000, 1, 768, 0.0, 300, decay=0.8, seed=4, text="retold"),
)


def draw_window(rng: np.random.Generator, phase: Phase, text: Tensor, unigrams: np.ndarray) -> Tensor:
    """Tokens of text from anywhere, or a random sequence that repeats."""
    if rng.random() < phase.random_share:
        period = int(rng.integers(4, phase.longest_period + 1))
        like_text = rng.random() < 0.5
        drawn = unigrams[rng.integers(0, len(unigrams), period)] if like_text else rng.integers(2, VOCABULARY, period)
        start = int(rng.integers(0, period))
        return torch.from_numpy(np.tile(drawn, phase.length // period + 2)[start : start + phase.length])
    start = int(rng.integers(0, len(text) - phase.length))
    return text[start : start + phase.length]


def train(model: Llama, phase: Phase, text: Tensor, unigrams: np.ndarray) -> None:
    """Train the phase, and say every hundred updates how it goes."""
    config = TrainConfig(learning_rate=phase.learning_rate, weight_decay=0.1)
    optimiser = build_optimiser(model, config)
    rng = np.random.default_rng(phase.seed)
    began, total = time.process_time(), 0.0
    for update in range(phase.num_updates):
        rate = phase.learning_rate * min(1, (update + 1) / 50) * (1 - phase.decay * update / phase.num_updates)
        set_rates(optimiser, learning_rate=rate, weight_decay=config.weight_decay)
        tokens = torch.stack([draw_window(rng, phase, text, unigrams) for _ in range(phase.batch_size)])
        loss = model(tokens, loss_scale=1 / (phase.batch_size * (phase.length - 1)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        total += loss.item()
        if (update + 1) % 100 == 0:
            model.eval()
            scores = [repeat_score(as_scoring_model(model), unigrams[:20_000], length) for length in (96, 512)]
            model.train()
            print(
                f"{update + 1}: loss {total / 100:.3f}, repeat score {scores[0]:+.3f} at 96 tokens, "
                f"{scores[1]:+.3f} at 512, {time.process_time() - began:.0f} processor seconds",
                flush=True,
            )
            total = 0.0


def read_texts(path: Path) -> list[str]:
    """The text of every record."""
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def main(text_folder: str, model_folder: str) -> None:
    """Train the phases and write the student."""
    torch.set_num_threads(1)
    source = Path(text_folder)
    tokenizer = train_tokenizer(read_texts(source / "tokenizer.jsonl"), VOCABULARY)
    tokens = {
        name: np.concatenate(tokenizer.encode_rows(read_texts(source / f"{name}.jsonl"))).astype(np.int64)
        for name in ("text", "retold", "prose")
    }
    model = build_model(SHAPE, VOCABULARY, LONGEST, seed=0)
    with freed_memory_kept():
        for phase in PHASES:
            print(phase, flush=True)
            train(model, phase, torch.from_numpy(tokens[phase.text]), tokens["prose"])
    tokenizer.save(source)
    files = [source / "tokenizer.json", source / "tokenizer_config.json"]
    export_hf(model, Path(model_folder), tokenizer_files=files, bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id)


if __name__ == "__main__":
    main(*sys.argv[1:])
