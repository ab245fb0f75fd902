"""Negative log-likelihoods of targets, for one model or several averaged, in bounded memory.

The one place where logits become losses. For a batch of windows each member's body runs once; then the heads run over
a few positions at a time, so that logits stay in the cache: with a vocabulary of 2,048 the bfloat16 head and the loss
take 2.6 us a position in chunks of 128 positions and 8.9 us in chunks of 2,048 (the head alone: 1.6 us). Losses are
float32 whatever the compute type; what adds them up uses float64.

    nll_AN = target_losses([model], [SINGLE], tokens_BT, wanted_BT)

Shape suffixes: B windows, T tokens, N targets, D hidden size, L vocabulary, K members, A averages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from megadocs.errors import InputError
from megadocs.evaluate.scoring_model import ScoringModel

#: Logits of one chunk of positions: 1 MB in float32.
CHUNK_LOGITS = 262_144
#: Positions of a chunk at least, or the head's matrix product slows down (33 MB of logits at a vocabulary of 128,256).
MIN_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Average:
    """Which members are averaged, and what.

    Attributes:
        members: indices into the list of models, ascending.
        kind: `logits`: the mean of the logits, then one softmax (the paper); `probabilities`: the mean of the
            members' probabilities. For one member they are the same thing.
    """

    members: tuple[int, ...]
    kind: Literal["logits", "probabilities"] = "logits"

    def __post_init__(self) -> None:
        if not self.members or list(self.members) != sorted(set(self.members)) or self.members[0] < 0:
            raise ValueError(f"members are distinct indices in ascending order, not {self.members}")


#: A model on its own.
SINGLE = Average((0,))


def target_losses(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    tokens_BT: npt.NDArray[np.int64],
    wanted_BT: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Nats of every wanted target, (A, N): one line per average, targets in row-major order of `wanted_BT`.

    Args:
        models: K members, all of one vocabulary.
        averages: A averages over them.
        tokens_BT: the windows, right-padded with any valid id.
        wanted_BT: True where the token is to be predicted from those before it; the first column is False.
    """
    assert not wanted_BT[:, 0].any(), "the first token of a window has nothing before it"
    positions = np.flatnonzero(wanted_BT[:, 1:].reshape(-1))
    targets = torch.from_numpy(tokens_BT[:, 1:].reshape(-1)[positions])
    losses_AN = np.empty((len(averages), len(positions)), dtype=np.float32)
    with torch.no_grad():
        heads = [model.open_head() for model in models]
        states = [_wanted_states(model, tokens_BT, positions) for model in models]
        step = max(MIN_CHUNK, CHUNK_LOGITS // models[0].vocab_size)
        for start in range(0, len(positions), step):
            chunk = slice(start, start + step)
            losses_AN[:, chunk] = _chunk_losses(heads, averages, [s[chunk] for s in states], targets[chunk])
    return losses_AN


def check_members(models: Sequence[ScoringModel], averages: Sequence[Average]) -> None:
    """Refuse an empty ensemble, members that cannot be averaged, and averages over members that are not there."""
    if not models:
        raise InputError("no model to score", remedy="pass at least one")
    sizes = sorted({model.vocab_size for model in models})
    if len(sizes) > 1:
        raise InputError(
            f"the members of an ensemble have different vocabularies: {sizes}",
            remedy="average only models that were trained with one tokenizer",
        )
    if len({model.dtype for model in models}) > 1 or len({model.device for model in models}) > 1:
        raise InputError("the members differ in compute type or device", remedy="load all of them alike")
    beyond = [average for average in averages if average.members[-1] >= len(models)]
    if beyond:
        raise InputError(
            f"an average names member {beyond[0].members[-1]} of {len(models)}", remedy="members count from 0"
        )


def _wanted_states(
    model: ScoringModel, tokens_BT: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
) -> torch.Tensor:
    hidden_BTD = model.hidden(torch.from_numpy(tokens_BT).to(model.device))
    hidden_ND = hidden_BTD[:, :-1].reshape(-1, hidden_BTD.shape[-1])
    return hidden_ND if len(positions) == len(hidden_ND) else hidden_ND[torch.from_numpy(positions).to(model.device)]


def _chunk_losses(
    heads: Sequence[Callable[[torch.Tensor], torch.Tensor]],
    averages: Sequence[Average],
    states: list[torch.Tensor],
    targets_N: torch.Tensor,
) -> npt.NDArray[np.float32]:
    """Losses (A, N) of one chunk: every member's head runs once, whatever the number of averages."""
    targets_N = targets_N.to(states[0].device)
    used = {k for average in averages for k in average.members}
    logits: dict[tuple[int, ...], torch.Tensor] = {(k,): heads[k](states[k]).float() for k in sorted(used)}
    nll_of_member = {k: F.cross_entropy(logits[(k,)], targets_N, reduction="none") for k in sorted(used)}
    losses = []
    for average in averages:
        size = len(average.members)
        if size == 1:
            losses.append(nll_of_member[average.members[0]])
        elif average.kind == "probabilities":
            log_p_KN = torch.stack([-nll_of_member[k] for k in average.members])
            losses.append(math.log(size) - torch.logsumexp(log_p_KN, dim=0))
        else:
            losses.append(F.cross_entropy(_sum_of(logits, average.members) / size, targets_N, reduction="none"))
    return torch.stack(losses).cpu().numpy()


def _sum_of(logits: dict[tuple[int, ...], torch.Tensor], members: tuple[int, ...]) -> torch.Tensor:
    """Sum of the members' logits; sums are kept, so that (0, 1, 2) costs one addition after (0, 1)."""
    if members not in logits:
        logits[members] = _sum_of(logits, members[:-1]) + logits[members[-1:]]
    return logits[members]
