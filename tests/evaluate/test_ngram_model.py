"""The n-gram floor against nltk's Witten-Bell model, a hand-counted case, and the windows of the trained models."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from megadocs.evaluate.ngram_model import NgramModel, mean_window_loss

VOCAB = 7


def nltk_model(tokens, order):
    """nltk's interpolated Witten-Bell model of one sequence; its unigrams get our uniform base, which it lacks."""
    lm = pytest.importorskip("nltk.lm")
    from nltk.lm.models import InterpolatedLanguageModel
    from nltk.lm.smoothing import WittenBell
    from nltk.util import everygrams

    class WithUniformBase(WittenBell):
        def unigram_score(self, word):
            counts = self.counts.unigrams
            return (counts[word] + len(counts) / VOCAB) / (counts.N() + len(counts))

    words = [str(token) for token in tokens]
    known = lm.Vocabulary([str(word) for word in range(VOCAB)], unk_cutoff=1)
    model = InterpolatedLanguageModel(WithUniformBase, order, vocabulary=known)
    model.fit([list(everygrams(words, max_len=order))])
    return model


@pytest.mark.parametrize("order", [1, 2, 3])
def test_agrees_with_nltk(order):
    rng = np.random.default_rng(0)
    train = rng.choice(VOCAB - 1, size=300, p=[0.4, 0.3, 0.15, 0.1, 0.03, 0.02])  # token 6 is never seen
    window = rng.integers(0, VOCAB, size=60)
    reference = nltk_model(train.tolist(), order)
    expected = [
        -math.log(reference.score(str(window[i]), [str(w) for w in window[max(0, i - order + 1) : i]]))
        for i in range(1, len(window))
    ]
    np.testing.assert_allclose(NgramModel.fit(train, VOCAB, order).losses(window), expected, rtol=1e-10)


def test_hand_counted():
    model = NgramModel.fit(np.array([0, 1, 0, 1, 0]), vocab_size=2, order=2)
    unigram = (2 + 2 * 0.5) / (5 + 2)  # p(1): seen twice of five, two distinct, uniform 1/2
    bigram = (2 + 1 * unigram) / (2 + 1)  # after 0: twice 1, one distinct
    assert model.losses(np.array([0, 1])) == pytest.approx([-math.log(bigram)])


@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_history_has_a_distribution(order):
    rng = np.random.default_rng(1)
    model = NgramModel.fit(rng.integers(0, 5, size=40), VOCAB, order)
    for history in ([0, 1], [3, 3], [6, 6], [2, 6]):
        total = sum(math.exp(-model.losses(np.array([*history, word]))[-1]) for word in range(VOCAB))
        assert total == pytest.approx(1)


def test_windows_leave_out_their_first_token_and_the_tail():
    model = NgramModel.fit(np.arange(6), 6)
    tokens = np.array([0, 1, 2, 3, 4, 5, 0])
    loss, num_targets = mean_window_loss(model, tokens, 3)
    assert num_targets == 4
    assert loss == pytest.approx(np.mean([*model.losses(tokens[:3]), *model.losses(tokens[3:6])]))


def test_an_empty_text_is_uniform():
    model = NgramModel.fit(np.array([], dtype=np.uint16), 8)
    assert model.losses(np.array([1, 2, 3])) == pytest.approx([math.log(8)] * 2)


def test_the_counts_whole():
    """0 1 0 2 0 1: three bigrams start with 0, the last 1 is followed by nothing."""
    model = NgramModel.fit(np.array([0, 1, 0, 2, 0, 1], dtype=np.uint8), vocab_size=3, order=2)
    assert (model.vocab_size, model.num_tokens) == (3, 6)
    unigrams, bigrams = ([part.tolist() for part in astuple(order)] for order in model.orders)
    assert unigrams == [[0, 1, 2], [3, 2, 1], [0], [6], [3]]
    assert bigrams == [[1, 2, 3, 6], [2, 1, 1, 1], [0, 1, 2], [3, 1, 1], [2, 1, 1]]


def test_orders_and_vocabularies_that_fit():
    text = np.array([0, 2**21 - 1, 5, 0, 2**21 - 1, 5])
    assert len(NgramModel.fit(text, 2**21).orders) == 3
    assert NgramModel.fit(text, 2**21).losses(text[:3])[-1] < 0.5  # keys of three tokens do not run over
    for order, vocab_size in ((0, 7), (4, 7), (3, 2**21 + 1)):
        with pytest.raises(AssertionError):
            NgramModel.fit(np.arange(5), vocab_size, order)


@pytest.mark.parametrize("length", [0, 1])
def test_a_window_without_targets_has_no_losses(length):
    assert NgramModel.fit(np.arange(6), 6).losses(np.arange(length)).shape == (0,)


def test_a_text_shorter_than_a_window_has_no_mean():
    loss, num_targets = mean_window_loss(NgramModel.fit(np.arange(6), 6), np.arange(4), 5)
    assert math.isnan(loss)
    assert num_targets == 0


@pytest.mark.parametrize("length", [2, 3])
def test_a_text_as_short_as_a_history(length):
    """Against the formula, from the counts of a loop; no trigram fits into two tokens."""
    text = [1, 2, 1][:length]
    window = [1, 2, 1, 2]

    def p(word, history):
        if history is None:
            return 1 / 4
        followed = [
            text[i + len(history)] for i in range(len(text) - len(history)) if text[i : i + len(history)] == history
        ]
        less = p(word, history[1:] if history else None)
        if not followed:
            return less
        return (followed.count(word) + len(set(followed)) * less) / (len(followed) + len(set(followed)))

    expected = [-math.log(p(window[i], window[max(0, i - 2) : i])) for i in range(1, 4)]
    np.testing.assert_allclose(NgramModel.fit(np.array(text), 4).losses(np.array(window)), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_keys_are_whole_numbers_whatever_the_type_of_tokens(dtype):
    """uint64 and int64 together would be float64, which has 53 bits of the 63."""
    top = 2**21 - 1 if dtype != np.uint16 else 2**16 - 1
    text = np.array([top, 1, 3, top, 1, 4], dtype=dtype)
    model = NgramModel.fit(text, 2**21)
    triples = [text[place : place + 3].tolist() for place in range(4)]
    assert model.orders[2].keys.tolist() == sorted((a * 2**21 + b) * 2**21 + c for a, b, c in triples)
    unigram = (1 + 4 / 2**21) / (6 + 4)
    bigram = (1 + 2 * unigram) / (2 + 2)
    assert model.losses(text[:3])[1] == pytest.approx(-math.log((1 + 2 * bigram) / (2 + 2)))
