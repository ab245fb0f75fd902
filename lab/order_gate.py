"""Does a student use its context on speeches that it never saw? The gate before any arm of `recipes/order.yaml`.

    mkdir -p runs/small && tar -I zstd -xf results/small/ledger.tar.zst -C runs/small
    megadocs generate run recipes/small.yaml --workspace runs/small       # nothing is written: all is in the ledger
    python lab/order_gate.py runs/order_model runs/small 768

The 64 passages of `results/small` and their eight rephrases serve as probe documents: the warm start holds no speech.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from megadocs.analysis import gain_row, json_form
from megadocs.corpus import read_corpus
from megadocs.documents import Document, source_groups
from megadocs.evaluate.context_use import ContextCase, ContextGains, context_gains, repeat_score
from megadocs.evaluate.scoring_model import as_scoring_model
from megadocs.model import import_hf
from megadocs.pipeline.stages.gate import probe_cases, written_rows
from megadocs.store.artifact import Artifact, Workspace
from megadocs.text.tokenizer import load_tokenizer


def told(gains: ContextGains, documents: Sequence[Document]) -> dict[str, object]:
    """A gain with its interval, whole speeches left out, as the gate of a run has it."""
    row = gain_row(gains.document_ids, gains.num_tokens, gains.gains, source_groups(documents))
    return {**json_form(row), "num_context_rows": gains.num_context_rows}


def rephrases(workspace: Path) -> Artifact:
    """The artifact of the workspace's rephrases, of the largest number a document."""
    found = {}
    for path in workspace.glob("generate/*/record.json"):
        config = json.loads(path.read_text())["config"]
        if config["task"] == "rephrase":
            found[config["num_generations"]] = path.parent.name
    artifact = Workspace(workspace).find("generate", found[max(found)]) if found else None
    if artifact is None:
        raise SystemExit(f"no rephrases in {workspace}: run `megadocs generate run` first")
    return artifact


def main(model_folder: str, workspace: str, length: int) -> None:
    """Print the gains as JSON."""
    torch.set_num_threads(1)
    model, tokenizer = as_scoring_model(import_hf(Path(model_folder))), load_tokenizer(model_folder)
    documents = read_corpus(next(Path(workspace).glob("corpus/*"))).train_multiple(1)
    cases = probe_cases(documents, written_rows(rephrases(Path(workspace)), tokenizer), tokenizer, length)
    halves = [case.row[: length // 2] for case in cases]
    copies = [
        ContextCase(case.document_id, row, [row], [halves[(number + 1) % len(halves)]])
        for number, (case, row) in enumerate(zip(cases, halves, strict=True))
    ]
    found = {
        "context_length": length,
        "mean_document_tokens": float(np.mean([len(case.row) for case in cases])),
        "mean_rephrase_tokens": float(np.mean([len(row) for case in cases for row in case.own])),
        "sibling_gain": told(context_gains(model, cases, length), documents),
        "copy_gain": told(context_gains(model, copies, length), documents),
        "repeat_score": repeat_score(model, np.concatenate([case.row for case in cases]), length),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
