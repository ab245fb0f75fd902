"""A model whose every loss can be computed in a line: it looks at the token before and the place in the window."""

from __future__ import annotations

import math

import numpy as np
import torch

from megadocs.evaluate.scoring_model import ScoringModel

VOCAB_SIZE = 13


class NumberedModel:
    """Token v after t at place p has the score -((7 v + 3 t + 5 p + shift) mod 11) / 3; keeps what it was given."""

    def __init__(self, shift: int = 0) -> None:
        self.shift = shift
        self.batches: list[list[list[int]]] = []  # the tokens of every forward pass
        self.segments: list[list[list[int]]] = []  # and the segments of those that came with some

    def scoring_model(self, *, max_context: int | None = None) -> ScoringModel:
        return ScoringModel(self._logits, VOCAB_SIZE, max_context=max_context, hidden_within=self._within)

    def loss(self, before: int, place: int, target: int) -> float:
        """Nats of `target` after `before`, with `place` tokens before it in its window."""
        scores = [-((7 * v + 3 * before + 5 * (place - 1) + self.shift) % 11) / 3 for v in range(VOCAB_SIZE)]
        return math.log(sum(math.exp(score) for score in scores)) - scores[target]

    def losses(self, window: list[int] | np.ndarray) -> list[float]:
        """Nats of every token of a window but the first."""
        return [self.loss(int(window[p - 1]), p, int(window[p])) for p in range(1, len(window))]

    def _logits(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        assert tokens_BT.dtype == torch.int64
        self.batches.append(tokens_BT.tolist())
        places_T1 = torch.arange(tokens_BT.shape[1])[:, None]
        return -((7 * torch.arange(VOCAB_SIZE) + 3 * tokens_BT[..., None] + 5 * places_T1 + self.shift) % 11) / 3

    def _within(self, tokens_BT: torch.Tensor, segments_BT: torch.Tensor) -> torch.Tensor:
        self.segments.append(segments_BT.tolist())
        return self._logits(tokens_BT)
