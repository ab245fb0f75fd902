"""The peers' side of the row benchmarks, run with the peers' own interpreter; one line of JSON per task.

    PEERS/bin/python benchmarks/rows_peers.py datatrove '{"parquet": ..., "tokenizer": ..., "work": ...}'

Each peer is used as its documentation shows, with two processes where it has processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rows_measure import Timer, versions

BATCH = 64


def datatrove(parquet: str, tokenizer: str, work: str) -> dict[str, Any]:
    """ParquetReader -> DocumentTokenizer, no shuffle, one task: its tokenizer uses all cores within a batch, too."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.tokens import DocumentTokenizer

    Path(work, "in").mkdir(parents=True)
    shutil.copy(parquet, f"{work}/in")
    pipeline = [
        ParquetReader(f"{work}/in"),
        DocumentTokenizer(
            f"{work}/out",
            tokenizer_name_or_path=f"{tokenizer}/tokenizer.json",
            eos_token="<|eos|>",
            save_filename="tokens",
            shuffle_documents=False,
            batch_size=1000,
        ),
    ]
    executor = LocalPipelineExecutor(pipeline, tasks=1, workers=1, logging_dir=f"{work}/log", skip_completed=False)
    with Timer() as timer:
        executor.run()
    size = sum(path.stat().st_size for path in Path(work, "out").glob("*.ds"))
    shutil.rmtree(work)
    return timer.rates(size // 2)  # uint16: the vocabulary is below 65,536


def datasets_map(parquet: str, tokenizer: str, work: str) -> dict[str, Any]:
    """load_dataset -> map(tokenize, batched, two processes) -> save_to_disk."""
    import tokenizers
    from datasets import load_dataset

    loaded = tokenizers.Tokenizer.from_file(f"{tokenizer}/tokenizer.json")
    bos, eos = loaded.token_to_id("<|bos|>"), loaded.token_to_id("<|eos|>")

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"input_ids": [[bos, *encoding.ids, eos] for encoding in loaded.encode_batch(batch["text"])]}

    with Timer() as timer:
        dataset = load_dataset("parquet", data_files=parquet, split="train", cache_dir=f"{work}/cache")
        dataset = dataset.map(encode, batched=True, num_proc=2, remove_columns=["id"])  # the text is kept, as by us
        dataset.save_to_disk(f"{work}/out")
    num_tokens = sum(len(ids) for batch in dataset.iter(1000) for ids in batch["input_ids"])
    shutil.rmtree(work)
    return timer.rates(num_tokens)


def dataloader(store: str, context: int, max_tokens: int) -> dict[str, Any]:
    """torch DataLoader over packed windows as the documentation shows: format "torch", shuffle, default collate."""
    return _iterate(_windows(store, context).with_format("torch"), context, max_tokens, None)


def dataloader_clm(store: str, context: int, max_tokens: int) -> dict[str, Any]:
    """The form that the causal-language-modelling examples make by `map`: int64 lists, input_ids, mask and labels."""
    return _iterate(_windows(store, context, as_lists=True).with_format("torch"), context, max_tokens, None)


def dataloader_tuned(store: str, context: int, max_tokens: int) -> dict[str, Any]:
    """The same, tuned: numpy format and a collate function that stacks arrays."""
    import numpy as np
    import torch

    def collate(records: list[dict[str, Any]]) -> Any:
        return torch.from_numpy(np.stack([record["input_ids"] for record in records]).astype(np.int32))

    return _iterate(_windows(store, context).with_format("numpy"), context, max_tokens, collate)


def _windows(store: str, context: int, *, as_lists: bool = False) -> Any:
    """A saved dataset whose records are windows, made once: int32 of fixed length, or three columns of int64 lists."""
    import numpy as np
    from datasets import Dataset, Features, List, Value, load_from_disk

    path = Path(store) / f"hf-{context}{'-lists' if as_lists else ''}"
    if not path.exists():
        tokens = np.concatenate([np.fromfile(file, "<u4") for file in sorted(Path(store).glob("*/tokens.bin"))])
        windows = tokens[: len(tokens) // context * context].reshape(-1, context)
        if as_lists:
            windows = windows[: 20_000_000 // context].astype(np.int64)  # a part: three columns of 8 bytes are large
            mask = list(np.ones_like(windows))
            records = Dataset.from_dict({"input_ids": list(windows), "attention_mask": mask, "labels": list(windows)})
        else:
            features = Features({"input_ids": List(Value("int32"), length=context)})
            records = Dataset.from_dict({"input_ids": list(windows.astype(np.int32))}, features=features)
        records.save_to_disk(str(path))
    return load_from_disk(str(path))


def _iterate(dataset: Any, context: int, max_tokens: int, collate: Any) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    loader = torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True, collate_fn=collate)
    num_steps = min(max_tokens // (BATCH * context), len(loader) - 2)
    for _ in dataset.iter(1000):  # every page once: warm
        pass
    iterator = iter(loader)
    next(iterator)
    with Timer() as timer:
        for _ in range(num_steps):
            next(iterator)
    return {**timer.rates(num_steps * BATCH * context), "context": context}


def megatron(prefix: str) -> dict[str, Any]:
    """An exported indexed dataset through Megatron-core's own reader."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    dataset = IndexedDataset(prefix)
    digest, num_tokens = hashlib.sha256(), 0
    for sequence in range(len(dataset)):
        tokens = dataset[sequence]
        num_tokens += len(tokens)
        digest.update(tokens.astype("<i8").tobytes())
    return {"num_sequences": len(dataset), "num_tokens": num_tokens, "sha256": digest.hexdigest()}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task for task in (datatrove, datasets_map, dataloader, dataloader_clm, dataloader_tuned, megatron)
}

if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    result = TASKS[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps({**result, "packages": versions()}))
