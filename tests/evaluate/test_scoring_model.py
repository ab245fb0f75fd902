"""Our Llama and transformers' are scored alike, and a model in training is left as it was."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
import transformers

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import score_documents, score_windows
from megadocs.evaluate.scoring_model import PLAIN_HEADS, Dtype, ScoringModel, as_scoring_model
from megadocs.model.llama import build_model
from megadocs.recipe import ModelConfig


@pytest.fixture(scope="module")
def own_llama():
    return build_model(ModelConfig(preset="tiny", hidden_size=32, num_hidden_layers=2), 61, 128, seed=0)


def test_what_is_no_model_is_named():
    with pytest.raises(InputError, match=r"^Linear is not a model that can be scored"):
        as_scoring_model(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 0.02)])
def test_own_model_loses_what_its_training_loss_says(own_llama, make_set, dtype, tolerance):
    data = make_set([20, 31, 7, 44])
    scores = score_windows(as_scoring_model(own_llama, dtype=dtype), data, context_length=16, order="given")
    stream = np.concatenate(data.rows).astype(np.int64)
    windows = torch.from_numpy(stream[: len(stream) // 16 * 16].reshape(-1, 16))
    expected = own_llama(windows, loss_scale=1 / (len(windows) * 15)).item()
    assert scores.nats_per_token == pytest.approx(expected, abs=tolerance)


def test_the_compute_type_of_a_model_in_use_is_put_back(own_llama, make_set):
    own_llama.compute_dtype = torch.float32
    score_documents(as_scoring_model(own_llama, dtype="bfloat16"), make_set([9]), context_length=8)
    assert own_llama.compute_dtype is torch.float32


def test_bfloat16_stays_close_to_float32(hf_llama, make_set):
    data = make_set([40] * 10)
    a, b = (
        score_windows(as_scoring_model(hf_llama, dtype=d), data, context_length=32) for d in ("float32", "bfloat16")
    )
    assert 0 < abs(a.nats_per_token - b.nats_per_token) < 0.02


class Fake(torch.nn.Module):
    """Like a model of transformers: a decoder and a head; early logits move by `leak` with the last token."""

    def __init__(self, kind="phi", *, base=0.0, leak=0.0, **config) -> None:
        super().__init__()
        self.config = SimpleNamespace(**{"vocab_size": 20, "model_type": kind} | config)
        self.body = torch.nn.Linear(20, 4)
        self.lm_head = torch.nn.Linear(4, 23)
        self.base, self.leak = base, leak
        self.given = []

    def get_decoder(self):
        return self._decode

    def _decode(self, *, input_ids, use_cache):
        assert use_cache is False
        return SimpleNamespace(last_hidden_state=self.body(torch.nn.functional.one_hot(input_ids, 20).float()))

    def forward(self, *, input_ids, use_cache):
        assert use_cache is False
        self.given.append(input_ids.tolist())
        states = self.body(torch.nn.functional.one_hot(input_ids, 20).float())
        logits = torch.full((*input_ids.shape, 20), self.base)
        logits[..., :4] = self.base + states * (self.base == 0)
        logits[:, :-1] += self.leak * (input_ids[:, -1:, None] > 7)
        return SimpleNamespace(logits=logits.to(states.dtype))


def test_a_function_of_tokens_whole():
    def logits(tokens):
        return torch.zeros(*tokens.shape, 7)

    assert ScoringModel.from_callable(logits, 7, max_context=9) == ScoringModel(
        logits, 7, None, None, "float32", torch.device("cpu"), 9, None
    )
    plain = ScoringModel.from_callable(logits, 7)
    assert [plain.head_weight, plain.head_bias, plain.max_context, plain.hidden_within] == [None] * 4
    assert (plain.dtype, plain.device) == ("float32", torch.device("cpu"))
    assert as_scoring_model(plain, dtype="bfloat16") is plain
    table = torch.ones(3, 7)
    assert plain.open_head()(table) is table


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("bias", [None, torch.tensor([0.5, -1.0, 2.0])])
def test_a_head_computes_in_the_compute_type(dtype, bias):
    weight, states = torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.1, 0.7]]), torch.tensor([[0.3, 5.0]])
    model = ScoringModel(lambda tokens: tokens, 3, head_weight=weight, head_bias=bias, dtype=dtype)
    found = model.open_head()(states)
    compute = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    assert found.dtype == compute
    parts = [part.to(compute).double() for part in (states, weight, torch.zeros(3) if bias is None else bias)]
    torch.testing.assert_close(found.double(), parts[0] @ parts[1].T + parts[2], rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_plain_head_whole(dtype):
    """The head's own size is the vocabulary: a configuration may count fewer."""
    fake = Fake("phi", max_position_embeddings=64).train()
    model = as_scoring_model(fake, dtype=dtype)
    assert not fake.training
    assert (model.vocab_size, model.dtype, model.device, model.max_context) == (23, dtype, torch.device("cpu"), 64)
    assert torch.equal(model.head_weight, fake.lm_head.weight) and not model.head_weight.requires_grad
    assert torch.equal(model.head_bias, fake.lm_head.bias) and not model.head_bias.requires_grad
    assert model.hidden_within is None
    tokens = torch.tensor([[3, 1, 4]])
    states = model.hidden(tokens)
    assert states.dtype == {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    tolerance = 1e-6 if dtype == "float32" else 0.02
    torch.testing.assert_close(states.float(), fake.body.weight.T[tokens] + fake.body.bias, rtol=0, atol=tolerance)


def test_a_plain_head_without_a_bias():
    fake = Fake("phi")
    fake.lm_head.bias = None
    assert as_scoring_model(fake).head_bias is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_head_that_is_not_known_is_the_models_own(dtype):
    fake = Fake("gemma2")
    model = as_scoring_model(fake, dtype=dtype)
    assert (model.vocab_size, model.head_weight, model.head_bias, model.dtype) == (20, None, None, dtype)
    assert (model.max_context, model.hidden_within) == (None, None)
    logits = model.hidden(torch.tensor([[3, 1]]))
    assert logits.shape == (1, 2, 20)
    assert logits.dtype == {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    assert fake.given == [[list(range(8)), [*range(7), 15]], [[3, 1]]]  # two rows that differ in their last token


def test_a_plain_family_without_a_head_of_its_own_and_one_without_a_name():
    fake = Fake("phi")
    del fake.lm_head
    assert as_scoring_model(fake).head_weight is None
    nameless = Fake()
    del nameless.config.model_type
    assert as_scoring_model(nameless).head_weight is None


def test_the_probe_stays_inside_a_small_vocabulary():
    fake = Fake("x", vocab_size=5)
    as_scoring_model(fake)
    assert fake.given == [[[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3, 4, 0, 1, 0]]]


@pytest.mark.parametrize("limit, found", [(1, 1), (64, 64), (0, None), (-1, None), ("many", None), (2.5, None)])
def test_what_a_configuration_says_of_positions(limit, found):
    assert as_scoring_model(Fake("x", max_position_embeddings=limit)).max_context == found


@pytest.mark.parametrize("base, leak", [(0.0, 0.009), (100.0, 0.9), (0.0, 0.0)])
def test_rounding_is_no_look_ahead(base, leak):
    as_scoring_model(Fake("x", base=base, leak=leak))


@pytest.mark.parametrize("base, leak", [(0.0, 0.02), (100.0, 1.2), (0.0, -1.0)])
def test_a_model_that_sees_later_tokens_is_refused_in_full(base, leak):
    with pytest.raises(InputError) as caught:
        as_scoring_model(Fake("elmo", base=base, leak=leak))
    assert str(caught.value) == (
        "a elmo model sees later tokens: its likelihoods are no predictions\n"
        "  to do: score a causal language model (for BERT and its like, one that was trained with is_decoder: true)"
    )


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 2), SimpleNamespace(config=SimpleNamespace(vocab_size=3))])
def test_what_is_no_model_is_refused_in_full(model):
    with pytest.raises(InputError) as caught:
        as_scoring_model(model)
    assert str(caught.value) == (
        f"{type(model).__name__} is not a model that can be scored\n  to do: pass a megadocs Llama, "
        "a transformers causal language model, or ScoringModel.from_callable(...)"
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_own_model_whole(own_llama, dtype, monkeypatch):
    own_llama.train()
    model = as_scoring_model(own_llama, dtype=dtype)
    assert not own_llama.training
    assert (model.vocab_size, model.head_bias, model.dtype) == (61, None, dtype)
    assert (model.device, model.max_context) == (torch.device("cpu"), 128)
    assert torch.equal(model.head_weight, own_llama.lm_head.weight) and not model.head_weight.requires_grad
    calls = []

    def hidden_states(tokens, segments):
        calls.append((own_llama.compute_dtype, tokens, segments))
        raise RuntimeError("out of memory")

    monkeypatch.setattr(own_llama, "hidden_states", hidden_states)
    own_llama.compute_dtype = torch.float16
    tokens, segments = torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.int64)
    for run in (lambda: model.hidden(tokens), lambda: model.hidden_within(tokens, segments)):
        with pytest.raises(RuntimeError):
            run()
        assert own_llama.compute_dtype is torch.float16  # whatever happens inside
    own_llama.compute_dtype = torch.float32
    compute = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
    assert [(kind, given is tokens, within) for kind, given, within in calls] == [
        (compute, True, None),
        (compute, True, segments),
    ]


def test_the_compute_type_is_float32_unless_told_otherwise(own_llama):
    assert as_scoring_model(own_llama).dtype == "float32"
    assert as_scoring_model(Fake("x")).dtype == "float32"


def test_every_plain_family_is_one_of_transformers():
    """A misspelt one would go unseen: its models would take the slower way, and its own test would be left out."""
    pinned = (Path(__file__).parents[2] / "constraints.txt").read_text("utf-8")
    if f"transformers=={transformers.__version__}\n" not in pinned:
        pytest.skip("a release of transformers that is not the pinned one may have fewer families")
    assert PLAIN_HEADS - set(transformers.CONFIG_MAPPING) == set()


def test_every_compute_type_has_a_head():
    found = {}
    for dtype in get_args(Dtype):
        model = ScoringModel(lambda tokens: tokens, 3, head_weight=torch.ones(3, 2), dtype=dtype)
        found[dtype] = model.open_head()(torch.ones(1, 2)).dtype
    assert found == {"float32": torch.float32, "bfloat16": torch.bfloat16}
