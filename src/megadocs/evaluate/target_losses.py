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
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class PositionResults:
    """What A averages say of the targets of N positions.

    Attributes:
        nll: float32 (A, N), nats.
        is_top: bool (A, N), the target is the most probable token; None unless asked for.
    """

    nll: npt.NDArray[np.float32]
    is_top: npt.NDArray[np.bool_] | None


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
    places = np.flatnonzero(wanted_BT)
    targets = tokens_BT.reshape(-1)[places]
    return position_losses(models, averages, tokens_BT, places - 1, targets).nll


def position_losses(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    tokens_BT: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    *,
    want_top: bool = False,
) -> PositionResults:
    """Nats of `targets` (N,) as the tokens that follow the flat `positions` (N,) of the windows (B, T)."""
    targets_N = torch.from_numpy(targets).to(models[0].device)
    nll_AN = np.empty((len(averages), len(targets)), dtype=np.float32)
    is_top_AN = np.empty(nll_AN.shape, dtype=np.bool_) if want_top else None
    with torch.no_grad():
        heads = [model.open_head() for model in models]
        states = [_states_at(model, tokens_BT, positions) for model in models]
        step = max(MIN_CHUNK, CHUNK_LOGITS // (models[0].vocab_size * len(models)))
        for start in range(0, len(targets), step):
            chunk = slice(start, start + step)
            logits = _Logits([head(state[chunk]).float() for head, state in zip(heads, states, strict=True)])
            nll_AN[:, chunk] = logits.losses(averages, targets_N[chunk])
            if is_top_AN is not None:
                is_top_AN[:, chunk] = logits.tops(averages, targets_N[chunk])
    return PositionResults(nll_AN, is_top_AN)


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


def _states_at(model: ScoringModel, tokens_BT: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> torch.Tensor:
    hidden_BTD = model.hidden(torch.from_numpy(tokens_BT).to(model.device))
    return hidden_BTD.reshape(-1, hidden_BTD.shape[-1])[torch.from_numpy(positions).to(model.device)]


class _Logits:
    """Float32 logits of one chunk of positions, (N, L) per member, and their means as averages ask for them."""

    def __init__(self, members: list[torch.Tensor]) -> None:
        self._means: dict[tuple[int, ...], torch.Tensor] = {(k,): logits_NL for k, logits_NL in enumerate(members)}

    def losses(self, averages: Sequence[Average], targets_N: torch.Tensor) -> npt.NDArray[np.float32]:
        """Nats (A, N)."""
        nll_of_member: dict[int, torch.Tensor] = {}
        lines = []
        for average in averages:
            size = len(average.members)
            if size > 1 and average.kind == "logits":
                lines.append(F.cross_entropy(self._mean(average.members), targets_N, reduction="none"))
                continue
            for k in average.members:
                if k not in nll_of_member:
                    nll_of_member[k] = F.cross_entropy(self._means[(k,)], targets_N, reduction="none")
            nll_KN = torch.stack([nll_of_member[k] for k in average.members])
            lines.append(nll_KN[0] if size == 1 else math.log(size) - torch.logsumexp(-nll_KN, dim=0))
        return torch.stack(lines).cpu().numpy()

    def tops(self, averages: Sequence[Average], targets_N: torch.Tensor) -> npt.NDArray[np.bool_]:
        """Whether the target is the most probable token, (A, N)."""
        lines = []
        for average in averages:
            if average.kind == "logits":
                scores_NL = self._mean(average.members)
            else:
                scores_NL = torch.stack([torch.softmax(self._means[(k,)], dim=-1) for k in average.members]).sum(dim=0)
            lines.append(scores_NL.argmax(dim=-1) == targets_N)
        return torch.stack(lines).cpu().numpy()

    def _mean(self, members: tuple[int, ...]) -> torch.Tensor:
        """Mean of the members' logits; means are kept, so that (0, 1, 2) costs one pass over (0, 1) and 2."""
        if members not in self._means:
            before, last = self._mean(members[:-1]), self._means[members[-1:]]
            self._means[members] = torch.lerp(before, last, 1 / len(members))
        return self._means[members]
