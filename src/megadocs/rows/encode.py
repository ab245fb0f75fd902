"""Texts to checked rows of tokens, in batches, in order.

The tokenizer looks words up on one core, or uses all within a batch (`text/word_ids.py`); the writer works on one batch
while the next is encoded. Results depend on the texts alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.rows.source import SourceRow
from megadocs.text.tokenizer import Tokenizer

#: A batch closes at this many rows or characters; the bounds do not show in the result.
_BATCH_ROWS = 512
_BATCH_CHARACTERS = 1 << 20

#: Longest row: tokenising takes some 50 bytes of memory per character.
MAX_ROW_CHARACTERS = 64 << 20

TokenRow = npt.NDArray[np.uint32]


def encode_sources(
    sources: Iterable[SourceRow], tokenizer: Tokenizer, *, num_workers: int = 1
) -> Iterator[tuple[SourceRow, TokenRow]]:
    """Each source row with its tokens, in the order given.

    Args:
        num_workers: batches in flight; the result does not depend on it.

    Raises:
        InputError: a row is empty or too long, or holds control ids where none belong.
    """
    with ThreadPoolExecutor(num_workers, thread_name_prefix="encode") as pool:
        pending: deque[tuple[list[SourceRow], Future[list[TokenRow]]]] = deque()
        for batch in _batches(sources):
            pending.append((batch, pool.submit(_encode_batch, batch, tokenizer)))
            if len(pending) > num_workers:
                yield from _finished(pending.popleft())
        while pending:
            yield from _finished(pending.popleft())


def _finished(item: tuple[list[SourceRow], Future[list[TokenRow]]]) -> Iterator[tuple[SourceRow, TokenRow]]:
    batch, future = item
    return zip(batch, future.result(), strict=True)


def _batches(sources: Iterable[SourceRow]) -> Iterator[list[SourceRow]]:
    batch: list[SourceRow] = []
    characters = 0
    for row in sources:
        if not row.text or len(row.text) > MAX_ROW_CHARACTERS:
            problem = f"has {len(row.text)} characters (at most {MAX_ROW_CHARACTERS})" if row.text else "is empty"
            raise InputError(
                f"the row ({row.kind} {row.generation}) {problem}",
                where=row.document_id,
                remedy="cut long sources with corpus.pieces; drop empty ones",
            )
        batch.append(row)
        characters += len(row.text)
        if len(batch) >= _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _encode_batch(batch: list[SourceRow], tokenizer: Tokenizer) -> list[TokenRow]:
    """Tokens of a batch, after checking that separators stand at the ends of rows and nowhere else."""
    rows = tokenizer.encode_rows([row.text for row in batch])
    tokens = np.concatenate(rows)
    is_separator = tokens == tokenizer.eos_id
    if tokenizer.bos_id is not None and tokenizer.separators_per_row == 2:
        is_separator |= tokens == tokenizer.bos_id
    found = int(np.count_nonzero(is_separator))
    if found != len(rows) * tokenizer.separators_per_row:
        raise InputError(
            f"{len(rows)} rows hold {found} separators instead of {tokenizer.separators_per_row} each",
            where=batch[0].document_id,
            remedy="a text produced a control token: check the tokenizer's special tokens",
        )
    return rows
