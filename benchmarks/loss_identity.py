"""Are the losses of two commits the same to the bit? `loss_identity.py OLD [NEW]` (NEW: the working tree).

A change that is not meant to change results must pass (style: a refactor gives an identical loss). Both sides train
the same small students (plain, grouped heads with boundaries, averaged and masked) for 30 steps on the same random
tokens, on one thread with torch's attention kernel, and their losses, gradient norms and exported weights are compared.
Exit code 0: identical; 1: not, with the first step that differs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROBE = """
import hashlib, json, sys, tempfile
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
try:  # not the kernel that either side measured as the fastest: kernels round differently
    from megadocs.model import attention_choice
    attention_choice.choose_kernel = lambda config, *, length, dtype: "fused"
except ImportError:  # commits before it
    pass
from megadocs.recipe.training import ModelConfig, TrainConfig
import megadocs.train as trainer

class Windows:
    num_steps = 30
    def window_ids(self, step):
        return list(range(step * 4, step * 4 + 4))

cases = {
    "plain": ({}, {}, False),
    "grouped, boundaries": ({"num_attention_heads": 2, "num_key_value_heads": 1}, {}, True),
    "float32": ({}, {"dtype": "float32", "micro_batch_size": 3}, False),
    "averaged, masked": ({}, {"ema_decay": 0.9, "masked_input_fraction": 0.1}, False),
}
result = {}
for name, (model, train, has_segments) in cases.items():
    def read(step):
        generator = np.random.default_rng(step)
        tokens = generator.integers(0, 300, (4, 64))
        return tokens, (np.cumsum(tokens < 10, axis=1) if has_segments else None)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(context_length=64, batch_size=4, log_every_steps=1, **{"dtype": "bfloat16", **train})
        job = dict(recipe_model=ModelConfig(**model), config=config, mixture=Windows(), read_batch=read,
                   vocab_size=300, seed=0, output_dir=Path(folder))
        if hasattr(trainer, "TrainingJob"):
            trainer.run_training(trainer.TrainingJob(**job))
        else:  # commits before it
            trainer.run_training(**job)
        lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
        weights = (Path(folder) / "model/model.safetensors").read_bytes()
    result[name] = {"steps": [[line["loss"], line["grad_norm"]] for line in lines if "loss" in line],
                    "weights": hashlib.sha256(weights).hexdigest()}
print(json.dumps(result))
"""


def curves(source: Path) -> dict[str, dict[str, Any]]:
    environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, env=environment)
    if result.returncode:
        sys.exit(f"training from {source} failed:\n{result.stderr[-2000:]}")
    return json.loads(result.stdout.strip().splitlines()[-1])


def curves_of_commit(commit: str) -> dict[str, dict[str, Any]]:
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        return curves(Path(folder) / "src")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new", nargs="?")
    arguments = parser.parse_args()
    old = curves_of_commit(arguments.old)
    new = curves(ROOT / "src") if arguments.new is None else curves_of_commit(arguments.new)
    is_same = True
    for name in new:
        pairs = list(zip(old[name]["steps"], new[name]["steps"], strict=True))
        first = next((step for step, (left, right) in enumerate(pairs, start=1) if left != right), None)
        same = first is None and old[name]["weights"] == new[name]["weights"]
        is_same &= same
        where = "" if same else f": first differs at step {first}, {pairs[(first or 1) - 1]}"
        print(f"{name:22} {'identical' if same else 'DIFFERENT'}{where}")
    sys.exit(0 if is_same else 1)


if __name__ == "__main__":
    main()
