"""Families of transformers, tiny and random: scored like transformers scores them, or refused.

Every family is made with whatever bends its logits switched on (scales, caps, multipliers).
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import score_windows
from megadocs.evaluate.load_model import load_model
from megadocs.evaluate.scoring_model import PLAIN_HEADS
from megadocs.text.tokenizer import train_tokenizer

CONTEXT = 16
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
#: Families beside those with plain heads, and what bends their logits.
BENT = {
    "gemma2": {"final_logit_softcapping": 2.0},
    "gemma3_text": {"final_logit_softcapping": 2.0},
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.5},
    "granitemoe": {"logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {"logit_scale": 0.25},
    "falcon_h1": {"lm_head_multiplier": 0.5, "embedding_multiplier": 2.0},
    "vaultgemma": {"final_logit_softcapping": 2.0},
    "nanochat": {},
    "recurrent_gemma": {"logits_soft_cap": 2.0},
    "exaone4": {},
    "apertus": {},
    "glm4": {},
    "mamba": {},
    "biogpt": {},
    "rwkv": {},
    "jamba": {},
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["some words to be scored by every family, and a few more of them"] * 3, 280)


def build(family: str, vocab_size: int, **changes):
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

    if family not in CONFIG_MAPPING:
        pytest.skip(f"this release of transformers has no {family}")
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, vocab_size=vocab_size, **SHAPE, **BENT.get(family, {}), **changes)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.3)  # large enough that context, scales and caps matter to the loss
    return model


@pytest.mark.parametrize("family", sorted(PLAIN_HEADS | BENT.keys()))
def test_a_family_is_scored_as_transformers_scores_it(family, tokenizer, tmp_path, make_set):
    model = build(family, tokenizer.vocab_size)
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    data = make_set([20, 30, 9], vocab_size=tokenizer.vocab_size)
    ours = score_windows(load_model(str(tmp_path)).model, data, context_length=CONTEXT)
    tokens = torch.from_numpy(np.concatenate(data.ordered().rows).astype(np.int64))
    windows = tokens[: len(tokens) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    with torch.no_grad():
        logits = type(model).from_pretrained(tmp_path).float().eval()(input_ids=windows, use_cache=False).logits
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), windows[:, 1:].flatten())
    assert ours.nats_per_token == pytest.approx(float(expected), abs=1e-4)
    assert float(logits.std()) > 0.05


@pytest.mark.parametrize("family", sorted(PLAIN_HEADS))
def test_nothing_stands_behind_a_plain_head(family):
    """Whatever the configuration says: the forward pass sets its logits once, from the head."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    if family not in CONFIG_MAPPING:
        pytest.skip(f"this release of transformers has no {family}")
    source = inspect.getsource(AutoModelForCausalLM._model_mapping[CONFIG_MAPPING[family]].forward)
    assert (
        len(
            re.findall(r"\blogits(?:\[[^\]]*\])?\s*[-+*/]?=(?!=)", source.split('"""')[-1].replace("logits=logits", ""))
        )
        == 1
    )


def test_the_documentation_counts_the_families():
    page = Path(__file__).parents[2] / "docs" / "evaluation.md"
    assert f"models of {len(PLAIN_HEADS | BENT.keys())} families" in page.read_text("utf-8")


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_a_model_that_sees_later_tokens_is_refused(family, tokenizer, tmp_path):
    build(family, tokenizer.vocab_size).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    with pytest.raises(InputError, match="sees later tokens"):
        load_model(str(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}},
        {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}},
    ],
)
def test_a_llama_that_is_not_plain_goes_through_transformers(changes, tokenizer, tmp_path, make_set):
    model = build("llama", tokenizer.vocab_size, **changes)
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    tokens = torch.randint(2, 200, (1, 12), generator=torch.Generator().manual_seed(1))
    scoring = load_model(str(tmp_path)).model
    with torch.no_grad():
        ours = scoring.open_head()(scoring.hidden(tokens)[0])
        assert torch.allclose(ours, model(input_ids=tokens).logits[0], atol=1e-4)
