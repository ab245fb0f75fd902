"""A stream's fingerprint: what it does and the identities of the rows it uses, not the store they lie in.

Growing a store (more generations, further documents) leaves the fingerprint of an existing stream as it was, so that
finished runs stay valid.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from megadocs.kinds.ordering import Int64Array
from megadocs.recipe.fingerprint import fingerprint
from megadocs.row_table import RowTable

#: Column of the row table: first 8 bytes of the SHA-256 of each row's tokens, made by the row builder.
CONTENT_KEY = "content_key"


def rows_digest(table: RowTable, rows: Int64Array) -> str:
    """Hex SHA-256 over the identities and contents of the rows, whatever their order in the table.

    Repeated rows count as often as they occur. Without a `content_key` column identities alone are covered.
    """
    identity = table.row_key[rows]
    content = table.extra.get(CONTENT_KEY)
    contents = content[rows].astype(np.uint64) if content is not None else np.zeros(len(rows), dtype=np.uint64)
    order = np.lexsort((contents, identity))
    pairs = np.stack([identity[order], contents[order]], axis=1).astype("<u8")
    return hashlib.sha256(pairs.tobytes()).hexdigest()


def stream_fingerprint(table: RowTable, rows: Int64Array, *, config: Any, tokenizer_fingerprint: str) -> str:
    """Fingerprint of a stream: configuration (ordering, options, context length, switches), rows and tokenizer.

    Args:
        rows: the stream's rows in any order, `Stream.order(0)`.
        config: whatever else decides the stream; JSON-serialisable or a recipe section. No seed: seeds are the run's.
    """
    return fingerprint({"config": config, "rows": rows_digest(table, rows), "tokenizer": tokenizer_fingerprint})
