"""What scores of a controlled world's documents are split by, and the floor under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from megadocs.documents import Document
from megadocs.evaluate.token_classes import TargetClasses
from megadocs.text.tokenizer import Tokenizer
from megadocs.world import TOKEN_CLASSES, class_floor, parse_world, read_spans, token_classes


def is_world(documents: Sequence[Document]) -> bool:
    """Whether the documents are of a controlled world: its reader says so in their meta."""
    return bool(documents) and all("world" in document.meta for document in documents)


def world_classes(documents: Sequence[Document], tokenizer: Tokenizer) -> TargetClasses:
    """The class of every token of the documents' rows; separators are template."""
    before = tokenizer.separators_per_row - 1
    codes = {}
    for document in documents:
        spans = read_spans(parse_world(str(document.meta["world"])), document.text)
        inner = token_classes(spans, tokenizer.offsets(document.text))
        codes[document.id] = np.pad(inner, (before, 1), constant_values=TOKEN_CLASSES.index("template"))
    return TargetClasses(TOKEN_CLASSES, codes)


def world_floor(documents: Sequence[Document], classes: TargetClasses, has_start: bool) -> dict[str, Any]:
    """Class -> targets that are scored and the nats that no predictor can go below on average, all documents together.

    Args:
        has_start: whether the rows' first token is scored, too; else it is given (a BOS).
    """
    floor = np.zeros(len(TOKEN_CLASSES))
    counts = np.zeros(len(TOKEN_CLASSES), dtype=np.int64)
    for document in documents:
        floor += class_floor(read_spans(parse_world(str(document.meta["world"])), document.text))
        codes = classes.codes[document.id]
        counts += np.bincount(codes if has_start else codes[1:], minlength=len(TOKEN_CLASSES))
    return {
        name: {"num_tokens": int(count), "nats": float(nats)}
        for name, count, nats in zip(TOKEN_CLASSES, counts, floor, strict=True)
        if count
    }
