"""Files of records, and tiny models whose tokenizer was trained on them."""

from __future__ import annotations

import json

import pytest

from benchmark_records import RECORDS, write_lines
from megadocs.text.tokenizer import train_tokenizer


@pytest.fixture(scope="session")
def record_files(tmp_path_factory):
    """Task -> a file of its records."""
    folder = tmp_path_factory.mktemp("records")
    return {name: write_lines(folder / f"{name}.jsonl", records) for name, records in RECORDS.items()}


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory, make_llama):
    """Two models of one tokenizer, as Hugging Face folders."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer([json.dumps(RECORDS)], 400)
    for seed in range(2):
        make_llama(seed, vocab_size=tokenizer.vocab_size).save_pretrained(folder / str(seed))
        tokenizer.save(folder / str(seed))
    return [str(folder / str(seed)) for seed in range(2)]
