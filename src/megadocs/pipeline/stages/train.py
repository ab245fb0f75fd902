"""Train one arm with one seed: rows -> streams -> mixture -> run; publish the model folder and its metrics."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from megadocs.corpus import SplitCorpus, read_corpus
from megadocs.documents import KIND_CODES
from megadocs.errors import InputError
from megadocs.evaluate.evaluation_set import build_evaluation_set
from megadocs.pipeline.stages import StageContext, Stopped
from megadocs.pipeline.stages.stop_rule import StopRule
from megadocs.pipeline.stages.torchrun import is_rank, train_on_ranks
from megadocs.recipe import MixtureConfig, ModelConfig, StreamConfig, TrainConfig
from megadocs.rows import RowsManifest, RowStore, open_rows, verify_manifest
from megadocs.streams import Mixture, build_mixture, build_streams
from megadocs.text.similarity import similarity_ranks
from megadocs.text.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from megadocs.model.llama import Llama
    from megadocs.train import TrainSummary


def run(context: StageContext) -> None:
    """Make the train artifact: model/, metrics.jsonl, run.json; its summary holds the token accounting."""
    data = TrainingData.open(context)
    context.report({"note": _exposure_text(data.mixture)})
    num_processes = context.config["train"]["num_processes"]
    if num_processes > 1 and not is_rank():
        summary = train_on_ranks(context, num_processes)
    else:
        summary = train(context, data)
    shutil.rmtree(context.build.path / "checkpoints", ignore_errors=True)  # the model folder holds the result
    context.build.summary.update(
        final_training_loss=summary.final_loss,
        num_steps=summary.num_steps,
        num_tokens=summary.num_tokens,
        training_seconds=summary.seconds,
        tokens_per_second=summary.tokens_per_second,
        flops=summary.flops,
        num_parameters=summary.num_parameters,
        finished_unix=round(time.time(), 3),
        rate_for_plan=summary.flops / summary.seconds,
        **_real_documents(data.corpus, data.rows, context.config["mixture"]["real_multiple"]),
        **accounting(data.mixture),
    )


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
        tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
        corpus = read_corpus(context.inputs["corpus"].path)
        rows = _open_rows(context, is_checked=is_checked)
        mixture = build_arm_mixture(context.config, rows, corpus, allow_code=context.settings["allow_code"])
        return cls(corpus, tokenizer, rows, mixture)


def train(context: StageContext, data: TrainingData, *, announce: Callable[[], None] | None = None) -> TrainSummary:
    """Train in this process, alone or as one of several ranks.

    Args:
        context: of the train step; its directory is the run's folder.
        data: opened from it.
        announce: called before the first step on the first rank.

    Raises:
        Stopped: asked to stop; a checkpoint was saved.
    """
    from megadocs.train import TrainingProgress, run_training
    from megadocs.train.signals import TrainingInterrupted

    rule = StopRule(None if is_rank() else context.settings.get("stop_rule"), context.build.path)

    def report(progress: TrainingProgress) -> None:
        rule.check(progress.step, progress.num_steps, progress.loss)
        context.report(
            {
                "done": progress.step,
                "total": progress.num_steps,
                "unit": "steps",
                "loss": progress.loss,
                "note": f"loss {progress.loss:.3f}",
                "tokens_per_second": progress.tokens_per_second,
                "seconds_left": progress.seconds_left,
            }
        )

    config = TrainConfig.model_validate(context.config["train"])
    try:
        return run_training(
            recipe_model=ModelConfig.model_validate(context.config["model"]),
            config=config,
            mixture=data.mixture,
            read_batch=data.mixture.read_batch,
            vocab_size=data.tokenizer.vocab_size,
            bos_id=data.tokenizer.bos_id,
            eos_id=data.tokenizer.eos_id,
            seed=context.config["seed"],
            output_dir=context.build.path,
            tokenizer_files=sorted(context.inputs["tokenizer"].path.glob("tokenizer*.json")),
            data_identity={role: artifact.fingerprint for role, artifact in sorted(context.inputs.items())},
            announce=None if announce is None else lambda plan: announce(),
            progress=report,
            evaluate=_validation(data, config) if config.evaluate_every_steps is not None else None,
        )
    except TrainingInterrupted as interrupted:
        raise Stopped from interrupted


def _validation(data: TrainingData, config: TrainConfig) -> Callable[[Llama], dict[str, float]]:
    """A function model -> mean loss on the validation documents, cut into windows of the training length.

    In the training's compute type, every window whole, so that any number of ranks finds the same.
    """
    import torch

    rows = build_evaluation_set("validation", list(data.corpus.validation), data.tokenizer).ordered().rows
    tokens, length = np.concatenate(rows).astype(np.int64), config.context_length
    num_windows = len(tokens) // length
    if num_windows == 0:
        raise InputError(
            f"the validation documents have {len(tokens)} tokens, a window has {length}",
            where="train.evaluate_every_steps",
            remedy="set it to none, or add validation documents",
        )
    windows = torch.from_numpy(tokens[: num_windows * length].reshape(num_windows, length))
    parts = [windows[start : start + config.batch_size] for start in range(0, num_windows, config.batch_size)]

    def evaluate(model: Llama) -> dict[str, float]:
        device = next(model.parameters()).device
        total = sum(float(model(part.to(device), loss_scale=1.0)) for part in parts)
        return {"validation_loss": total / (num_windows * (length - 1))}

    return evaluate


def build_arm_mixture(config: Mapping[str, Any], rows: RowStore, corpus: SplitCorpus, *, allow_code: bool) -> Mixture:
    """The mixture of an arm over its rows.

    Args:
        config: a train step's configuration.
        rows: every kind of row that the arm reads.
        corpus: for the ids of the real documents, 1x and the arm's multiple.
        allow_code: load orderings of the form module:attribute.
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
        allow_code=allow_code,
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


def _real_documents(corpus: SplitCorpus, rows: RowStore, multiple: int) -> dict[str, int]:
    """How many distinct real documents the arm may see, and their tokens: the x-axis of the real-only curve."""
    wanted = {document.id for document in corpus.train_multiple(multiple)}
    table = rows.table
    is_wanted = np.array([document_id in wanted for document_id in table.document_ids], dtype=bool)
    selected = is_wanted[table.document_index] & (table.kind == KIND_CODES["real"])
    num_tokens = int(table.num_tokens[selected].sum(dtype=np.int64))
    return {"num_real_documents": len(wanted), "num_real_tokens": num_tokens}


def _open_rows(context: StageContext, *, is_checked: bool) -> RowStore:
    """All rows of the arm; checked: every segment compared with its SHA-256."""
    segments = context.workspace.root / "segments"
    manifests = [RowsManifest.load(artifact.path / "rows.json") for artifact in context.inputs_of_kind("rows")]
    for manifest in manifests if is_checked else ():
        verify_manifest(manifest, segments)
    return open_rows(manifests, segments)


def _exposure_text(mixture: Mixture) -> str:
    """`240 steps; real 8.0 epochs, simple 4.1 epochs (planned 8.0 and 4.1)`."""
    parts = [f"{e.name} {e.actual_epochs:.2f} epochs (planned {e.planned_epochs:.2f})" for e in mixture.exposures()]
    return f"{mixture.num_steps} steps; {', '.join(parts)}"
