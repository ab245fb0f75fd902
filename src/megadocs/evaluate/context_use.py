"""Does a student use its context? Three measurements on a trained model, cheap enough for a CPU (docs/order.md).

    gains = context_gains(model, own, other, context_length=512)      # sibling gain, or copy gain
    score = repeat_score(model, unigrams, context_length=512, bos_id=1)
    late = late_minus_early(model, validation, context_length=512)

Order can act only on a model that reads what stands before a row. The gain of a context is what a held-out document
loses behind a foreign one minus what it loses behind that context, in nats per token: behind its own rephrases it is
the *sibling gain* (what stitching offers), behind a copy of itself the *copy gain*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megadocs.evaluate.document_losses import iter_window_losses
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE, target_losses
from megadocs.seeding import derive_seed

Row = npt.NDArray[np.integer]

#: Random sequences of the repeat score: 16 of them put its standard error below 0.05 nats at 64 tokens each.
_NUM_REPEATS = 16
_BATCH_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class ContextCase:
    """One document and the two contexts it is scored behind."""

    document_id: str
    row: Row  # its row, separators included
    own: Sequence[Row]  # rows that belong to it, in order
    other: Sequence[Row]  # rows that do not; as many tokens of them as of its own stand before the document


@dataclass(frozen=True, slots=True)
class ContextGains:
    """Gains of D documents."""

    document_ids: Sequence[str]  # D
    num_tokens: npt.NDArray[np.int64]  # int64 (D,), targets of each
    gains: npt.NDArray[np.float64]  # float64 (D,), nats of the document behind other rows minus behind its own
    num_context_rows: float  # mean number of own rows that stood whole before a document

    @property
    def nats_per_token(self) -> float:
        """The gain over all targets."""
        return float(self.gains.sum() / self.num_tokens.sum())


def context_gains(model: ScoringModel, cases: Sequence[ContextCase], context_length: int) -> ContextGains:
    """Score every document behind its own rows and behind others.

    A document past `context_length` less its shortest own row is cut at its end; of the own rows as many as fit whole
    are taken, the last ones, so that the context ends with a whole row as in a megadoc. The foreign context is the end
    of the others and holds as many tokens, because a longer context helps whatever stands in it.

    Raises:
        ValueError: no cases.
    """
    if not cases:
        raise ValueError("no document to score")
    kept, num_whole = [], []
    for case in cases:
        shortest = min(len(row) for row in case.own)
        row = case.row[: max(2, context_length - min(shortest, context_length // 2))]
        foreign = np.concatenate(case.other)
        own, whole = _last_rows(case.own, min(context_length - len(row), len(foreign)))
        num_whole.append(whole)
        kept.append((row, own, [foreign[len(foreign) - sum(map(len, own)) :]]))
    behind_own = _losses_behind(model, [(own, row) for row, own, _ in kept], context_length)
    behind_other = _losses_behind(model, [(other, row) for row, _, other in kept], context_length)
    return ContextGains(
        [case.document_id for case in cases],
        np.array([len(row) - 1 for row, _, _ in kept], dtype=np.int64),
        behind_other - behind_own,
        float(np.mean(num_whole)),
    )


def repeat_score(model: ScoringModel, unigrams: npt.NDArray[np.integer], context_length: int) -> float:
    """Mean loss on the second copy of a random sequence minus that on the first, nats per token: below 0 is copying.

    Args:
        unigrams: tokens of held-out text, from which the sequences are drawn independently.
        context_length: the sequence fills half of it.
    """
    half = context_length // 2
    rng = np.random.Generator(np.random.Philox(key=derive_seed(0, "repeat score")))
    first = rng.choice(unigrams.astype(np.int64), (_NUM_REPEATS, half))
    tokens = np.concatenate([first, first], axis=1)
    wanted = np.ones_like(tokens, dtype=np.bool_)
    wanted[:, 0] = False
    losses = np.zeros(tokens.shape)
    losses[wanted] = target_losses([model], [SINGLE], tokens, wanted)[0]
    return float(losses[:, half + 1 :].mean() - losses[:, 1:half].mean())


def late_minus_early(model: ScoringModel, data: EvaluationSet, context_length: int) -> float | None:
    """Mean windowed loss of the second half of a window minus that of its first eighth; None without a full window.

    Windows are cut wherever they fall, so both hold the same kind of text and differ in how much stands before it.
    """
    if data.num_tokens < context_length:
        return None
    sums, counts = np.zeros(2), np.zeros(2)
    for batch in iter_window_losses([model], [SINGLE], data.ordered(), context_length=context_length):
        for index, chosen in enumerate((batch.context < context_length // 8, batch.context >= context_length // 2)):
            sums[index] += float(batch.nll[0, chosen].sum())
            counts[index] += int(chosen.sum())
    return float(sums[1] / counts[1] - sums[0] / counts[0]) if counts.all() else None


def _last_rows(rows: Sequence[Row], room: int) -> tuple[list[Row], int]:
    """The last of the rows that fit whole, and how many; where none does, the end of the last one and 0."""
    taken: list[Row] = []
    for row in reversed(rows):
        if len(row) > room:
            break
        taken.insert(0, row)
        room -= len(row)
    return (taken, len(taken)) if taken else ([rows[-1][len(rows[-1]) - room :]], 0)


def _losses_behind(
    model: ScoringModel, pairs: Sequence[tuple[Sequence[Row], Row]], context_length: int
) -> npt.NDArray[np.float64]:
    """Summed nats of each row's targets (all but its first token) behind its context."""
    found = np.zeros(len(pairs))
    size = max(1, _BATCH_TOKENS // context_length)
    for start in range(0, len(pairs), size):
        batch = [np.concatenate([*before, row]).astype(np.int64) for before, row in pairs[start : start + size]]
        lengths = [len(row) for _, row in pairs[start : start + size]]
        width = max(map(len, batch))
        tokens = np.zeros((len(batch), width), dtype=np.int64)
        wanted = np.zeros_like(tokens, dtype=np.bool_)
        for line, (sequence, length) in enumerate(zip(batch, lengths, strict=True)):
            tokens[line, : len(sequence)] = sequence
            wanted[line, len(sequence) - length + 1 : len(sequence)] = True
        nll = target_losses([model], [SINGLE], tokens, wanted)[0].astype(np.float64)
        lines, _ = np.nonzero(wanted)
        found[start : start + size] = np.bincount(lines, weights=nll, minlength=len(batch))
    return found
