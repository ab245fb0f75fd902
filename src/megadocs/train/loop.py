"""The training loop, top to bottom.

    summary = run_training(recipe_model=recipe.model, config=recipe.train, mixture=mixture, read_batch=mixture_reader,
                           vocab_size=2048, bos_id=0, eos_id=1, seed=0, output_dir=path)

`output_dir` afterwards: `model/` (a Hugging Face folder), `metrics.jsonl`, `run.json` (what the run is),
`checkpoints/`. Calling it again resumes from the newest checkpoint, or returns at once when the run is finished. On
one CPU configuration (torch version, CPU capability, thread count) a resumed run equals an unbroken one bit for bit:
losses, rates, gradient norms, weights, moments.

The loop does not know how batches are made: `read_batch(step)` gives the tokens of a step, and is asked for each step
by number, so resuming needs no state of a reader.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from megadocs.errors import TrainingError
from megadocs.model import Llama, build_model, export_hf
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.store.files import read_json, write_json_atomic
from megadocs.train.checkpoint import CheckpointStore
from megadocs.train.identity import check_identity, run_identity
from megadocs.train.metrics_log import MetricsLog
from megadocs.train.optimiser import build_optimiser, load_optimiser_tensors, optimiser_tensors, set_rates
from megadocs.train.schedule import learning_rate_factor, weight_decay_factor
from megadocs.train.signals import StopSignals, TrainingInterrupted

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
    """Told to `progress` after each logged step."""

    step: int
    num_steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float
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
    progress: Callable[[TrainingProgress], None] | None = None,
    evaluate: Callable[[Llama], dict[str, float]] | None = None,
    strict_resume: bool = False,
) -> TrainSummary:
    """Train one student from a seed to `output_dir/model/`, resuming whatever is there.

    Args:
        recipe_model: shape of the student.
        config: optimiser, context, checkpoints.
        mixture: number of steps and the window ids of each.
        read_batch: step -> (tokens (batch_size, context_length), segment ids or None).
        vocab_size: of the tokenizer.
        seed: decides the initial weights, with the shape and nothing else.
        output_dir: the run's folder.
        bos_id: for the exported configuration.
        eos_id: likewise.
        tokenizer_files: copied into the exported folder.
        data_identity: JSON values naming the data; a resumed run must have the same.
        progress: called after each logged step.
        evaluate: called every `evaluate_every_steps` and at the end; its numbers go to the metrics.
        strict_resume: refuse a damaged newest checkpoint instead of using the one before it.

    Raises:
        TrainingError: another run lives in the folder; a loss or gradient is not finite.
        TrainingInterrupted: SIGTERM or SIGINT; a checkpoint was saved.
        StoreError: the disk is full; older checkpoints are whole.
    """
    num_steps = mixture.num_steps
    if num_steps < 1:
        raise TrainingError("the run has no steps", where="train.real_epochs", remedy="give more data or more epochs")
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    identity = run_identity(
        recipe_model, config, vocab_size=vocab_size, num_steps=num_steps, seed=seed, data=data_identity
    )
    _claim(output_dir / "run.json", identity)
    finished = _finished(output_dir)
    if finished is not None:
        return finished

    model = build_model(recipe_model, vocab_size, config.context_length, seed)
    device = choose_device(config)
    model.to(device)
    model.compute_dtype = getattr(torch, config.dtype)
    named = list(model.named_parameters())
    parameters = [parameter for _, parameter in named]
    optimiser = build_optimiser(model, config)
    checkpoints = CheckpointStore(output_dir / "checkpoints", keep=config.keep_checkpoints)
    log = MetricsLog(output_dir / "metrics.jsonl")

    step, seconds_before, loss_value = 0, 0.0, float("nan")
    checkpoint = checkpoints.load_newest(strict=strict_resume)
    if checkpoint is not None:
        step, seconds_before = checkpoint.step, checkpoint.state["seconds"]
        loss_value = checkpoint.state["loss"]
        with torch.no_grad():
            for name, parameter in named:
                parameter.copy_(checkpoint.tensors[f"weight.{name}"])
        load_optimiser_tensors(optimiser, named, checkpoint.tensors, step=step)
    log.keep_until(step)

    def save() -> None:
        log.sync()
        tensors = {f"weight.{name}": parameter for name, parameter in named} | optimiser_tensors(optimiser, named)
        checkpoints.save(step, tensors, {"seconds": seconds_before + clock() - start, "loss": loss_value})

    tokens_per_step = config.batch_size * config.context_length
    clock = time.perf_counter
    start = last_saved = clock()
    first_step = step
    with StopSignals() as stop:
        while step < num_steps:
            tokens_BT, segments_BT = to_tensors(read_batch(step), device, config)
            learning_rate = config.learning_rate * learning_rate_factor(step, num_steps, config.warmup_fraction)
            weight_decay = config.weight_decay * weight_decay_factor(step, num_steps, config.weight_decay_schedule)
            set_rates(optimiser, learning_rate=learning_rate, weight_decay=weight_decay)

            loss = accumulate_gradients(model, tokens_BT, segments_BT, config.micro_batch_size or config.batch_size)
            max_norm = config.gradient_clip if config.gradient_clip is not None else float("inf")
            norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            loss_value, norm_value = float(loss), float(norm)
            if not (np.isfinite(loss_value) and np.isfinite(norm_value)):
                raise not_finite(step, loss_value, norm_value, mixture.window_ids(step))
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step += 1

            seconds = clock() - start
            if step % config.log_every_steps == 0 or step == num_steps or step == 1:
                rate = (step - first_step) * tokens_per_step / seconds
                log.append(
                    {
                        "step": step,
                        "loss": loss_value,
                        "learning_rate": learning_rate,
                        "weight_decay": weight_decay,
                        "grad_norm": norm_value,
                        "tokens": step * tokens_per_step,
                        "seconds": round(seconds_before + seconds, 3),
                        "tokens_per_second": round(rate, 1),
                        "windows": windows_digest(mixture.window_ids(step - 1)),
                    }
                )
                if progress is not None:
                    left = (num_steps - step) * tokens_per_step / rate
                    progress(TrainingProgress(step, num_steps, loss_value, learning_rate, rate, left))
            if evaluate is not None and is_evaluation_step(step, num_steps, config.evaluate_every_steps):
                with evaluation_mode(model):
                    log.append({"step": step, "evaluation": evaluate(model)})
            if stop.received is not None and step < num_steps:
                save()
                raise TrainingInterrupted(stop.received, step)
            if clock() - last_saved >= 60 * config.checkpoint_minutes or step == num_steps:
                save()
                last_saved = clock()

    seconds = seconds_before + clock() - start
    model_dir = export_hf(model, output_dir / "model", tokenizer_files=tokenizer_files, bos_id=bos_id, eos_id=eos_id)
    summary = TrainSummary(
        final_loss=loss_value,
        num_steps=num_steps,
        num_tokens=num_steps * tokens_per_step,
        seconds=round(seconds, 3),
        tokens_per_second=round(num_steps * tokens_per_step / seconds, 1),
        flops=num_steps * tokens_per_step * model.config.flops_per_token(config.context_length),
        num_parameters=model.config.num_parameters,
        model_dir=model_dir.name,
    )
    write_json_atomic(output_dir / "summary.json", asdict(summary))
    return summary


def choose_device(config: TrainConfig) -> torch.device:
    """The device of the recipe; `auto` is CUDA where there is one."""
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no CUDA device was found", where="train.device", remedy="use train.device=auto or cpu")
    return torch.device(config.device)


def to_tensors(batch: Batch, device: torch.device, config: TrainConfig) -> tuple[Tensor, Tensor | None]:
    """The step's tokens and segments on the device, int64; refuses another shape than the recipe's."""
    tokens, segments = batch
    expected = (config.batch_size, config.context_length)
    if tokens.shape != expected:
        raise TrainingError(f"the batch has shape {tokens.shape}, the recipe says {expected}", where="train.batch_size")
    tokens_BT = torch.from_numpy(tokens.astype(np.int64)).to(device, non_blocking=True)
    if segments is None:
        return tokens_BT, None
    return tokens_BT, torch.from_numpy(segments.astype(np.int64)).to(device, non_blocking=True)


def accumulate_gradients(model: Llama, tokens_BT: Tensor, segments_BT: Tensor | None, micro_batch_size: int) -> Tensor:
    """Mean loss over all targets of the step, its gradient added up over micro-batches.

    Every micro-batch is scaled by the targets of the whole step, so that a last, smaller one weighs what it should.
    """
    num_targets = tokens_BT.shape[0] * (tokens_BT.shape[1] - 1)
    total = torch.zeros((), device=tokens_BT.device)
    for start in range(0, tokens_BT.shape[0], micro_batch_size):
        part = slice(start, start + micro_batch_size)
        segments = None if segments_BT is None else segments_BT[part]
        loss = model(tokens_BT[part], segments, loss_scale=1.0 / num_targets)
        loss.backward()
        total += loss.detach()
    return total


def windows_digest(window_ids: Sequence[Hashable]) -> str:
    """16 hex digits naming the windows of a step in order."""
    return hashlib.sha256("\n".join(str(window) for window in window_ids).encode("utf-8")).hexdigest()[:16]


def is_evaluation_step(step: int, num_steps: int, every: int | None) -> bool:
    """Whether validation is due after this many steps."""
    return step == num_steps or (every is not None and step % every == 0)


def not_finite(step: int, loss: float, norm: float, window_ids: Sequence[Hashable]) -> TrainingError:
    """The error of a step whose loss or gradient is not a number: nothing was updated, nothing saved or pruned."""
    return TrainingError(
        f"loss {loss} and gradient norm {norm} at step {step + 1}: stopped before the update",
        where="windows " + ", ".join(str(window) for window in window_ids),
        remedy="lower train.learning_rate or lengthen the warm-up; the last checkpoint is from before this step",
    )


@contextmanager
def evaluation_mode(model: Llama) -> Iterator[None]:
    """No gradients, evaluation mode, and back."""
    model.eval()
    with torch.no_grad():
        yield
    model.train()


def _claim(path: Path, identity: dict[str, Any]) -> None:
    if not check_identity(path, identity):
        write_json_atomic(path, identity)


def _finished(output_dir: Path) -> TrainSummary | None:
    path = output_dir / "summary.json"
    if not path.exists() or not (output_dir / "model" / "config.json").exists():
        return None
    return TrainSummary(**read_json(path))
