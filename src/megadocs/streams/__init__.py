"""Streams: orderings of rows, windows cut from them, and the mixture that training reads.

Everything here is a pure function of identities, seeds and numbers over the arrays of a `RowTable`; no file is opened.
docs/ordering.md specifies it to the bit.
"""

from megadocs.recipe.streams import REAL_STREAM, synthetic_parts
from megadocs.streams.build import build_mixture, build_streams, data_seed, required_kinds
from megadocs.streams.inspection import (
    StreamFacts,
    WindowPiece,
    describe_stream,
    render_plain,
    render_rich,
    sample_window,
)
from megadocs.streams.mixture import Mixture, StreamExposure, rank_part
from megadocs.streams.selection import Selection, Wanted, select_rows
from megadocs.streams.stream import Stream, WindowId

__all__ = [
    "REAL_STREAM",
    "Mixture",
    "Selection",
    "Stream",
    "StreamExposure",
    "StreamFacts",
    "Wanted",
    "WindowId",
    "WindowPiece",
    "build_mixture",
    "build_streams",
    "data_seed",
    "describe_stream",
    "rank_part",
    "render_plain",
    "render_rich",
    "required_kinds",
    "sample_window",
    "select_rows",
    "synthetic_parts",
]
