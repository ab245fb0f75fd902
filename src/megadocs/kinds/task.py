"""A task kind: what is asked of the generator about one document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: The task of unconditional samples. It has no `TaskKind`: nothing is asked about a document.
SAMPLE = "sample"

#: Character spans of a text's tokens, in order.
Spans = Sequence[tuple[int, int]]

#: `(token spans, text, G) -> character offsets`: where each generation's prompt cuts the document; fewer than G for a
#: text too short, which then has so many generations.
Cut = Callable[[Spans, str, int], Sequence[int]]

#: `(shown text, cut) -> placeholder -> text`; `cut` is an offset into the shown text, None for a task without a cut.
Show = Callable[[str, int | None], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class TaskKind:
    """What is asked of the generator."""

    name: str  # section of `generate`, folder of the ledger, `kind` of its records, `task` of its styles
    placeholders: frozenset[str]  # what its prompt styles show, besides the optional `{{language}}`
    show: Show  # fills the placeholders
    style: str  # its default prompt style
    max_new_tokens: int  # its default length limit, in the generator's tokens
    #: where prompts cut the document, found with the generator's tokenizer; None: they show all of it.
    cut: Cut | None = None
    #: generations are independent samples of one prompt, so that those of a smaller G are the first of a larger one.
    #: Else every G asks for generations of its own, and G enters their identity.
    nests: bool = True
    #: share of the document's tokens that a prompt shows on average, for the price of documents that are not here.
    shown_fraction: float = 1.0

    def place(self, cut: int | None, num_generations: int) -> str:
        """What a generation's identity says of its cut: empty without one, else the offset, with G where it matters."""
        if cut is None:
            return ""
        return str(cut) if self.nests else f"{cut}/{num_generations}"


def equal_cuts(spans: Spans, text: str, num_cuts: int) -> list[int]:
    """Character offsets that cut `text` into `num_cuts` + 1 pieces of equal token count (to one token).

    Piece i starts at token floor(i * n / (num_cuts + 1)) of n. A text of fewer than num_cuts + 1 tokens gets as many
    cuts as it has gaps; a cut inside a character moves to its start. Strictly increasing, 0 < offset < len(text).
    """
    num_tokens = len(spans)
    num_cuts = min(num_cuts, num_tokens - 1)
    starts = {spans[index * num_tokens // (num_cuts + 1)][0] for index in range(1, num_cuts + 1)}
    return sorted(start for start in starts if 0 < start < len(text))
