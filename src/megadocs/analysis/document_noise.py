"""How much of a loss is the luck of the documents: leaving one source out at a time, for all runs at once.

    noise = document_noise(block, groups)
    variance = noise.variance(weights)         # of a weighted sum of the runs' losses, e.g. a difference of two arms

A *unit* is what a new experiment would draw anew: a source, because pieces of one source share its difficulty, or a
document where documents have no source in common. The loss without unit u, minus the loss, times the root of
(U - 1) / U, is that unit's deviation; squares of deviations add up to the jackknife variance. All runs leave out the
same unit, so differences between runs are paired by document.

Student's t has the geometric mean of U - 1 and U_eff - 1 degrees of freedom, where U_eff = 1 / (sum of squared token
shares) counts equal units that would be as many. With log-normal unit sizes (sd of the logarithm 0.9), 3 to 30 units
and 500 simulated experiments a cell, 95 % intervals of losses held the truth in 93.4-95.6 % (docs/statistics.md).

Below three sources nothing can be said of new documents. The units are then contiguous blocks of the sources there are:
their noise is that of other parts of the same texts.

Random numbers come from `seeding.mix`, counted, so that results do not depend on a library's version.
Shapes: R runs, D documents, U units, B draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from megadocs.analysis.tables import FloatArray, IntArray, ScoreBlock
from megadocs.seeding import mix_array

UnitKind = Literal["documents", "sources", "blocks"]

#: Fewest sources from which anything follows for other sources.
MIN_SOURCES = 3
#: Blocks that the documents of one or two sources are split into.
_NUM_BLOCKS = 10


@dataclass(frozen=True, slots=True)
class DocumentNoise:
    """What the runs' losses owe to the documents they were scored on."""

    #: float64 (U, R) in nats; squares summed over units are variances, products covariances. 0 for a run whose loss is
    #: not finite: it is compared with nothing.
    deviations: FloatArray
    degrees: float  # of freedom of Student's t; 0 where there is one unit and nothing is known
    num_units: int  # U
    kind: UnitKind  # what a unit is
    num_sources: int  # distinct sources; documents without one count each

    @property
    def is_known(self) -> bool:
        """Whether there are units to compare."""
        return self.degrees > 0

    def variance(self, weights: FloatArray) -> float:
        """Variance of the weighted sum of the runs' losses; NaN where it is not known. `weights` is (R,)."""
        if not self.is_known:
            return math.nan
        return float(np.square(self.deviations @ weights).sum())

    def draws(self, weights: FloatArray, num_draws: int, seed: int) -> FloatArray:
        """Joint draws of A weighted sums around 0, multivariate t: (B, A). `weights` is (R, A)."""
        if not self.is_known:
            return np.zeros((num_draws, weights.shape[1]))
        deviations = self.deviations @ weights
        factor = _cholesky(deviations.T @ deviations)
        num_arms = weights.shape[1]
        normal = special.ndtri(uniforms(seed, num_draws * num_arms, num_draws)).reshape(num_draws, num_arms)
        scale = np.sqrt(self.degrees / special.chdtri(self.degrees, uniforms(seed, num_draws)))
        return np.asarray(normal @ factor.T * scale[:, None], dtype=np.float64)


def document_noise(block: ScoreBlock, groups: Mapping[str, str] | None) -> DocumentNoise:
    """The noise of every run's loss over documents.

    Args:
        groups: document id -> source, in the corpus' order; a document that is not in it, or None: its own source.
    """
    units, num_units, kind, num_sources = unit_index(block.document_ids, groups)
    tokens = np.bincount(units, weights=block.num_tokens.astype(np.float64), minlength=num_units)
    is_empty = tokens == 0  # its documents hold no predicted token: there is nothing to leave out
    nll = np.stack([np.bincount(units, weights=row, minlength=num_units) for row in block.sum_nll], axis=1)
    tokens, nll = tokens[~is_empty], nll[~is_empty]
    num_units = len(tokens)
    if num_units < 2:
        return DocumentNoise(np.zeros((num_units, len(block.runs))), 0.0, num_units, kind, num_sources)
    is_finite = np.isfinite(nll).all(axis=0)
    nll = np.where(is_finite, nll, 0.0)
    without = (nll.sum(axis=0) - nll) / (tokens.sum() - tokens)[:, None]
    deviations = (without - nll.sum(axis=0) / tokens.sum()) * math.sqrt((num_units - 1) / num_units)
    num_effective = 1.0 / float(np.square(tokens / tokens.sum()).sum())
    degrees = max(1.0, math.sqrt((num_units - 1) * (num_effective - 1)))
    return DocumentNoise(deviations, degrees, num_units, kind, num_sources)


def unit_index(document_ids: Sequence[str], groups: Mapping[str, str] | None) -> tuple[IntArray, int, UnitKind, int]:
    """The unit of each document, int64 (D,); U; what a unit is; how many sources there are."""
    if groups is None:
        return np.arange(len(document_ids)), len(document_ids), "documents", len(document_ids)
    names = [groups.get(document_id, document_id) for document_id in document_ids]
    num_sources = len(set(names))
    kind: UnitKind = "sources" if num_sources < len(names) else "documents"
    if num_sources < MIN_SOURCES and len(names) > num_sources:
        order = {document_id: index for index, document_id in enumerate(groups)}
        names, kind = _blocks(document_ids, names, order), "blocks"
    numbers = {name: index for index, name in enumerate(sorted(set(names)))}
    return np.asarray([numbers[name] for name in names], dtype=np.int64), len(numbers), kind, num_sources


def _blocks(document_ids: Sequence[str], sources: Sequence[str], order: Mapping[str, int]) -> list[str]:
    """A block's name for each document: neighbours in the corpus, of one source, in blocks of about equal size."""
    wanted = -(-len(document_ids) // _NUM_BLOCKS)
    seen: dict[str, int] = {}
    names = [""] * len(document_ids)
    for index in sorted(range(len(document_ids)), key=lambda index: order.get(document_ids[index], len(order))):
        place = seen[sources[index]] = seen.get(sources[index], -1) + 1
        names[index] = f"{sources[index]} {place // wanted:06d}"
    return names


def uniforms(seed: int, num: int, start: int = 0) -> FloatArray:
    """`num` numbers in (0, 1), never 0 or 1; element i depends on (seed, start + i) only."""
    counters = np.arange(start, start + num, dtype=np.uint64)
    bits = mix_array(mix_array(counters) ^ np.uint64(seed))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _cholesky(covariance: FloatArray) -> FloatArray:
    """Lower factor of a covariance that may be singular (fewer units than arms): a vanishing pivot leaves zeros.

    Written out because a library's factor of a singular matrix has signs and order that differ between versions.
    """
    rest, factor = covariance.copy(), np.zeros_like(covariance)
    floor = 1e-12 * float(np.diag(covariance).max(initial=0.0))
    for place in range(len(covariance)):
        if rest[place, place] > floor:
            column = rest[:, place] / math.sqrt(rest[place, place])
            factor[place:, place] = column[place:]
            rest = rest - np.outer(column, column)
    return factor
