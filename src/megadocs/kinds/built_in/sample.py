"""Samples: unconditional text of a model that the same recipe trains (self-distillation, ensemble distillation).

No document is shown and no style is used: `generate.samples` makes the requests, `generate.sample` names the teacher.
"""

from __future__ import annotations

from decimal import Decimal

from megadocs.kinds.built_in.rephrase import text_of
from megadocs.kinds.ordering import OrderingSpec, Setting
from megadocs.kinds.orders import simple
from megadocs.kinds.registry import Kind
from megadocs.kinds.row import RowKind
from megadocs.kinds.task import SAMPLE

_DISTILLED = RowKind("self_distilled", 3, text_of, task=SAMPLE, is_unconditional=True, forms=("self_distilled",))

KIND = Kind(
    rows=(_DISTILLED,),
    orderings=(
        OrderingSpec(
            "self_distilled",
            simple,
            (_DISTILLED.name,),
            colour=4,
            synthetic_fraction=Decimal("0.5"),
            start={1: Setting(16, 0.5, 3e-3, 0.4)},
        ),
    ),
)
