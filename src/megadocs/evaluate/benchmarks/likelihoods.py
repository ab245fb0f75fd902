"""Log-likelihoods of continuations, for one model or several averaged, running no more of a model than they need.

    requests = [TokenPair(context, continuation), ...]
    result = score_pairs([model], [SINGLE], requests)
    result.log_likelihoods[0]          # nats below zero, one per request

Three savings over a plain loop: a request whose input is the beginning of another's needs no forward pass of its own
(choices of one token share their context's; the model is causal); the output head runs on continuations only; windows
of like length share a batch, so that little is padding. A request longer than the model's context loses tokens from
its left, as in lm-evaluation-harness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import Average, check_members, position_losses
from megadocs.model.memory import freed_memory_kept


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Tokens of a context (at least one) and of the continuation to be scored (at least one)."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairResults:
    """What A averages say of N requests."""

    log_likelihoods: npt.NDArray[np.float64]  # float64 (A, N), log-probability of the continuation, nats
    #: bool (A, N), every token of the continuation is the most probable one; None unless asked for.
    is_greedy: npt.NDArray[np.bool_] | None
    is_truncated: npt.NDArray[np.bool_]  # bool (N,), the request lost tokens from its left


@dataclass(frozen=True, slots=True)
class _Request:
    """Model input (everything but the last token) and the targets, the last of which follows the input."""

    inputs: tuple[int, ...]
    targets: tuple[int, ...]


@freed_memory_kept()
def score_pairs(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    pairs: Sequence[TokenPair],
    *,
    batch_tokens: int = 2048,
    want_greedy: bool = False,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> PairResults:
    """Log-likelihood of every pair's continuation after its context.

    Args:
        models: K members of one vocabulary.
        averages: A averages over them.
        pairs: N requests.
        batch_tokens: tokens of one forward pass, padding included (a longer request runs alone).
        want_greedy: also say whether the continuation is what greedy decoding would give.
    """
    check_members(models, averages)
    _check_tokens(pairs, models[0].vocab_size)
    limit = min((model.max_context for model in models if model.max_context is not None), default=None)
    requests = [_cut(pair, limit) for pair in pairs]
    truncated = [len(r.inputs) + 1 < len(p.context) + len(p.continuation) for r, p in zip(requests, pairs, strict=True)]
    num_done = 0
    sums_AN = np.zeros((len(averages), len(pairs)))
    greedy_AN = np.ones(sums_AN.shape, dtype=np.bool_) if want_greedy else None
    for group in _batches(requests, batch_tokens):
        tokens_BT, owners, positions, targets = _stacked(requests, group)
        result = position_losses(models, averages, tokens_BT, positions, targets, want_top=want_greedy)
        for a, nll in enumerate(result.nll):
            sums_AN[a] -= np.bincount(owners, weights=nll, minlength=len(pairs))
            if greedy_AN is not None and result.is_top is not None:
                greedy_AN[a] &= np.bincount(owners, weights=~result.is_top[a], minlength=len(pairs)) == 0
        num_done += sum(len(window) for window in group)
        watch(num_done, len(pairs))
    return PairResults(sums_AN, greedy_AN, np.array(truncated, dtype=np.bool_))


def _check_tokens(pairs: Sequence[TokenPair], vocab_size: int) -> None:
    for pair in pairs:
        if not pair.context:
            raise InputError("a request has no context token", remedy="put BOS or EOS before it")
        if not pair.continuation:
            raise InputError("a request has nothing to score", remedy="give every choice a text")
        largest = max((*pair.context, *pair.continuation))
        if largest >= vocab_size:
            raise InputError(
                f"a prompt holds token {largest}, but the model has {vocab_size}",
                remedy="encode prompts with the tokenizer the model was trained with",
            )


def _cut(pair: TokenPair, limit: int | None) -> _Request:
    whole = pair.context + pair.continuation
    if limit is not None:
        whole = whole[-(limit + 1) :]
    num_targets = min(len(pair.continuation), len(whole) - 1)
    return _Request(whole[:-1], whole[len(whole) - num_targets :])


def _batches(requests: Sequence[_Request], batch_tokens: int) -> Iterator[list[list[int]]]:
    """Groups of windows, longest first; a window is the list of requests that it answers, its owner first."""
    windows = sorted(_windows(requests), key=lambda window: -len(requests[window[0]].inputs))
    start = 0
    while start < len(windows):
        size = max(1, batch_tokens // len(requests[windows[start][0]].inputs))
        yield windows[start : start + size]
        start += size


def _windows(requests: Sequence[_Request]) -> list[list[int]]:
    """Requests by the window that answers them: in sorted order, an input that begins another begins its successor."""
    order = sorted(range(len(requests)), key=lambda i: (requests[i].inputs, i), reverse=True)
    windows: list[list[int]] = []
    for i in order:
        inputs = requests[i].inputs
        if windows and requests[windows[-1][0]].inputs[: len(inputs)] == inputs:
            windows[-1].append(i)
        else:
            windows.append([i])
    return windows


def _stacked(
    requests: Sequence[_Request], windows: list[list[int]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tokens (B, T) of the windows, and for each target its request, flat position and id."""
    width = max(len(requests[window[0]].inputs) for window in windows)
    tokens_BT = np.zeros((len(windows), width), dtype=np.int64)
    owners: list[int] = []
    positions: list[int] = []
    targets: list[int] = []
    for line, window in enumerate(windows):
        inputs = requests[window[0]].inputs
        tokens_BT[line, : len(inputs)] = inputs
        for i in window:
            request = requests[i]
            first = line * width + len(request.inputs) - len(request.targets)
            owners += [i] * len(request.targets)
            positions += range(first, first + len(request.targets))
            targets += request.targets
    as_array = (np.array(values, dtype=np.int64) for values in (owners, positions, targets))
    return (tokens_BT, *as_array)  # type: ignore[return-value]
