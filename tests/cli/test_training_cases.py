"""Runs that were lost or priced wrong, as a user sees them: failing trackers, diverging trials, pretrained students."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from megadocs.model import build_model, export_hf
from megadocs.recipe import ModelConfig
from megadocs.text.tokenizer import train_tokenizer

pytestmark = pytest.mark.timeout(600)  # each trains in processes of its own: half a minute on a quiet machine

NO_KEY = """
class UsageError(Exception): pass
def init(**settings): raise UsageError("No API key configured. Use `wandb login` to log in.")
"""
NO_NETWORK = """
class Run:
    def log(self, values, step): pass
    def finish(self): raise ConnectionError("wandb: Network error, entering retry loop timed out.")
def init(**settings): return Run()
"""
NO_LOG = """
class Run:
    def log(self, values, step): raise SystemExit("quota")
    def finish(self): pass
def init(**settings): return Run()
"""


def run(recipe: Path, *words: str, stubs: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A verb in a process of its own, the stubs before everything installed."""
    path = os.pathsep.join([*([str(stubs)] if stubs else []), *sys.path])
    variables = os.environ | {"PYTHONPATH": path, "MEGADOCS_CONSENT": str(recipe.parent / "none.yaml")}
    command = [sys.executable, "-m", "megadocs", words[0], str(recipe), *words[1:]]
    command += ["--workspace", str(recipe.parent / "ws")]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(("stub", "words"), [(NO_KEY, "No API key"), (NO_NETWORK, "Network error"), (NO_LOG, "quota")])
def test_a_tracker_that_fails_costs_a_warning(base, stub, words):
    (base.parent / "stubs").mkdir()
    (base.parent / "stubs/wandb.py").write_text(stub)
    ended = run(base, "train", "train.trackers=[wandb]", "arms={real_only: {}}", "-j", "1", stubs=base.parent / "stubs")
    assert ended.returncode == 0, ended.stderr
    assert words in ended.stderr
    assert "this is a bug" not in ended.stderr
    assert len(list(base.parent.glob("ws/train/*/model/config.json"))) == 1


def test_a_diverged_neighbour_leaves_a_certificate(base):
    axes = "search={axes: {train.learning_rate: {values: [1e-3, 1e-2, 1e30]}}, start: {train.learning_rate: 1e-2}}"
    ended = run(base, "search", axes, "arms={real_only: {}}", "train.dtype=float32", "-j", "1", "--json")
    assert ended.returncode == 0, ended.stderr
    (arm,) = json.loads(ended.stdout)["arms"]
    assert arm["certificate"]["kind"] == "interior"
    assert {row["value"]: row["verdict"] for row in arm["certificate"]["neighbours"]}[1e30] == "diverged"
    again = run(base, "search", axes, "arms={real_only: {}}", "train.dtype=float32", "-j", "1")
    assert "(0 new)" in again.stdout + again.stderr  # a diverged trial is not tried again


def test_a_pretrained_student_is_priced_by_its_own_shape(base):
    tokenizer = train_tokenizer(["river stone cloud winter"] * 4, 300)
    flops = {}
    for name, width in (("small", 32), ("large", 256)):
        shape = ModelConfig(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2)
        model = build_model(shape, tokenizer.vocab_size, 64, 0)
        export_hf(model, base.parent / name)
        tokenizer.save(base.parent / name)
        text = base.read_text().replace("tokenizer: {kind: train, vocab_size: 512}", "")
        text = "\n".join(line for line in text.splitlines() if not line.startswith("model:"))
        recipe, folder = base.with_name(f"{name}.yaml"), base.parent / name
        recipe.write_text(f"{text}\nmodel: {{init_from: {folder}}}\ntokenizer: {{kind: load, source: {folder}}}\n")
        ended = run(recipe, "plan", "--json")
        assert ended.returncode == 0, ended.stderr
        (line,) = [line for line in json.loads(ended.stdout)["lines"] if line["name"] == "train real_only seed 0"]
        flops[name] = line["flops"] / line["num_tokens"]  # of one token: six for each parameter, and attention
        assert flops[name] == pytest.approx(6 * model.config.num_parameters, rel=0.5)
    assert flops["large"] > 20 * flops["small"]
