"""megadocs' side of the row benchmarks; each task runs in a process of its own and prints one line of JSON.

python benchmarks/rows_own.py order '{"num_documents": 164000, "num_generations": 32}'
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rows_measure import Timer, sampled_memory, status_bytes, versions

BATCH = 64


def tokenise(parquet: str, tokenizer: str, work: str) -> dict[str, Any]:
    """Parquet of text -> rows of tokens in a segment, with provenance, checks and SHA-256."""
    import pyarrow.parquet as pq

    from megadocs.rows import SourceRow, build_rows
    from megadocs.text.tokenizer import load_tokenizer

    loaded = load_tokenizer(tokenizer)
    batches = pq.ParquetFile(parquet).iter_batches(columns=["id", "text"])
    rows = (SourceRow(str(r["id"]), "real", 0, r["text"]) for batch in batches for r in batch.to_pylist())
    with Timer() as timer:
        manifest = build_rows(rows, loaded, Path(work))
    shutil.rmtree(work)
    return timer.rates(manifest.num_tokens)


def bare(parquet: str, tokenizer: str, work: str) -> dict[str, Any]:
    """`tokenizers` alone: encode_batch of texts that lie in memory, in batches of 512; nothing is stored."""
    import pyarrow.parquet as pq
    import tokenizers

    del work
    loaded = tokenizers.Tokenizer.from_file(f"{tokenizer}/tokenizer.json")
    texts = pq.read_table(parquet).column("text").to_pylist()
    num_tokens = 0
    with Timer() as timer:
        for first in range(0, len(texts), 512):
            encodings = loaded.encode_batch(texts[first : first + 512])
            num_tokens += sum(len(encoding) for encoding in encodings)
    return timer.rates(num_tokens + 2 * len(texts))


def bare_fast(parquet: str, tokenizer: str, work: str) -> dict[str, Any]:
    """As `bare`, with encode_batch_fast (no offsets), the quickest call there is."""
    import pyarrow.parquet as pq
    import tokenizers

    del work
    loaded = tokenizers.Tokenizer.from_file(f"{tokenizer}/tokenizer.json")
    texts = pq.read_table(parquet).column("text").to_pylist()
    num_tokens = 0
    with Timer() as timer:
        for first in range(0, len(texts), 512):
            encodings = loaded.encode_batch_fast(texts[first : first + 512])
            num_tokens += sum(len(encoding) for encoding in encodings)
    return timer.rates(num_tokens + 2 * len(texts))


def order(num_documents: int, num_generations: int) -> dict[str, Any]:
    """Simple, stitched and window orders over all rows of a large table."""
    from rows_synthetic import make_table

    from megadocs.kinds import OrderingOptions
    from megadocs.kinds.orders import simple, stitched
    from megadocs.kinds.sorting import hash_order
    from megadocs.streams.selection import Wanted, select_rows

    table = make_table(num_documents, num_generations)
    seconds = {}
    with sampled_memory(0.05) as memory:
        with Timer() as timer:
            rows = select_rows(table, Wanted(("rephrase", "real")), table.document_ids).rows
        seconds["select"] = timer
        for ordering in (simple, stitched):
            with Timer() as timer:
                ordering(table, rows, seed=1, epoch=0, options=OrderingOptions(num_generations))
            seconds[ordering.__name__] = timer
        with Timer() as timer:
            hash_order(1, table.total_tokens // 4096)
        seconds["window_order"] = timer
    return {
        "num_rows": len(table),
        "wall_seconds": {name: round(timer.wall, 3) for name, timer in seconds.items()},
        "cpu_seconds": {name: round(timer.cpu, 3) for name, timer in seconds.items()},
        "peak_anonymous_mb": max(memory) // 10**6,
        "peak_resident_mb": status_bytes("VmHWM") // 10**6,
    }


def gather(store: str, context: int, cold: bool, max_tokens: int = 60_000_000) -> dict[str, Any]:
    """Mixture (one half synthetic) and window gather, batches of 64, rows in shuffled order."""
    from megadocs.recipe import MixtureConfig, StreamConfig, TrainConfig
    from megadocs.rows import RowsManifest, open_rows
    from megadocs.streams import build_mixture, build_streams

    root = Path(store)
    rows = open_rows([RowsManifest.load(root / "rows.json")], root)
    stream, mixture = StreamConfig(ordering="simple"), MixtureConfig(synthetic_fraction="0.9")
    streams = build_streams(
        rows.table, rows.tokens, stream=stream, mixture=mixture, context_length=context, seed=1,
        real_documents=rows.table.document_ids,
    )  # fmt: skip
    train = TrainConfig(context_length=context, batch_size=BATCH, real_epochs=16)
    mixed = build_mixture(streams, config=mixture, train=train, seed=1, stream=stream)
    if cold:
        _forget_pages(root)
    else:
        for tokens in rows.tokens:  # every page once
            tokens[::1024].sum()
    num_steps = min(mixed.num_steps, max_tokens // (BATCH * context))
    mixed.window_ids(0)
    checksum = 0
    with Timer() as timer:
        for step in range(num_steps):
            checksum += int(mixed.read_batch(step)[0][0, 0])
    return {**timer.rates(num_steps * BATCH * context), "context": context, "cold": cold, "checksum": checksum}


def scale(work: str, num_tokens: int) -> dict[str, Any]:
    """Build, open, order, sample and verify a store of random rows; anonymous memory sampled each second."""
    import numpy as np
    from rows_synthetic import build_store

    from megadocs.recipe import MixtureConfig, StreamConfig, TrainConfig
    from megadocs.rows import open_rows, verify_manifest
    from megadocs.streams import build_mixture, build_streams

    root = Path(work)
    timers: dict[str, Timer] = {}
    with sampled_memory(1.0) as memory:
        with Timer() as timers["build"]:
            manifest = build_store(root, num_tokens)
        with Timer() as timers["open"]:
            rows = open_rows([manifest], root)
        with Timer() as timers["order"]:
            stream, mixture = StreamConfig(ordering="stitched"), MixtureConfig(synthetic_fraction="0.75")
            streams = build_streams(
                rows.table, rows.tokens, stream=stream, mixture=mixture, context_length=4096, seed=1,
                real_documents=rows.table.document_ids,
            )  # fmt: skip
            config = TrainConfig(context_length=4096, batch_size=8, real_epochs=4)
            mixed = build_mixture(streams, config=mixture, train=config, seed=1, stream=stream)
        with Timer() as timers["sample"]:
            for step in np.linspace(0, mixed.num_steps - 1, min(1000, mixed.num_steps), dtype=int).tolist():
                mixed.read_batch(step)
        with Timer() as timers["verify"]:
            verify_manifest(manifest, root)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    shutil.rmtree(root)
    return {
        "num_tokens": manifest.num_tokens,
        "num_rows": manifest.num_rows,
        "disk_mb": size // 10**6,
        "wall_seconds": {name: round(timer.wall, 2) for name, timer in timers.items()},
        "cpu_seconds": {name: round(timer.cpu, 2) for name, timer in timers.items()},
        "peak_anonymous_mb": max(memory) // 10**6,
    }


def export(work: str, num_tokens: int) -> dict[str, Any]:
    """Export a stitched stream of random rows; the SHA-256 of its tokens in order, taken from the store."""
    import hashlib

    from rows_synthetic import build_store

    from megadocs.kinds import OrderingOptions
    from megadocs.kinds.orders import stitched
    from megadocs.rows import export_stream, open_rows
    from megadocs.streams.selection import Wanted, select_rows

    root = Path(work)
    store = open_rows([build_store(root / "segments", num_tokens)], root / "segments")
    table = store.table
    rows = select_rows(table, Wanted(("rephrase", "real")), table.document_ids).rows
    order = stitched(table, rows, seed=1, epoch=0, options=OrderingOptions())
    digest = hashlib.sha256()
    for row in order.tolist():
        tokens = store.tokens[table.segment[row]][table.start[row] : table.start[row] + table.num_tokens[row]]
        digest.update(tokens.astype("<i8").tobytes())
    with Timer() as timer:
        export_stream(store, order, root / "out", name="stitched", group_documents=True, formats=["megatron", "memmap"])
    return {
        **timer.rates(table.total_tokens),
        "num_sequences": len(table.document_ids),
        "sha256": digest.hexdigest(),
    }


def make_store(store: str, num_tokens: int) -> dict[str, Any]:
    """The store of the gather benchmark, and its tokens in stream order for the peer."""
    from rows_synthetic import build_store

    manifest = build_store(Path(store), num_tokens)
    manifest.save(Path(store) / "rows.json")
    return {"num_tokens": manifest.num_tokens}


def _forget_pages(root: Path) -> None:
    """Ask the system to drop the store's pages from its cache."""
    for path in root.rglob("tokens.bin"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task for task in (tokenise, bare, bare_fast, order, gather, scale, export, make_store)
}

if __name__ == "__main__":
    result = TASKS[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps({**result, "packages": versions()}))
