"""The next token of every sequence: temperature, top-k, top-p and min-p, each sequence by its own settings.

    chosen_B = choose_tokens(logits_BV, [Sampling(temperature=1.0, top_p=0.95, top_k=40)] * 8, uniform_B)

A token is where the sequence's uniform number falls among the cumulated probabilities, so that a seed names its text.
Filters come in transformers' order (temperature, top-k, top-p, min-p) and mean the same: each renormalises what the one
before it left. A whole vocabulary is never sorted where it need not be: the largest k of 49,152 are found among the k
blocks of 64 with the largest maxima (32 sequences: 2 ms instead of 13), and a nucleus is looked for among the 1,024
likeliest tokens, in all only where these hold less than its mass.

Suffixes: B sequences, V vocabulary, K candidates in falling order.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: Tokens a block of the vocabulary.
_BLOCK = 64
#: Candidates among which a nucleus without top-k is looked for first.
_FIRST_CANDIDATES = 1024


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one sequence draws. Temperature 0 takes the likeliest token; top_k 0, top_p 1 and the others 0 are off.

    `frequency_penalty` is OpenAI's and vLLM's: taken off a token's logit each time the reply holds it already.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    frequency_penalty: float = 0.0

    @property
    def is_filtered(self) -> bool:
        """Whether only some tokens may be drawn."""
        return self.temperature > 0 and (self.top_k > 0 or self.top_p < 1 or self.min_p > 0)


def choose_tokens(logits_BV: Tensor, samplings: Sequence[Sampling], uniform_B: Tensor) -> Tensor:
    """One token id a sequence, int64 (B,), on the CPU.

    Args:
        logits_BV: float32.
        samplings: one a sequence.
        uniform_B: float64 in [0, 1), one a sequence.
    """
    logits_BV = logits_BV.cpu()
    chosen_B = torch.empty(len(samplings), dtype=torch.int64)
    greedy = [line for line, sampling in enumerate(samplings) if sampling.temperature == 0]
    filtered = [line for line, sampling in enumerate(samplings) if sampling.is_filtered]
    free = sorted({*range(len(samplings))} - {*greedy, *filtered})
    for lines, choose in ((greedy, _choose_likeliest), (filtered, _choose_filtered), (free, _choose_free)):
        if len(lines) == len(samplings):  # the usual case: no copy of the logits
            return choose(logits_BV, samplings, uniform_B)
        if lines:
            chosen_B[lines] = choose(logits_BV[lines], [samplings[line] for line in lines], uniform_B[lines])
    return chosen_B


@contextlib.contextmanager
def penalised(logits_BV: Tensor, samplings: Sequence[Sampling], written: Sequence[Sequence[int]]) -> Iterator[None]:
    """Within it, the logits are less the frequency penalties of what each sequence has written; afterwards as before.

    In place, and taken back to the bit: a copy of 48 sequences' logits is 9 MB at every step, for a few thousand
    numbers that change.

    Args:
        logits_BV: on the CPU.
        samplings: one a sequence.
        written: the tokens of each sequence's reply.
    """
    lines = [line for line, sampling in enumerate(samplings) if sampling.frequency_penalty and written[line]]
    if not lines:
        yield
        return
    counts = [len(written[line]) for line in lines]
    tokens = np.fromiter(itertools.chain.from_iterable(written[line] for line in lines), np.int64, sum(counts))
    places = torch.repeat_interleave(torch.tensor(lines), torch.tensor(counts)), torch.from_numpy(tokens)
    amounts = torch.tensor([-sampling.frequency_penalty for sampling in samplings])[places[0]]
    before = logits_BV[places]
    logits_BV.index_put_(places, amounts, accumulate=True)
    try:
        yield
    finally:
        logits_BV.index_put_(places, before)


def log_probabilities(logits_BV: Tensor, tokens_B: Tensor) -> Tensor:
    """Of these tokens under the model itself: no temperature, no filter; float32 (B,), natural logarithm."""
    own_B1 = logits_BV.gather(1, tokens_B.to(logits_BV.device)[:, None])
    return (own_B1 - torch.logsumexp(logits_BV, dim=-1, keepdim=True)).squeeze(1)


def uniform_numbers(seed: int, count: int) -> Tensor:
    """`count` numbers in [0, 1), float64, of a sequence's own generator; the i-th decides its i-th token."""
    generator = torch.Generator().manual_seed(seed & (2**63 - 1))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _choose_likeliest(logits_BV: Tensor, samplings: Sequence[Sampling], uniform_B: Tensor) -> Tensor:
    return logits_BV.argmax(dim=-1)


def _choose_free(logits_BV: Tensor, samplings: Sequence[Sampling], uniform_B: Tensor) -> Tensor:
    """Cumulated over blocks, then inside the block it falls into: one by one takes four times as long."""
    probabilities_BV = torch.softmax(logits_BV / _column(samplings, "temperature"), dim=-1)
    if missing := -logits_BV.shape[1] % _BLOCK:
        probabilities_BV = F.pad(probabilities_BV, (0, missing))
    blocks_BKC = probabilities_BV.view(len(uniform_B), -1, _BLOCK)
    ends_BK = blocks_BKC.sum(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    thresholds_B1 = uniform_B[:, None] * ends_BK[:, -1:]
    block_B1 = torch.searchsorted(ends_BK, thresholds_B1, right=True).clamp_max_(ends_BK.shape[1] - 1)
    inside_BC = blocks_BKC[torch.arange(len(uniform_B)), block_B1[:, 0]].cumsum(dim=-1, dtype=torch.float64)
    # From the block's end backwards: sums of single and of added up probabilities differ by rounding.
    thresholds_B1 += inside_BC[:, -1:] - ends_BK.gather(1, block_B1)
    place_B1 = torch.searchsorted(inside_BC, thresholds_B1, right=True).clamp_max_(_BLOCK - 1)
    return (block_B1 * _BLOCK + place_B1).squeeze(1).clamp_max_(logits_BV.shape[1] - 1)


def _choose_filtered(logits_BV: Tensor, samplings: Sequence[Sampling], uniform_B: Tensor) -> Tensor:
    vocabulary = logits_BV.shape[1]
    has_top_k = all(sampling.top_k for sampling in samplings)
    wanted = max(sampling.top_k for sampling in samplings) if has_top_k else _FIRST_CANDIDATES
    probabilities_BK, tokens_BK, is_enough_B = _candidates(logits_BV, samplings, min(vocabulary, wanted))
    chosen_B = _draw(probabilities_BK, tokens_BK, uniform_B)
    short = torch.nonzero(~is_enough_B)[:, 0].tolist()
    if short:
        few = [samplings[line] for line in short]
        probabilities_BK, tokens_BK, _ = _candidates(logits_BV[short], few, vocabulary)
        chosen_B[short] = _draw(probabilities_BK, tokens_BK, uniform_B[short])
    return chosen_B


def _candidates(logits_BV: Tensor, samplings: Sequence[Sampling], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `count` likeliest tokens: probabilities (0 where a filter takes them away), ids, whether these are enough.

    Probabilities are relative to what top-k left; enough are they where a filter cut among them, or they are all.
    """
    top_p_B1, min_p_B1 = _column(samplings, "top_p"), _column(samplings, "min_p")
    top_k_B1 = _column(samplings, "top_k").long()
    scaled_BV = logits_BV / _column(samplings, "temperature")
    values_BK, tokens_BK = _largest(scaled_BV, count)
    is_cut_BK = (torch.arange(count) >= top_k_B1) & (top_k_B1 > 0)
    values_BK = values_BK.masked_fill(is_cut_BK, -torch.inf)
    total_B1 = torch.logsumexp(values_BK, dim=-1, keepdim=True)
    if (top_k_B1 == 0).any():
        total_B1 = torch.where(top_k_B1 > 0, total_B1, torch.logsumexp(scaled_BV, dim=-1, keepdim=True))
    probabilities_BK = (values_BK - total_B1).exp()
    before_BK = probabilities_BK.double().cumsum(dim=-1) - probabilities_BK
    is_out_BK = (before_BK >= top_p_B1) | (probabilities_BK < min_p_B1 * probabilities_BK[:, :1])
    is_out_BK[:, 0] = False  # the likeliest token always stays
    is_enough_B = is_cut_BK[:, -1] | is_out_BK[:, -1] | (top_k_B1[:, 0] == count) | (count == logits_BV.shape[1])
    return probabilities_BK.masked_fill(is_out_BK, 0.0), tokens_BK, is_enough_B


def _largest(scores_BV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest scores and their tokens, falling: each is in one of the `count` blocks with the largest maxima."""
    batch, vocabulary = scores_BV.shape
    num_blocks = vocabulary // _BLOCK
    if vocabulary % _BLOCK or count * 4 > num_blocks:
        return torch.topk(scores_BV, count, dim=-1)
    blocks_BNC = scores_BV.view(batch, num_blocks, _BLOCK)
    best_BK = torch.topk(blocks_BNC.amax(dim=-1), count, dim=-1, sorted=False).indices
    within = blocks_BNC[torch.arange(batch)[:, None], best_BK].view(batch, -1)
    values_BK, places_BK = torch.topk(within, count, dim=-1)
    return values_BK, best_BK.gather(1, places_BK // _BLOCK) * _BLOCK + places_BK % _BLOCK


def _draw(probabilities_BK: Tensor, tokens_BK: Tensor, uniform_B: Tensor) -> Tensor:
    ends_BK = probabilities_BK.cumsum(dim=-1, dtype=torch.float64)
    place_B1 = torch.searchsorted(ends_BK, uniform_B[:, None] * ends_BK[:, -1:], right=True)
    return tokens_BK.gather(1, place_B1.clamp_max_(ends_BK.shape[1] - 1)).squeeze(1)


def _column(samplings: Sequence[Sampling], name: str) -> Tensor:
    return torch.tensor([[float(getattr(sampling, name))] for sampling in samplings])
