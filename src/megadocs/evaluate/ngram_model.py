"""An interpolated n-gram model of tokens: the floor that a trained baseline has to stand above.

    model = NgramModel.fit(tokens, vocab_size=2048)          # orders 1 to 3
    nll = model.losses(window)                               # nats of every token but the first of the window

Witten-Bell interpolation: with c(h) the tokens that followed the history h and t(h) the distinct ones among them,

    p(w | h) = (c(h w) + t(h) p(w | h without its first token)) / (c(h) + t(h)),

down to the uniform distribution over the vocabulary. Nothing is tuned, so that nobody can be blamed for its settings.
A transformer that does worse than this has learnt less from its text than counting does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_ORDER = 3
#: A key of three tokens has to fit into 63 bits.
MAX_VOCAB_SIZE = 2**21


@dataclass(frozen=True, slots=True)
class _Order:
    """The n-grams of one order: sorted keys of n-grams with their counts, of histories with c(h) and t(h)."""

    keys: IntArray
    counts: IntArray
    histories: IntArray
    history_counts: IntArray
    history_distinct: IntArray


@dataclass(frozen=True, slots=True)
class NgramModel:
    """Counts of orders 1 to `len(orders)`."""

    vocab_size: int  # tokens are 0 .. vocab_size - 1.
    num_tokens: int  # tokens counted
    orders: tuple[_Order, ...]  # unigrams first

    @classmethod
    def fit(cls, tokens: npt.NDArray[np.integer], vocab_size: int, order: int = MAX_ORDER) -> Self:
        """Count the n-grams of one sequence of tokens.

        Args:
            tokens: shape (N,), documents one after the other, separators included.
            vocab_size: at most 2**21.
            order: largest n, 1 to 3.
        """
        assert 1 <= order <= MAX_ORDER
        assert vocab_size <= MAX_VOCAB_SIZE
        text: IntArray = np.asarray(tokens, dtype=np.int64)
        return cls(vocab_size, len(text), tuple(_count(text, n, vocab_size) for n in range(1, order + 1)))

    def losses(self, window: npt.NDArray[np.integer]) -> FloatArray:
        """-ln p of tokens 1 .. T-1 of a window of T, given what stands before them in it; shape (T - 1,)."""
        tokens = np.asarray(window, dtype=np.int64)
        p = np.full(max(0, len(tokens) - 1), 1.0 / self.vocab_size)
        for n, counted in enumerate(self.orders, start=1):
            first = max(n - 2, 0)  # of the targets: the earliest with n - 1 tokens before it
            keys = _keys(tokens, n, self.vocab_size)
            keys = keys[1:] if n == 1 else keys  # a window's first token is no target
            history = keys // self.vocab_size
            total, distinct = _found(counted.histories, history, counted.history_counts, counted.history_distinct)
            (count,) = _found(counted.keys, keys, counted.counts)
            known = total + distinct
            mixed = (count + distinct * p[first:]) / np.maximum(known, 1)
            p[first:] = np.where(known > 0, mixed, p[first:])
        nll: FloatArray = -np.log(p)
        return nll


def _keys(tokens: IntArray, n: int, vocab_size: int) -> IntArray:
    """One number for each n-gram, in order; shape (N - n + 1,)."""
    num = max(0, len(tokens) - n + 1)
    keys = np.zeros(num, dtype=np.int64)
    for offset in range(n):
        keys = keys * vocab_size + tokens[offset : offset + num]
    return keys


def _count(tokens: IntArray, n: int, vocab_size: int) -> _Order:
    keys, counts = np.unique(_keys(tokens, n, vocab_size), return_counts=True)
    # Sorted by key is sorted by history; the last n-gram's end is followed by nothing and so is no history.
    histories, starts, distinct = np.unique(keys // vocab_size, return_index=True, return_counts=True)
    totals = np.add.reduceat(counts, starts) if len(starts) else counts
    return _Order(keys, counts, histories, totals, distinct)


def _found(keys: IntArray, wanted: IntArray, *values: IntArray) -> list[IntArray]:
    """The values of the wanted keys; 0 for a key that there is not."""
    if not len(keys):
        return [np.zeros(len(wanted), dtype=np.int64) for _ in values]
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    is_there = keys[places] == wanted
    return [np.where(is_there, column[places], 0) for column in values]


def mean_window_loss(model: NgramModel, tokens: npt.NDArray[np.integer], context_length: int) -> tuple[float, int]:
    """Nats per token over a sequence cut into windows as in training, and the number of targets.

    The tail that fills no window is left out and a window's first token is no target, as in `document_losses`.
    """
    num_windows = len(tokens) // context_length
    total = 0.0
    for number in range(num_windows):
        total += float(model.losses(tokens[number * context_length : (number + 1) * context_length]).sum())
    num_targets = num_windows * (context_length - 1)
    return (total / num_targets if num_targets else float("nan")), num_targets
