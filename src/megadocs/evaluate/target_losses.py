"""Negative log-likelihoods of targets, for one model or several averaged, in bounded memory.

The one place where logits become losses. For a batch of windows each member's body runs once; then the heads run over
a few positions at a time, so that logits stay in the cache: with a vocabulary of 2,048 the bfloat16 head and the loss
take 2.2 us a position in chunks of 128 positions and 9.4 us in chunks of 2,048 (the head alone: 1.3 us). Members come
one after another and a mean of logits grows in place, so that averages over the first 1..K hold two tables of logits,
not 2 K. Losses are float32 whatever the compute type; what adds them up uses float64.

    nll_AN = target_losses([model], [SINGLE], tokens_BT, wanted_BT)

Shape suffixes: B windows, T tokens, N targets, D hidden size, L vocabulary, K members, A averages.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from megadocs.errors import InputError
from megadocs.evaluate.scoring_model import ScoringModel

#: Logits of one chunk of positions: 1 MB in float32.
CHUNK_LOGITS = 262_144
#: Positions of a chunk at least, or the head's matrix product slows down (33 MB of logits at a vocabulary of 128,256).
MIN_CHUNK = 64
_LOG2_E = math.log2(math.e)


@dataclass(frozen=True, slots=True)
class Average:
    """Which members are averaged, and what."""

    members: tuple[int, ...]  # indices into the list of models, ascending
    #: `logits`: the mean of the logits, then one softmax (the paper); `probabilities`: the mean of the members'
    #: probabilities. For one member they are the same thing.
    kind: Literal["logits", "probabilities"] = "logits"

    def __post_init__(self) -> None:
        if not self.members or list(self.members) != sorted(set(self.members)) or self.members[0] < 0:
            raise ValueError(f"members are distinct indices in ascending order, not {self.members}")


#: A model on its own.
SINGLE = Average((0,))


@dataclass(frozen=True, slots=True)
class PositionResults:
    """What A averages say of the targets of N positions."""

    nll: npt.NDArray[np.float32]  # float32 (A, N), nats
    is_top: npt.NDArray[np.bool_] | None  # bool (A, N), the target is the most probable token; None unless asked for


def target_losses(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    tokens_BT: npt.NDArray[np.int64],
    wanted_BT: npt.NDArray[np.bool_],
    segments_BT: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float32]:
    """Nats of every wanted target, (A, N): one line per average, targets in row-major order of `wanted_BT`.

    Args:
        models: K members, all of one vocabulary.
        tokens_BT: the windows, right-padded with any valid id.
        wanted_BT: True where the token is to be predicted from those before it; the first column is False.
        segments_BT: attention stays inside each segment; None: it goes across.
    """
    assert not wanted_BT[:, 0].any(), "the first token of a window has nothing before it"
    places = np.flatnonzero(wanted_BT)
    targets = tokens_BT.reshape(-1)[places]
    return position_losses(models, averages, tokens_BT, places - 1, targets, segments_BT=segments_BT).nll


def position_losses(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    tokens_BT: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int64],
    *,
    want_top: bool = False,
    segments_BT: npt.NDArray[np.int64] | None = None,
) -> PositionResults:
    """Nats of `targets` (N,) as the tokens that follow the flat `positions` (N,) of the windows (B, T)."""
    targets_N = torch.from_numpy(targets).to(models[0].device)
    nll_AN = np.empty((len(averages), len(targets)), dtype=np.float32)
    is_top_AN = np.empty(nll_AN.shape, dtype=np.bool_) if want_top else None
    is_alone = len(models) == len(averages) == 1 and models[0].head_weight is not None and not want_top
    with torch.no_grad():
        heads = [model.open_head() for model in models]
        states = [_states_at(model, tokens_BT, positions, segments_BT) for model in models]
        step = max(MIN_CHUNK, CHUNK_LOGITS // models[0].vocab_size)
        for start in range(0, len(targets), step):
            chunk = slice(start, start + step)
            if is_alone:
                nll_AN[0, chunk] = _losses(
                    heads[0](states[0][chunk]).float(), targets_N[chunk, None], in_place=True
                ).cpu()
                continue
            joint = _Chunk(averages, targets_N[chunk], want_top=want_top)
            for k, (head, state) in enumerate(zip(heads, states, strict=True)):
                joint.add(k, head(state[chunk]).float())
            nll_AN[:, chunk] = joint.losses()
            if is_top_AN is not None:
                is_top_AN[:, chunk] = joint.tops()
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


def _states_at(
    model: ScoringModel,
    tokens_BT: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    segments_BT: npt.NDArray[np.int64] | None,
) -> torch.Tensor:
    tokens = torch.from_numpy(tokens_BT).to(model.device)
    if segments_BT is None:
        hidden_BTD = model.hidden(tokens)
    else:
        assert model.hidden_within is not None, "boundaries are for models trained here"
        hidden_BTD = model.hidden_within(tokens, torch.from_numpy(segments_BT).to(model.device))
    return hidden_BTD.reshape(-1, hidden_BTD.shape[-1])[torch.from_numpy(positions).to(model.device)]


class _Chunk:
    """What the averages say of one chunk of positions; members are added in their order.

    The mean over (0, 1, 2) is made of that over (0, 1) and member 2: in place, unless (0, 1) begins another mean too.
    """

    def __init__(self, averages: Sequence[Average], targets_N: torch.Tensor, *, want_top: bool) -> None:
        self._averages, self._targets_N1, self._want_top = averages, targets_N.unsqueeze(1), want_top
        self._wanted = {average.members for average in averages if average.kind == "logits"}
        self._mixed = {average.members for average in averages if average.kind == "probabilities"}
        self._alone = {members[0] for members in self._wanted if len(members) == 1}.union(*self._mixed)
        self._means = {members[:size] for members in self._wanted for size in range(1, len(members) + 1)}
        self._num_longer = Counter(members[:-1] for members in self._means)
        self._tables: dict[tuple[int, ...], torch.Tensor] = {}
        self._nll: dict[tuple[int, ...], torch.Tensor] = {}
        self._likeliest: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}
        self._sums: dict[tuple[int, ...], torch.Tensor] = {}

    def add(self, k: int, logits_NL: torch.Tensor) -> None:
        """Take in member k's logits, float32 (N, L); they may be written over."""
        if k in self._alone:
            self._nll[(k,)] = _losses(logits_NL, self._targets_N1)
        if self._want_top:
            self._add_probabilities(k, logits_NL)
        for members in sorted(members for members in self._means if members[-1] == k):
            mean_NL = logits_NL if len(members) == 1 else self._grown(members, logits_NL)
            if members in self._wanted:
                if len(members) > 1:
                    self._nll[members] = _losses(mean_NL, self._targets_N1)
                if self._want_top:
                    self._likeliest["logits", members] = mean_NL.argmax(dim=-1)
            if self._num_longer[members]:
                self._tables[members] = mean_NL

    def losses(self) -> npt.NDArray[np.float32]:
        """Nats (A, N)."""
        lines = []
        for average in self._averages:
            size = len(average.members)
            if size == 1 or average.kind == "logits":
                lines.append(self._nll[average.members])
            else:
                nll_KN = torch.stack([self._nll[(k,)] for k in average.members])
                lines.append(math.log(size) - torch.logsumexp(-nll_KN, dim=0))
        return torch.stack(lines).cpu().numpy()

    def tops(self) -> npt.NDArray[np.bool_]:
        """Whether the target is the most probable token, (A, N)."""
        lines = [self._likeliest[average.kind, average.members] for average in self._averages]
        return (torch.stack(lines) == self._targets_N1.squeeze(1)).cpu().numpy()

    def _grown(self, members: tuple[int, ...], logits_NL: torch.Tensor) -> torch.Tensor:
        """The mean over `members`, of which the last one's logits have come."""
        before = members[:-1]
        self._num_longer[before] -= 1
        if self._num_longer[before]:
            return torch.lerp(self._tables[before], logits_NL, 1 / len(members))
        return self._tables.pop(before).lerp_(logits_NL, 1 / len(members))

    def _add_probabilities(self, k: int, logits_NL: torch.Tensor) -> None:
        """The likeliest token of every mean of probabilities that member k completes."""
        for members in self._mixed:
            if k not in members:
                continue
            probabilities_NL = torch.softmax(logits_NL, dim=-1)
            self._sums[members] = self._sums.pop(members, 0) + probabilities_NL
            if k == members[-1]:
                self._likeliest["probabilities", members] = self._sums.pop(members).argmax(dim=-1)


def _losses(logits_NL: torch.Tensor, targets_N1: torch.Tensor, *, in_place: bool = False) -> torch.Tensor:
    """Nats of the targets, (N,), float32; `in_place` writes over the logits, where nobody needs them again.

    In powers of two: torch's exp2 takes a quarter of exp's time on a CPU (0.28 against 1.22 us for 2,048 logits), and
    the whole 0.6 us where cross_entropy takes 0.87.
    """
    largest_N1 = logits_NL.amax(dim=-1, keepdim=True)
    of_targets_N1 = logits_NL.gather(1, targets_N1)
    out = logits_NL if in_place else None
    powers_NL = torch.add(largest_N1 * -_LOG2_E, logits_NL, alpha=_LOG2_E, out=out).exp2_()
    return (powers_NL.sum(dim=-1, keepdim=True).log_() + (largest_N1 - of_targets_N1)).squeeze(1)
