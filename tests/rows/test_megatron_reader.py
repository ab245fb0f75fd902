"""An exported Megatron dataset through Megatron-core's own reader, which knows nothing of this package.

It is not a dependency: the test runs where `megatron.core` can be imported, or with the interpreter named in
MEGADOCS_MEGATRON_PYTHON. `test_export.py` checks the documented byte layout without it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from megadocs.rows import build_real_rows, build_sampled_rows, export_stream, open_rows
from rows.helpers import CharacterTokenizer, documents, rephrase, write_export

READER = """
import json, sys
from megatron.core.datasets.indexed_dataset import IndexedDataset
dataset = IndexedDataset(sys.argv[1])
print(json.dumps({
    "sequences": [dataset[number].tolist() for number in range(len(dataset))],
    "dtype": dataset[0].dtype.name,
    "document_bounds": dataset.document_indices.tolist(),
}))
"""


def reader_python() -> str:
    if "MEGADOCS_MEGATRON_PYTHON" in os.environ:
        return os.environ["MEGADOCS_MEGATRON_PYTHON"]
    if importlib.util.find_spec("megatron") and importlib.util.find_spec("megatron.core"):
        return sys.executable
    pytest.skip("needs megatron-core; name its interpreter in MEGADOCS_MEGATRON_PYTHON")


@pytest.mark.parametrize("vocab_size, dtype", [(300, "uint16"), (70_000, "int32")])
@pytest.mark.parametrize("group_documents", [True, False])
def test_megatron_core_reads_the_rows_in_order(
    tmp_path: Path, vocab_size: int, dtype: str, group_documents: bool
) -> None:
    python = reader_python()
    tokenizer = CharacterTokenizer(vocab_size)
    export = write_export(tmp_path / "g.parquet", [rephrase(d.id, g) for d in documents(4) for g in range(2)])
    manifests = [
        build_real_rows(documents(4), tokenizer, tmp_path / "s"),
        build_sampled_rows("rephrase", export, tokenizer, tmp_path / "s"),
    ]
    store = open_rows(manifests, tmp_path / "s")
    order = np.array([row for number in (3, 0, 2, 1) for row in (4 + number, 8 + number, number)])
    export_stream(
        store, order, tmp_path / "out", name="stitched", group_documents=group_documents, formats=["megatron"]
    )
    done = subprocess.run(
        [python, "-c", READER, str(tmp_path / "out/megatron/stitched")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    table = store.table
    rows = [
        store.tokens[table.segment[row]][table.start[row] : table.start[row] + table.num_tokens[row]].tolist()
        for row in order
    ]
    groups = [[*rows[first], *rows[first + 1], *rows[first + 2]] for first in range(0, 12, 3)]
    expected = groups if group_documents else rows
    assert found == {"sequences": expected, "dtype": dtype, "document_bounds": list(range(len(expected) + 1))}
