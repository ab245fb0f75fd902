"""Per-document losses against transformers' own loss, brute force, and the order and batch they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import iter_alone_losses, iter_window_losses, score_documents, score_windows
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scoring_model import ScoringModel, as_scoring_model
from megadocs.evaluate.target_losses import SINGLE

BOS, VOCAB_SIZE = 1, 61
LENGTHS = [5, 17, 2, 40, 9, 33, 3, 12, 8, 27]


def hf_nll(model, tokens: np.ndarray) -> np.ndarray:
    """Oracle: nats of tokens[1:] in one plain forward pass."""
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0, :-1].double()
    log_p = torch.log_softmax(logits, dim=-1)
    return -log_p[torch.arange(len(log_p)), torch.from_numpy(tokens[1:].astype(np.int64))].numpy()


def test_windowed_loss_equals_transformers_loss_on_the_same_windows(make_set, hf_llama):
    data = make_set(LENGTHS)
    context = 16
    scores = score_windows(as_scoring_model(hf_llama), data, context_length=context, batch_size=3, order="given")
    stream = np.concatenate(data.rows).astype(np.int64)
    windows = torch.from_numpy(stream[: len(stream) // context * context].reshape(-1, context))
    with torch.no_grad():
        expected = hf_llama(windows, labels=windows).loss.item()
    assert scores.nats_per_token == pytest.approx(expected, abs=1e-5)
    assert scores.num_tokens.sum() == len(windows) * (context - 1)
    assert scores.num_dropped_tokens == len(stream) % context > 0


def test_a_windowed_target_belongs_to_the_document_that_holds_it(make_set, hf_llama):
    data = make_set(LENGTHS)
    context = 16
    scores = score_windows(as_scoring_model(hf_llama), data, context_length=context, order="given")
    stream = np.concatenate(data.rows)
    owner = np.repeat(np.arange(len(data)), LENGTHS)
    expected, counts = np.zeros(len(data)), np.zeros(len(data), dtype=int)
    for start in range(0, len(stream) - context + 1, context):
        for offset, nll in enumerate(hf_nll(hf_llama, stream[start : start + context]), start=1):
            expected[owner[start + offset]] += nll
            counts[owner[start + offset]] += 1
    np.testing.assert_array_equal(scores.num_tokens, counts)
    np.testing.assert_allclose(scores.sum_nll, expected, rtol=1e-5, atol=1e-5)


def test_alone_predicts_every_token_after_the_first_once_with_the_context_it_promises(make_set, hf_llama):
    data, context, stride = make_set(LENGTHS), 8, 3
    scores = score_documents(as_scoring_model(hf_llama), data, context_length=context, stride=stride, batch_size=2)
    by_id = dict(zip(data.document_ids, data.rows, strict=True))
    for document_id, num_tokens, sum_nll in zip(scores.document_ids, scores.num_tokens, scores.sum_nll, strict=True):
        row = by_id[document_id]
        expected = hf_nll(hf_llama, row[:context]).sum()
        scored = min(context, len(row))
        while scored < len(row):
            stop = min(len(row), scored + stride)
            expected += hf_nll(hf_llama, row[stop - context : stop])[-(stop - scored) :].sum()
            scored = stop
        assert num_tokens == len(row) - 1
        assert sum_nll == pytest.approx(expected, rel=1e-5)


def test_a_start_token_predicts_the_first_token_of_rows_without_bos(make_set, hf_llama):
    with_bos = make_set(LENGTHS)
    without = EvaluationSet(
        "test", with_bos.document_ids, [row[1:] for row in with_bos.rows if True], with_bos.num_bytes
    )
    usable = [i for i, row in enumerate(without.rows) if len(row) >= 2]
    model = as_scoring_model(hf_llama)
    a = score_documents(model, with_bos.subset(usable), context_length=8, stride=3)
    b = score_documents(model, without.subset(usable), context_length=8, stride=3, start_id=BOS)
    np.testing.assert_array_equal(a.num_tokens, b.num_tokens)
    np.testing.assert_allclose(a.sum_nll, b.sum_nll, rtol=1e-6)


@pytest.mark.parametrize("score", [score_windows, score_documents])
def test_order_of_the_documents_changes_nothing(make_set, hf_llama, score):
    data = make_set(LENGTHS)
    shuffled = data.subset(np.random.default_rng(3).permutation(len(data)).tolist())
    model = as_scoring_model(hf_llama)
    a, b = (score(model, each, context_length=16) for each in (data, shuffled))
    assert a.document_ids == b.document_ids
    np.testing.assert_array_equal(a.sum_nll, b.sum_nll)
    assert a.nats_per_token == b.nats_per_token


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 0.02)])
@pytest.mark.parametrize("score", [score_windows, score_documents])
def test_batch_size_changes_nothing_beyond_the_stated_tolerance(make_set, hf_llama, score, dtype, tolerance):
    data = make_set(LENGTHS * 3)
    model = as_scoring_model(hf_llama, dtype=dtype)
    results = [score(model, data, context_length=16, batch_size=size) for size in (1, 3, 64)]
    for other in results[1:]:
        difference = np.abs(other.sum_nll - results[0].sum_nll) / np.maximum(results[0].num_tokens, 1)
        assert difference.max() < tolerance


def test_token_weighted_mean_and_bytes_by_hand():
    """A model that always says p(token) = 1/4, 1/2, 1/8, 1/8: losses are whole multiples of ln 2."""
    log_p = torch.log(torch.tensor([0.25, 0.5, 0.125, 0.125]))
    model = ScoringModel.from_callable(lambda tokens: log_p.expand(*tokens.shape, 4), vocab_size=4)
    rows = [np.array([0, 1, 2, 1]), np.array([0, 3, 1]), np.array([0, 1])]
    data = EvaluationSet("hand", ["a", "b", "c"], rows, [8, 6, 1])
    scores = score_windows(model, data, context_length=4, order="given")
    # Windows [0 1 2 1] and [0 3 1 0]; the last token is dropped. In bits: a 1+3+1; b 3+1; c 2 for its first token.
    np.testing.assert_allclose(scores.sum_nll / np.log(2), [5, 4, 2], rtol=1e-6)
    np.testing.assert_array_equal(scores.num_tokens, [3, 2, 1])
    np.testing.assert_array_equal(scores.num_bytes, [6, 4, 1])  # 8 * 3/4, 6 * 2/3, 1 * 1/2 rounded up
    assert scores.num_dropped_tokens == 1
    assert scores.nats_per_token == pytest.approx(11 * np.log(2) / 6)
    assert scores.bits_per_byte == pytest.approx(11 / 11)
    alone = score_documents(model, data, context_length=4)
    assert dict(zip(alone.document_ids, alone.num_tokens, strict=True)) == {"a": 3, "b": 2, "c": 1}
    assert alone.bits_per_byte == pytest.approx((5 + 4 + 1) / 15)


def test_a_chunked_head_gives_the_same_losses(make_set, hf_llama, monkeypatch):
    data, model = make_set(LENGTHS), as_scoring_model(hf_llama)
    whole = score_windows(model, data, context_length=16)
    monkeypatch.setattr("megadocs.evaluate.target_losses.MIN_CHUNK", 7)
    monkeypatch.setattr("megadocs.evaluate.target_losses.CHUNK_LOGITS", 7)
    chunked = score_windows(model, data, context_length=16)
    np.testing.assert_allclose(chunked.sum_nll, whole.sum_nll, rtol=1e-6)


def test_logits_of_a_large_vocabulary_never_exist_for_a_whole_batch(make_set, monkeypatch):
    sizes = []

    def counted(states: torch.Tensor, *_: object) -> torch.Tensor:
        sizes.append(len(states))
        return torch.zeros(len(states), 50_000)

    monkeypatch.setattr("megadocs.evaluate.scoring_model.F.linear", counted)
    model = ScoringModel(lambda tokens: torch.ones(*tokens.shape, 8), 50_000, head_weight=torch.ones(50_000, 8))
    score_windows(model, make_set([50] * 20), context_length=100)
    assert max(sizes) <= 64
    assert sum(sizes) == 10 * 99


def test_nan_stays_nan(make_set):
    model = ScoringModel.from_callable(lambda tokens: torch.full((*tokens.shape, VOCAB_SIZE), torch.nan), VOCAB_SIZE)
    scores = score_windows(model, make_set([20]), context_length=8)
    assert np.isnan(scores.nats_per_token)


def test_bad_input_is_refused_with_the_set_and_a_remedy(make_set, hf_llama):
    model = as_scoring_model(hf_llama)
    with pytest.raises(InputError, match="empty"):
        EvaluationSet("none", [], [], [])
    with pytest.raises(InputError, match="ids repeat"):
        EvaluationSet("twice", ["a", "a"], [np.array([1, 2])] * 2, [1, 1])
    with pytest.raises(InputError, match="'short' has 1 tokens"):
        score_windows(model, EvaluationSet("s", ["short"], [np.array([1])], [0]), context_length=8)
    with pytest.raises(InputError, match="holds token 61, but the model has 61"):
        score_documents(model, EvaluationSet("s", ["x"], [np.array([1, 61])], [1]), context_length=8)
    with pytest.raises(InputError, match="do not fill one window"):
        score_windows(model, make_set([5]), context_length=8)
    with pytest.raises(InputError, match="takes 128 tokens"):
        score_windows(model, make_set([500]), context_length=256)
    with pytest.raises(InputError, match="stride 8"):
        score_documents(model, make_set([5]), context_length=8, stride=8)
    with pytest.raises(InputError, match="not a model"):
        as_scoring_model(object())


@pytest.fixture
def own_llama(hf_llama, tmp_path):
    """The same weights in the model that knows boundaries."""
    from megadocs.model import import_hf

    hf_llama.save_pretrained(tmp_path / "m")
    return as_scoring_model(import_hf(tmp_path / "m"))


def losses_of(batches):
    found = {}
    for batch in batches:
        for document, position, nll in zip(batch.document, batch.position, batch.nll[0], strict=True):
            found[int(document), int(position)] = float(nll)
    return found


def test_within_a_boundary_each_piece_of_a_window_is_on_its_own(make_set, hf_llama, own_llama):
    """Against transformers run on every document's part of every window by itself; the first token of a part that
    begins inside a window is predicted by what stands before it, which sees its own document only."""
    data = make_set([20, 7, 30, 9, 25, 11])
    context = 16
    found = losses_of(
        iter_window_losses([own_llama], [SINGLE], data, context_length=context, batch_size=2, boundary=True)
    )
    tokens = np.concatenate(data.rows).astype(np.int64)
    owner = np.repeat(np.arange(len(data)), [len(row) for row in data.rows])
    starts = np.concatenate(([0], np.cumsum([len(row) for row in data.rows])))
    num_checked = 0
    for start in range(0, len(tokens) - context + 1, context):
        for place in range(start + 1, start + context):
            first = max(start, int(starts[owner[place - 1]]))
            with torch.no_grad():
                logits = hf_llama(torch.from_numpy(tokens[None, first:place])).logits[0, -1].double()
            expected = -torch.log_softmax(logits, -1)[tokens[place]].item()
            assert found[int(owner[place]), place - int(starts[owner[place]])] == pytest.approx(expected, abs=1e-4)
            num_checked += 1
    assert num_checked == len(found)
    across = losses_of(iter_window_losses([own_llama], [SINGLE], data, context_length=context, batch_size=2))
    assert max(abs(across[key] - found[key]) for key in found) > 0.1


def test_within_a_boundary_a_start_token_is_seen_by_the_first_token_alone(make_set, hf_llama, own_llama):
    data = make_set([9, 12])
    found = losses_of(iter_alone_losses([own_llama], [SINGLE], data, context_length=16, start_id=2, boundary=True))
    for document, row in enumerate(data.rows):
        tokens = torch.from_numpy(row.astype(np.int64))[None]
        with torch.no_grad():
            inside = torch.log_softmax(hf_llama(tokens).logits[0].double(), -1)
            first = torch.log_softmax(hf_llama(torch.tensor([[2]])).logits[0, -1].double(), -1)
        assert found[document, 0] == pytest.approx(-first[tokens[0, 0]].item(), abs=1e-4)
        for place in range(1, len(row)):
            assert found[document, place] == pytest.approx(-inside[place - 1, tokens[0, place]].item(), abs=1e-4)
