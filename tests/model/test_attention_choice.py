"""The choice of an attention kernel: the fastest is taken, remembered, and measured anew where nothing can be kept."""

from __future__ import annotations

import json

import pytest
import torch

from megadocs.model import attention_choice
from megadocs.model.attention_choice import choose_kernel
from megadocs.model.config import resolve_config
from megadocs.recipe.training import ModelConfig

SHAPE = resolve_config(ModelConfig(preset="tiny"), vocab_size=64, context_length=64)

#: Passes: four kernels, once to warm up; seconds this long end the rounds as soon as they may.
ONE_CHOICE = 4 * (1 + attention_choice._FEWEST)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Names of what was run, in order; seconds by kernel may be set."""
    monkeypatch.setenv("MEGADOCS_CACHE_DIR", str(tmp_path / "cache"))
    seconds = {"plain": 3.0, "blocks": 2.0, "fused": 4.0, "fused_float32": 1.0}
    names = []

    def one(kernel, *arguments, **options):
        names.append(kernel)
        return seconds[kernel]

    monkeypatch.setattr(attention_choice, "_pass", one)
    return names, seconds


def choose(length=256, dtype=torch.bfloat16):
    return choose_kernel(SHAPE, length=length, dtype=dtype)


def test_the_fastest_is_taken_and_remembered_for_this_shape(measured):
    names, seconds = measured
    assert choose() == "fused_float32"
    assert set(names) == {"blocks", "fused", "fused_float32", "plain"}
    assert len(names) == ONE_CHOICE
    seconds["plain"] = 0.1
    assert choose() == "fused_float32"
    assert len(names) == ONE_CHOICE
    assert choose(length=64) == "plain"
    assert choose(dtype=torch.float32) == "plain"


def test_a_disturbed_repetition_decides_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("MEGADOCS_CACHE_DIR", str(tmp_path / "cache"))
    calls = []

    def one(kernel, *arguments, **options):
        calls.append(kernel)
        disturbed = 5 < len(calls) < 12  # a neighbour, for longer than one kernel's turn
        return {"plain": 0.02, "blocks": 0.03, "fused": 0.03, "fused_float32": 0.025}[kernel] * (9 if disturbed else 1)

    monkeypatch.setattr(attention_choice, "_pass", one)
    assert choose() == "plain"


def test_torchs_own_stays_unless_another_is_clearly_faster(measured):
    measured[1].update(plain=3.7, blocks=3.7, fused_float32=3.7)
    assert choose() == "fused"


@pytest.mark.parametrize("text", ["", "[]", '{"kernel": "unheard_of"}', "{"])
def test_a_damaged_memory_is_measured_again(measured, text, tmp_path):
    choose()
    (path,) = (tmp_path / "cache").rglob("*.json")
    assert json.loads(path.read_text())["kernel"] == "fused_float32"
    path.write_text(text)
    assert choose() == "fused_float32"
    assert len(measured[0]) == 2 * ONE_CHOICE


def test_a_folder_that_cannot_be_written_only_means_measuring_again(measured, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert choose() == choose() == "fused_float32"
    assert len(measured[0]) == 2 * ONE_CHOICE


def test_every_candidate_can_be_timed():
    for kernel in ("plain", "blocks", "fused", "fused_float32"):
        for keep in (True, False):
            options = {"grouped": kernel != "plain", "keep_weights": keep}
            assert attention_choice._pass(kernel, 160, 16, torch.bfloat16, **options) > 0


def test_a_long_window_of_many_heads_is_measured_as_it_will_run(measured, monkeypatch):
    """With the weights made again in the backward pass; a memory of few heads does not answer for many."""
    _, seconds = measured
    kept = []

    def one(kernel, *arguments, keep_weights, **options):
        kept.append(keep_weights)
        return seconds[kernel] * (3 if kernel == "blocks" and not keep_weights else 1)

    monkeypatch.setattr(attention_choice, "_pass", one)
    seconds |= {"blocks": 2.0, "fused": 4.0, "fused_float32": 5.0}
    for heads, chosen in ((1, "blocks"), (4, "fused")):
        shape = {"hidden_size": 16 * heads, "num_attention_heads": heads, "num_key_value_heads": heads}
        config = resolve_config(ModelConfig(**shape), vocab_size=64, context_length=8192)
        assert choose_kernel(config, length=8192, dtype=torch.bfloat16) == chosen
        assert set(kept) == {chosen == "blocks"}
        kept.clear()
