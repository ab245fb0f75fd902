"""The training loop, top to bottom.

    summary = run_training(recipe_model=recipe.model, config=recipe.train, mixture=mixture,
                           read_batch=mixture.read_batch, vocab_size=2048, bos_id=0, eos_id=1, seed=0, output_dir=path)

`output_dir` afterwards: `model/` (a Hugging Face folder), `metrics.jsonl`, `summary.json`, `run.json` (what the run
is) and `checkpoints/`. Calling it again resumes from the newest checkpoint, or returns at once when the run is
finished. On one CPU configuration (torch version, CPU capability, thread count) a resumed run equals an unbroken one
bit for bit: losses, rates, gradient norms, weights, moments. Under torchrun the same call trains on all ranks
(`distributed.py`).

The loop does not know how batches are made: `read_batch(step)` gives the tokens of a step, and is asked for each step
by number, so resuming needs no state of a reader.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from megadocs.errors import DivergedError, TrainingError
from megadocs.machine import resolve_dtype
from megadocs.model.hf_export import export_hf
from megadocs.model.llama import Llama
from megadocs.model.memory import freed_memory_kept
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.store.files import make_directory, read_json, write_json_atomic
from megadocs.train.checkpoint import CheckpointStore
from megadocs.train.checkpoint_writer import CheckpointWriter
from megadocs.train.determinism import deterministic_kernels
from megadocs.train.distributed import full_tensor, join_world, parallelise, without_sync
from megadocs.train.ema import AveragedWeights
from megadocs.train.identity import check_identity, run_identity
from megadocs.train.masking import kept_inputs
from megadocs.train.metrics_log import MetricsLog
from megadocs.train.micro_batch import choose_micro_batch
from megadocs.train.optimiser import build_optimiser, set_rates
from megadocs.train.run_plan import RunPlan, plan_run
from megadocs.train.run_state import RunState
from megadocs.train.schedule import learning_rate_factor, weight_decay_factor
from megadocs.train.signals import StopSignals, TrainingInterrupted
from megadocs.train.student import build_student
from megadocs.train.trackers import open_trackers

_log = logging.getLogger(__name__)

#: Tokens (B, T) of a step, integers; and segment ids (B, T) where attention stops at row or document ends.
Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]


class Mixture(Protocol):
    """What the loop asks of the data plan."""

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the run."""

    def window_ids(self, step: int) -> Sequence[Hashable]:
        """Identities of the windows of a step, for the log."""


@dataclass(frozen=True)
class TrainingProgress:
    """Told to `progress` after each logged step. `mfu` is against the measured matmul rate (`throughput.py`)."""

    step: int
    num_steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    mfu: float
    seconds_left: float


@dataclass(frozen=True)
class TrainSummary:
    """What a finished run amounts to."""

    final_loss: float
    num_steps: int
    num_tokens: int
    seconds: float
    tokens_per_second: float
    flops: float
    num_parameters: int
    model_dir: str


def run_training(
    *,
    recipe_model: ModelConfig,
    config: TrainConfig,
    mixture: Mixture,
    read_batch: Callable[[int], Batch],
    vocab_size: int,
    seed: int,
    output_dir: Path,
    bos_id: int | None = None,
    eos_id: int | None = None,
    tokenizer_files: Sequence[Path] = (),
    data_identity: dict[str, Any] | None = None,
    announce: Callable[[RunPlan], None] | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    evaluate: Callable[[Llama], dict[str, float]] | None = None,
    strict_resume: bool = False,
) -> TrainSummary:
    """Train one student from a seed to `output_dir/model/`, resuming whatever is there.

    Args:
        recipe_model: shape of the student, or the model it goes on from.
        config: optimiser, context, checkpoints.
        mixture: number of steps and the window ids of each.
        read_batch: step -> (tokens (batch_size, context_length), segment ids or None), the whole batch on every rank.
        vocab_size: of the tokenizer.
        seed: decides the initial weights (with the shape, nothing else) and masked inputs.
        output_dir: the run's folder.
        bos_id: for the exported configuration.
        eos_id: likewise.
        tokenizer_files: copied into the exported folder; with `init_from` and its tokenizer, all of that model's own.
        data_identity: JSON values naming the data; a resumed run must have the same.
        announce: told steps, tokens, FLOPs and rates before the first step.
        progress: called after each logged step, first rank only, as `announce` is.
        evaluate: called every `evaluate_every_steps` and at the end, on every rank; its numbers go to the metrics.
        strict_resume: refuse a damaged newest checkpoint instead of using the one before it.

    Raises:
        TrainingError: another run lives in the folder; not enough memory. DivergedError: a loss or gradient is not
            finite.
        TrainingInterrupted: SIGTERM or SIGINT; a checkpoint was saved.
        StoreError: the disk is full; older checkpoints are whole.
    """
    num_steps, output_dir = mixture.num_steps, Path(output_dir)
    config = config.model_copy(update={"dtype": resolve_dtype(config.dtype, config.device)})
    if num_steps < 1:
        raise TrainingError("the run has no steps", where="train.real_epochs", remedy="give more data or more epochs")
    make_directory(output_dir)
    identity = run_identity(
        recipe_model, config, vocab_size=vocab_size, num_steps=num_steps, seed=seed, data=data_identity
    )
    is_resumed = check_identity(output_dir / "run.json", identity)
    if is_resumed and (finished := _finished(output_dir)) is not None:
        return finished

    with (
        join_world(config) as world,
        deterministic_kernels(config, world.device),
        freed_memory_kept(),
        StopSignals() as stop,
    ):
        part = world.part(config.batch_size)
        student = build_student(recipe_model, config, vocab_size=vocab_size, seed=seed)
        model = student.model.to(world.device)
        micro_batch = choose_micro_batch(
            config, model.config, rows=part.stop - part.start, device=world.device, num_ranks=world.size
        )
        if config.compile:
            model.compile_parts()
        wrapped = parallelise(model, world, config)
        parameters = list(model.parameters())
        optimiser = build_optimiser(model, config)
        average = AveragedWeights(model.named_parameters(), config.ema_decay) if config.ema_decay is not None else None
        run = RunState(model, optimiser, average)
        plan = plan_run(config, model.config, mixture, world=world, micro_batch=micro_batch)

        checkpoints = CheckpointStore(output_dir / "checkpoints", keep=config.keep_checkpoints)
        step, seconds_before, loss_value = 0, 0.0, math.nan
        if (checkpoint := checkpoints.find_newest(world, strict=strict_resume)) is not None:
            checkpoint.read_into(run.tensors(step=checkpoint.step))
            step, seconds_before, loss_value = checkpoint.step, checkpoint.state["seconds"], checkpoint.state["loss"]
            if config.micro_batch_size is None and checkpoint.state["num_ranks"] == world.size:
                micro_batch = checkpoint.state["micro_batch"]  # sums of parts depend on the parts: keep them
        world.barrier()  # nobody writes before all have read
        log = MetricsLog(output_dir / "metrics.jsonl") if world.is_first else None
        if log is not None:
            if is_resumed and step == 0:
                plan = replace(plan, num_lost_steps=steps_without_checkpoint(log))
            log.keep_until(step)
            if not is_resumed:
                write_json_atomic(output_dir / "run.json", identity)
            if announce is not None:
                announce(plan)

        clock = time.perf_counter
        start = last_saved = clock()
        first_step = step

        def save() -> None:
            if log is not None:
                log.sync()
            state = {"seconds": seconds_before + clock() - start, "loss": loss_value}
            writer.start(step, state | {"micro_batch": micro_batch, "num_ranks": world.size})

        with (
            open_trackers(config.trackers if world.is_first else (), output_dir, identity) as track,
            CheckpointWriter(checkpoints, run, world, timeout_seconds=config.rank_timeout_seconds) as writer,
        ):
            while step < num_steps:
                learning_rate = config.learning_rate * learning_rate_factor(step, num_steps, config.warmup_fraction)
                weight_decay = config.weight_decay * weight_decay_factor(step, num_steps, config.weight_decay_schedule)
                set_rates(optimiser, learning_rate=learning_rate, weight_decay=weight_decay)

                batch = to_tensors(read_batch(step), config, seed=seed, step=step, part=part, device=world.device)
                loss = accumulate_gradients(wrapped, batch, micro_batch, num_ranks=world.size)
                max_norm = config.gradient_clip if config.gradient_clip is not None else math.inf
                norm_value = float(full_tensor(nn.utils.clip_grad_norm_(parameters, max_norm)))
                # One small exchange a step: the loss, whether anyone was asked to stop, whether the first rank saves,
                # how many ranks have written their part of the checkpoint under way.
                is_due = world.is_first and clock() - last_saved >= 60 * config.checkpoint_minutes
                wishes = [float(loss), float(stop.received or 0), float(is_due), float(writer.is_written)]
                loss_value, asked_to_stop, due, num_written = world.sum(wishes)
                writer.publish(num_written)
                if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
                    writer.wait()
                    raise not_finite(step, loss_value, norm_value, mixture.window_ids(step))
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                step += 1
                if average is not None:
                    average.update(step)

                seconds = clock() - start
                if log is not None and (step % config.log_every_steps == 0 or step in (1, num_steps)):
                    rate = (step - first_step) * plan.tokens_per_step / seconds
                    mfu = rate * plan.flops_per_token / (plan.matmul_flops_per_second * world.size)
                    record = {
                        "step": step,
                        "loss": loss_value,
                        "learning_rate": learning_rate,
                        "weight_decay": weight_decay,
                        "grad_norm": norm_value,
                        "tokens": step * plan.tokens_per_step,
                        "windows": windows_digest(mixture.window_ids(step - 1)),
                        "seconds": round(seconds_before + seconds, 3),
                        "tokens_per_second": round(rate, 1),
                        "mfu": round(mfu, 4),
                    }
                    log.append(record)
                    track(record)
                    if progress is not None:
                        left = (num_steps - step) * plan.tokens_per_step / rate
                        progress(TrainingProgress(step, num_steps, loss_value, learning_rate, rate, mfu, left))
                if evaluate is not None and is_evaluation_step(step, num_steps, config.evaluate_every_steps):
                    with evaluation_mode(model, average):
                        record = {"step": step, "evaluation": evaluate(model)}
                    if log is not None:
                        log.append(record)
                        track(record)
                if asked_to_stop and step < num_steps:
                    save()
                    writer.wait()
                    raise TrainingInterrupted(stop.received or 15, step)
                if due or step == num_steps:
                    save()
                    last_saved = clock()

        seconds = seconds_before + clock() - start
        weights = run.result(world)
        summary = TrainSummary(
            final_loss=loss_value,
            num_steps=num_steps,
            num_tokens=num_steps * plan.tokens_per_step,
            seconds=round(seconds, 3),
            tokens_per_second=round(num_steps * plan.tokens_per_step / seconds, 1),
            flops=num_steps * plan.tokens_per_step * plan.flops_per_token,
            num_parameters=model.config.num_parameters,
            model_dir="model",
        )
        if world.is_first:
            files, origin = student.exported_files(tokenizer_files)
            folder = output_dir / summary.model_dir
            ids = {"bos_id": bos_id, "eos_id": eos_id}
            export_hf(model, folder, tokenizer_files=files, weights=weights, origin=origin, **ids)
            write_json_atomic(output_dir / "summary.json", asdict(summary))
        world.barrier()
    return summary


@dataclass(frozen=True)
class StepBatch:
    """One rank's part of a step on its device: tokens (B, T); segments and kept inputs likewise, where used."""

    tokens: Tensor
    segments: Tensor | None
    kept: Tensor | None


def to_tensors(
    batch: Batch, config: TrainConfig, *, seed: int, step: int, part: slice, device: torch.device
) -> StepBatch:
    """This rank's part of a step's batch; refuses another shape than the recipe's."""
    tokens, segments = batch
    expected = (config.batch_size, config.context_length)
    if tokens.shape != expected:
        raise TrainingError(f"the batch has shape {tokens.shape}, the recipe says {expected}", where="train.batch_size")
    kept = None
    if config.masked_input_fraction is not None:
        kept = kept_inputs(seed, step, expected, config.masked_input_fraction)[part].to(device)
    return StepBatch(
        torch.from_numpy(tokens[part].astype(np.int64)).to(device),
        None if segments is None else torch.from_numpy(segments[part].astype(np.int64)).to(device),
        kept,
    )


def accumulate_gradients(wrapped: nn.Module, batch: StepBatch, micro_batch: int, *, num_ranks: int) -> Tensor:
    """This rank's share of the step's mean loss; its gradient, averaged over ranks, is that of the whole mean.

    Every micro-batch is scaled by the targets of the whole step, so that a last, smaller one weighs what it should.
    """
    rows, length = batch.tokens.shape
    scale = 1.0 / (rows * (length - 1))  # of this rank; the average over ranks divides by their number
    total = torch.zeros((), device=batch.tokens.device)
    for start in range(0, rows, micro_batch):
        part = slice(start, start + micro_batch)
        segments = None if batch.segments is None else batch.segments[part]
        kept = None if batch.kept is None else batch.kept[part]
        with without_sync(wrapped, is_last=start + micro_batch >= rows):
            loss = wrapped(batch.tokens[part], segments, kept, loss_scale=scale)
            loss.backward()
        total += loss.detach()
    return total / num_ranks


def steps_without_checkpoint(log: MetricsLog) -> int:
    """Steps that the metrics show of a run without a checkpoint, and a warning: they are trained again.

    A run that is killed before its first checkpoint comes here too; one that had some and lost them (a power loss, a
    deleted folder) must not begin anew without a word.
    """
    num_lost = log.last_step()
    _log.warning(
        "%s: the run was begun before and has no checkpoint; it begins again at step 0 (%d steps were logged)",
        log.path.parent,
        num_lost,
    )
    return num_lost


def windows_digest(window_ids: Sequence[Hashable]) -> str:
    """16 hex digits naming the windows of a step in order."""
    return hashlib.sha256("\n".join(str(window) for window in window_ids).encode("utf-8")).hexdigest()[:16]


def is_evaluation_step(step: int, num_steps: int, every: int | None) -> bool:
    """Whether validation is due after this many steps."""
    return step == num_steps or (every is not None and step % every == 0)


def not_finite(step: int, loss: float, norm: float, window_ids: Sequence[Hashable]) -> DivergedError:
    """The error of a step whose loss or gradient is not a number: nothing was updated, nothing saved or pruned."""
    return DivergedError(
        f"loss {loss} and gradient norm {norm} at step {step + 1}: stopped before the update",
        where="windows " + ", ".join(str(window) for window in window_ids),
        remedy="lower train.learning_rate or lengthen the warm-up; the last checkpoint is from before this step",
    )


@contextmanager
def evaluation_mode(model: Llama, average: AveragedWeights | None) -> Iterator[None]:
    """No gradients, evaluation mode, averaged weights where there are any; and back."""
    model.eval()
    with torch.no_grad(), average.in_use() if average is not None else nullcontext():
        yield
    model.train()


def _finished(output_dir: Path) -> TrainSummary | None:
    path = output_dir / "summary.json"
    if not path.exists() or not (output_dir / "model" / "config.json").exists():
        return None
    return TrainSummary(**read_json(path))
