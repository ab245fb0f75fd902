"""Tables of scores, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from megadocs.evaluate.scores import DocumentScores


def read_scores(path: Path) -> list[DocumentScores]:
    """What `write_scores` wrote, one `DocumentScores` per set and mode, sorted by them."""
    columns = pq.read_table(path).to_pydict()
    indices: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(columns["set"], columns["mode"], strict=True)):
        indices.setdefault(key, []).append(i)
    return [
        DocumentScores(
            name,
            mode,
            [columns["document_id"][i] for i in where],
            *(np.array([columns[column][i] for i in where]) for column in ("num_tokens", "num_bytes", "sum_nll")),
        )
        for (name, mode), where in sorted(indices.items())
    ]
