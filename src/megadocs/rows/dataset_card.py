"""The README.md of an exported stream: what it is, how to train on it, how it was made.

The hub reads the YAML head; people read the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))

_HOW_TO_TRAIN = """\
## How to train on it

Concatenate, then split; plain causal. Take the rows in the order of `position`, each with its own separators, as one
sequence of tokens; cut it into windows of the context length wherever the cut falls; drop the tail; attend causally
over the whole window, across rows and documents. Shuffle windows, not rows: the order of the rows is the method.
Masking attention at row boundaries, padding rows to windows, or shuffling rows makes it another method.
"""

_FILES = """\
## Files

- `data/*.parquet`: `position`, `document_id`, `kind`, `generation`, `num_tokens`, `text` (without separators).
- `memmap/tokens.bin`, `memmap/offsets.npy`: headerless little-endian tokens of type `{dtype}`; row r is
  `tokens[offsets[r]:offsets[r + 1]]`, separators included.
- `megatron/*.bin`, `*.idx`: an indexed dataset whose sequences are {sequences}.
- `export.json`: counts and the SHA-256 of every data file.
"""


def dataset_card(summary: Mapping[str, Any]) -> str:
    """Markdown with a YAML head.

    Args:
        summary: the counts of `export_stream`; `facts` are shown as they are.
    """
    head: dict[str, Any] = {
        "pretty_name": f"megadocs stream: {summary['name']}",
        "tags": ["synthetic", "megadocs", "pretraining"],
        "task_categories": ["text-generation"],
        "size_categories": [_size(summary["num_rows"])],
    }
    if any(name.startswith("data/") for name in summary["files"]):
        head["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary["rows_by_kind"].items())
    separators = "BOS and EOS" if summary["separators_per_row"] == 2 else "EOS"
    sections = [
        "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True) + "---",
        f"# Stream `{summary['name']}`",
        f"{summary['num_rows']:,} rows ({kinds}) of {summary['num_documents']:,} source documents, "
        f"{summary['num_tokens']:,} tokens. Each row carries {separators}; vocabulary {summary['vocab_size']:,}, "
        f"tokenizer `{summary['tokenizer_fingerprint']}`.",
        _HOW_TO_TRAIN.strip(),
        _FILES.format(dtype=summary["token_dtype"], sequences=_sequences(summary)).strip(),
    ]
    if summary["facts"]:
        lines = [f"- {key}: {value}" for key, value in summary["facts"].items()]
        sections.append("\n".join(["## How it was made", "", *lines]))
    return "\n\n".join(sections) + "\n"


def _sequences(summary: Mapping[str, Any]) -> str:
    if summary["megatron_sequences"] == "documents":
        return "whole megadocs (consecutive rows of one document), so that shuffling sequences keeps them together"
    return "rows"


def _size(num_rows: int) -> str:
    return next((name for limit, name in _SIZES if num_rows < limit), "n>10M")
