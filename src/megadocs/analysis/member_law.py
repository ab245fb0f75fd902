"""The law over the members of an ensemble with its exponent held near 1, so that few members identify the asymptote.

loss(K) = C + A / K**B has three parameters; with five sizes or fewer a free fit leaves C open. Independent members give
B = 1 exactly where the loss is quadratic in their errors (the variance of a mean), and the five published fits have
exponents from 0.9 to 1.12. Holding B in that range is an assumption, stated as such; the band is C at its two ends.
Check: the losses of one and two members of results/small (5.0790, 5.0317) predict 5.0081 for four; 5.0083 was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from megadocs.analysis.power_law import PowerLaw, bounded_line

#: Exponents of the five published laws over ensemble members (paper_published; arXiv:2603.18534).
EXPONENT_RANGE = (0.9, 1.12)
#: Up to this many members the constrained law is the one to read; past it the free fit.
MAX_MEMBERS = 5


def member_law(num_members: Sequence[float], losses: Sequence[float]) -> dict[str, Any] | None:
    """The law with its exponent in `EXPONENT_RANGE`; None for fewer than two sizes or more than `MAX_MEMBERS`.

    Two sizes leave the exponent open within the range: then it is 1.

    Returns:
        {law, exponent_range, asymptote_band, is_exponent_assumed}: the band is C at the lowest and highest exponent.
    """
    x, y = np.asarray(num_members, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    if len(np.unique(x)) < 2 or x.max() > MAX_MEMBERS or not np.all(np.isfinite(y)):
        return None
    exponents = np.linspace(*EXPONENT_RANGE, 221)
    is_assumed = len(np.unique(x)) == 2
    asymptotes, coefficients, rss = bounded_line(x ** -exponents[:, None], y)
    best = int(np.abs(exponents - 1.0).argmin()) if is_assumed else int(rss.argmin())
    law = PowerLaw(float(coefficients[best]), float(exponents[best]), float(asymptotes[best]))
    return {
        "law": {"coefficient": law.coefficient, "exponent": law.exponent, "asymptote": law.asymptote},
        "exponent_range": list(EXPONENT_RANGE),
        "asymptote_band": [float(asymptotes.min()), float(asymptotes.max())],
        "is_exponent_assumed": is_assumed,
    }
