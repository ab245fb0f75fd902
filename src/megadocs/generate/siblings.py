"""The gate `sibling` while generations are made: is this text nearly the same as an earlier one of its document?

A text is compared with the accepted texts of the lower generations of its document (and of the same part, when the
document was split), whether they were written a moment ago or by an earlier run. The runner gives a document to one
lane, generation after generation, and lets no other lane help: so all of them are there, and the verdict depends on the
engine's replies alone, never on their order, on concurrency or on kills between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megadocs.generate.near_copies import Comparable

if TYPE_CHECKING:
    from megadocs.generate.requests import GenerationRequest


class SiblingTexts:
    """Accepted texts of one document, by part and generation."""

    def __init__(self, document_id: str) -> None:
        self.document_id = document_id
        self._texts: dict[tuple[int, int], Comparable] = {}

    def add(self, request: GenerationRequest, text: str) -> None:
        """Note an accepted text."""
        self._texts[request.part, request.generation] = Comparable.of(text)

    def is_near_copy(self, request: GenerationRequest, text: str) -> bool:
        """Whether the text is nearly the same as that of a lower generation, same part."""
        compared = Comparable.of(text)
        return any(
            part == request.part and generation < request.generation and compared.is_near_copy(other)
            for (part, generation), other in self._texts.items()
        )
