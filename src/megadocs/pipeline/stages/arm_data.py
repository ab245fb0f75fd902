"""What an arm trains on: rows of its steps -> streams -> mixture, and the accounting of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from megadocs.corpus import SplitCorpus, read_corpus
from megadocs.kinds import REAL, row_kind
from megadocs.pipeline.stages.stage import StageContext
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import MixtureConfig, StreamConfig, TrainConfig
from megadocs.rows import RowsManifest, RowStore, open_rows, verify_manifest
from megadocs.store.artifact import Artifact, Workspace
from megadocs.streams import Mixture, build_mixture, build_streams
from megadocs.text.similarity import similarity_ranks
from megadocs.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run reads: every rank opens it for itself."""

    corpus: SplitCorpus
    tokenizer: Tokenizer
    rows: RowStore
    mixture: Mixture

    @classmethod
    def open(cls, context: StageContext, *, is_checked: bool = True) -> TrainingData:
        """From the step's inputs; `is_checked` compares every segment of the rows with its SHA-256."""
        for artifact in context.inputs_of_kind("rows") if is_checked else ():
            verify_manifest(RowsManifest.load(artifact.path / "rows.json"), context.workspace.root / "segments")
        return cls.of(context.config, context.inputs, context.workspace)

    @classmethod
    def of(cls, config: Mapping[str, Any], inputs: Mapping[str, Artifact], workspace: Workspace) -> TrainingData:
        """From a train step's configuration and the artifacts that it reads."""
        corpus, rows = read_corpus(inputs["corpus"].path), open_row_artifacts(inputs, workspace)
        tokenizer = load_tokenizer(str(inputs["tokenizer"].path))
        return cls(corpus, tokenizer, rows, build_arm_mixture(config, rows, corpus))


def published_mixture(step: Step, workspace: Workspace) -> Mixture | None:
    """What a train step would train on, when all of its rows are published; else None."""
    artifacts = {role: find_artifact(needed, workspace) for role, needed in step.inputs.items()}
    there = {role: artifact for role, artifact in artifacts.items() if artifact is not None}
    if len(there) < len(artifacts):
        return None
    return build_arm_mixture(step.config, open_row_artifacts(there, workspace), read_corpus(there["corpus"].path))


def open_row_artifacts(artifacts: Mapping[str, Artifact], workspace: Workspace) -> RowStore:
    """The rows of all artifacts that hold rows, in the order of their roles."""
    rows = [artifacts[role] for role in sorted(artifacts) if artifacts[role].step == "rows"]
    return open_rows([RowsManifest.load(artifact.path / "rows.json") for artifact in rows], workspace.root / "segments")


def build_arm_mixture(config: Mapping[str, Any], rows: RowStore, corpus: SplitCorpus) -> Mixture:
    """The mixture of an arm over its rows.

    Args:
        corpus: for the ids of the real documents, 1x and the arm's multiple.
    """
    train = TrainConfig.model_validate(config["train"])
    stream = StreamConfig.model_validate(config["stream"])
    mixture = MixtureConfig.model_validate(config["mixture"])
    real_documents = corpus.train_multiple(mixture.real_multiple)
    real_ids = [document.id for document in real_documents]
    table = rows.table
    if stream.real_order == "similarity":
        ranks = similarity_ranks(real_ids, [document.text for document in real_documents])
        table = table.with_document_column("similarity_rank", real_ids, ranks)
    streams = build_streams(
        table,
        rows.tokens,
        stream=stream,
        mixture=mixture,
        context_length=train.context_length,
        seed=config["seed"],
        real_documents=real_ids,
        synthetic_documents=[document.id for document in corpus.train_multiple(1)],
    )
    return build_mixture(streams, config=mixture, train=train, seed=config["seed"], stream=stream)


def accounting(mixture: Mixture) -> dict[str, Any]:
    """Rows, tokens, windows, drops and epochs of each stream, as planned and as trained."""
    return {
        "block_windows": mixture.block_windows,
        "requested_block_windows": mixture.requested_block_windows,
        "real_document_exposures": mixture.real_document_exposures(),
        "streams": [
            {
                "name": exposure.name,
                "num_rows": stream.num_rows,
                "num_tokens": exposure.num_tokens,
                "num_windows": exposure.num_windows,
                "num_dropped_tokens": exposure.num_dropped_tokens,
                "num_missing": exposure.num_missing,
                "num_windows_trained": exposure.num_samples,
                "planned_epochs": exposure.planned_epochs,
                "actual_epochs": exposure.actual_epochs,
            }
            for stream, exposure in zip(mixture.streams, mixture.exposures(), strict=True)
        ],
    }


def real_documents(corpus: SplitCorpus, rows: RowStore, multiple: int) -> dict[str, int]:
    """How many distinct real documents the arm may see, and their tokens: the x-axis of the real-only curve."""
    wanted = {document.id for document in corpus.train_multiple(multiple)}
    table = rows.table
    is_wanted = np.array([document_id in wanted for document_id in table.document_ids], dtype=bool)
    selected = is_wanted[table.document_index] & (table.kind == row_kind(REAL).code)
    num_tokens = int(table.num_tokens[selected].sum(dtype=np.int64))
    return {"num_real_documents": len(wanted), "num_real_tokens": num_tokens}


def exposure_text(mixture: Mixture) -> str:
    """`240 steps; real 8.0 epochs, simple 4.1 epochs (planned 8.0 and 4.1)`."""
    parts = [f"{e.name} {e.actual_epochs:.2f} epochs (planned {e.planned_epochs:.2f})" for e in mixture.exposures()]
    return f"{mixture.num_steps} steps; {', '.join(parts)}"
