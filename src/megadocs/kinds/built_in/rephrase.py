"""Rephrases: the whole document in other words, G independent samples of it; shuffled, stitched, or dealt anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from megadocs.kinds.ordering import Contrast, OrderingSpec, Setting
from megadocs.kinds.orders import mis_stitched, simple, stitched
from megadocs.kinds.registry import Kind
from megadocs.kinds.row import RowKind, Tags, Written
from megadocs.kinds.task import TaskKind


def show(text: str, cut: int | None) -> Mapping[str, str]:
    """The prompt shows the document."""
    return {"document": text}


def text_of(document: str, written: Sequence[Written], tags: Tags) -> str:
    """The generation as it is."""
    return written[0].text


KIND = Kind(
    task=TaskKind("rephrase", frozenset({"document"}), show, style="wikipedia", max_new_tokens=1024),
    rows=(RowKind("rephrase", 1, text_of, task="rephrase", forms=("stitched", "rephrase")),),
    orderings=(
        OrderingSpec(
            "simple",
            simple,
            ("rephrase",),
            adds_real=True,
            colour=1,
            start={
                2: Setting(4, 0.75, 3e-3, 0.8),
                4: Setting(8, 0.75, 3e-3, 0.8),
                8: Setting(8, 0.75, 3e-3, 0.8),
                16: Setting(16, 0.75, 3e-3, 0.4),
                32: Setting(16, 0.75, 3e-3, 0.4),
            },
        ),
        OrderingSpec(
            "stitched",
            stitched,
            ("rephrase",),
            adds_real=True,
            colour=2,
            start={
                2: Setting(8, 0.75, 3e-3, 0.8),
                4: Setting(8, 0.75, 3e-3, 0.4),
                8: Setting(16, 0.75, 3e-3, 0.4),
                16: Setting(16, 0.75, 3e-3, 0.4),
                32: Setting(32, 0.9, 1e-3, 0.4),
            },
        ),
        OrderingSpec(
            "mis_stitched",
            mis_stitched,
            ("rephrase",),
            adds_real=True,
            role="control",
            contrast=Contrast("stitched", "bundles of unrelated rows", "that a bundle holds one document’s rows"),
        ),
    ),
)
