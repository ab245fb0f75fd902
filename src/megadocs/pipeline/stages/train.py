"""Train one arm with one seed: rows -> streams -> mixture -> run; publish the model folder and its metrics."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from megadocs.errors import InputError
from megadocs.evaluate.evaluation_set import build_evaluation_set
from megadocs.pipeline.stages.arm_data import TrainingData, accounting, exposure_text, real_documents
from megadocs.pipeline.stages.scorer import has_boundary
from megadocs.pipeline.stages.stage import StageContext, Stopped
from megadocs.pipeline.stages.torchrun import is_rank, train_on_ranks
from megadocs.recipe import ModelConfig, TrainConfig

if TYPE_CHECKING:
    from megadocs.model.llama import Llama
    from megadocs.train import TrainSummary
    from megadocs.train.run_plan import RunPlan


def run(context: StageContext) -> None:
    """Make the train artifact: model/, metrics.jsonl, run.json; its summary holds the token accounting."""
    data = TrainingData.open(context)
    context.report({"note": exposure_text(data.mixture)})
    clock, busy = time.perf_counter(), time.process_time()
    num_processes = context.config["train"]["num_processes"]
    if num_processes > 1 and not is_rank():
        summary = train_on_ranks(context, num_processes)
    else:
        summary = train(context, data)
    share = core_share(context.config["train"], time.perf_counter() - clock, time.process_time() - busy)
    shutil.rmtree(context.build.path / "checkpoints", ignore_errors=True)  # the model folder holds the result
    context.build.summary.update(
        final_training_loss=summary.final_loss,
        num_steps=summary.num_steps,
        num_tokens=summary.num_tokens,
        training_seconds=summary.seconds,
        tokens_per_second=summary.tokens_per_second,
        flops=summary.flops,
        num_parameters=summary.num_parameters,
        attention_kernel=summary.attention_kernel,
        finished_unix=round(time.time(), 3),
        rate_for_plan=summary.flops / (summary.seconds * share),
        **real_documents(data.corpus, data.rows, context.config["mixture"]["real_multiple"]),
        **accounting(data.mixture),
    )


def core_share(config: Mapping[str, Any], clock_seconds: float, processor_seconds: float) -> float:
    """The part of a core that this process had while it trained, at most 1: a plan is of free cores.

    By the clock a run beside other work would make every later plan too long; on a GPU, and with several processes, the
    clock is what counts.
    """
    from megadocs.train.distributed import choose_device

    recipe = TrainConfig.model_validate(config)
    if is_rank() or recipe.num_processes > 1 or choose_device(recipe).type != "cpu":
        return 1.0
    return min(1.0, processor_seconds / clock_seconds)


def train(context: StageContext, data: TrainingData, *, announce: Callable[[], None] | None = None) -> TrainSummary:
    """Train in this process, alone or as one of several ranks.

    Args:
        context: of the train step; its directory is the run's folder.
        data: opened from it.
        announce: called before the first step on the first rank.

    Raises:
        Stopped: asked to stop; a checkpoint was saved.
    """
    from megadocs.train import TrainingJob, TrainingProgress, run_training
    from megadocs.train.signals import TrainingInterrupted

    def report(progress: TrainingProgress) -> None:
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

    def warn(text: str) -> None:
        context.report({"note": text, "is_warning": True})

    def begin(plan: RunPlan) -> None:
        if plan.num_lost_steps:
            warn(f"no checkpoint is left of {plan.num_lost_steps} steps: they are trained again")
            context.build.summary["num_lost_steps"] = plan.num_lost_steps
        if announce is not None:
            announce()

    config = TrainConfig.model_validate(context.config["train"])
    boundary = has_boundary(context.config)
    job = TrainingJob(
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
        announce=begin,
        progress=report,
        warn=warn,
        evaluate=_validation(data, config, boundary) if config.evaluate_every_steps is not None else None,
    )
    try:
        return run_training(job)
    except TrainingInterrupted as interrupted:
        raise Stopped from interrupted


def _validation(data: TrainingData, config: TrainConfig, boundary: bool) -> Callable[[Llama], dict[str, float]]:
    """A function model -> mean loss on the validation documents, cut into windows of the training length.

    In the training's compute type, every window whole, so that any number of ranks finds the same; with an attention
    boundary attention stays inside each document, as in training.
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
    used = num_windows * length
    windows = torch.from_numpy(tokens[:used].reshape(num_windows, length))
    owners = torch.from_numpy(np.repeat(np.arange(len(rows)), [len(row) for row in rows])[:used].reshape(windows.shape))
    starts = range(0, num_windows, config.batch_size)
    parts = [
        (windows[start : start + config.batch_size], owners[start : start + config.batch_size]) for start in starts
    ]

    def evaluate(model: Llama) -> dict[str, float]:
        device = next(model.parameters()).device
        total = sum(
            float(model(part.to(device), owner.to(device) if boundary else None, loss_scale=1.0))
            for part, owner in parts
        )
        return {"validation_loss": total / (num_windows * (length - 1))}

    return evaluate
