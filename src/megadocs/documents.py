"""The noun of the system: `Document`, a text with an identity. Rows are made of documents (`megadocs.kinds`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """One document."""

    id: str  # stable identity; the source's own id, or the SHA-256 of the text where it has none
    text: str  # the text, valid Unicode, line ends normalised to "\\n", never empty
    #: whatever the source knows besides (source file, group, title); small, JSON-serialisable.
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The source record that it came from, which pieces of one record share; its own id where it is whole."""
        return str(self.meta.get("group", self.id))


def source_groups(documents: Iterable[Document]) -> dict[str, str] | None:
    """Document id -> source, in order; None where every document is a source of its own."""
    groups = {document.id: document.group for document in documents}
    return groups if len(set(groups.values())) < len(groups) else None
