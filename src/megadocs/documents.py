"""The two nouns of the system: `Document` (text with an identity) and the kinds of `Row` made from it.

A *row* is the atom of training data: one piece of text with its own BOS and EOS. Rows come in kinds, each with a code
that enters its hash key and is therefore never reused or renumbered (`shared` meaning: see docs/ordering.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["real", "rephrase", "latent_thoughts", "self_distilled", "thoughts_appended"]

#: Kind -> code in row keys. Codes are permanent: add, never renumber.
KIND_CODES: Mapping[str, int] = MappingProxyType(
    {"real": 0, "rephrase": 1, "latent_thoughts": 2, "self_distilled": 3, "thoughts_appended": 4}
)
KIND_NAMES: Mapping[int, str] = MappingProxyType({code: name for name, code in KIND_CODES.items()})

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Document:
    """One document.

    Attributes:
        id: stable identity; the source's own id, or the SHA-256 of the text where it has none.
        text: the text, valid Unicode, line ends normalised to "\\n", never empty.
        meta: whatever the source knows besides (source file, group, title); small, JSON-serialisable.
    """

    id: str
    text: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One row before tokenisation: a text and where it comes from.

    Attributes:
        document_id: the source document; unconditional samples use their own id.
        kind: one of `KIND_CODES`.
        generation: index of the generation (rephrases: 0..G-1; stretched rows: their G; real: 0).
        text: the row's text without BOS and EOS.
    """

    document_id: str
    kind: str
    generation: int
    text: str
