"""The training loop, top to bottom.

    summary = run_training(TrainingJob(recipe_model=recipe.model, config=recipe.train, mixture=mixture, vocab_size=2048,
                                       read_batch=mixture.read_batch, bos_id=0, eos_id=1, seed=0, output_dir=path))

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
from typing import Any

import torch
from torch import nn

from megadocs.errors import DivergedError, TrainingError
from megadocs.machine import resolve_dtype
from megadocs.model.attention import KERNELS, Kernel
from megadocs.model.attention_choice import choose_kernel
from megadocs.model.hf_export import export_hf
from megadocs.model.llama import Llama
from megadocs.model.memory import freed_memory_kept
from megadocs.store.files import make_directory, read_json, write_json_atomic
from megadocs.train.checkpoint import CheckpointStore
from megadocs.train.checkpoint_writer import CheckpointWriter
from megadocs.train.determinism import deterministic_kernels
from megadocs.train.distributed import World, full_tensor, join_world, parallelise
from megadocs.train.ema import AveragedWeights
from megadocs.train.identity import check_identity, run_identity
from megadocs.train.job import TrainingJob, TrainingProgress, TrainSummary
from megadocs.train.metrics_log import MetricsLog
from megadocs.train.micro_batch import choose_micro_batch
from megadocs.train.optimiser import build_optimiser, set_rates
from megadocs.train.run_plan import plan_run
from megadocs.train.run_state import RunState
from megadocs.train.schedule import learning_rate_factor, weight_decay_factor
from megadocs.train.signals import StopSignals, TrainingInterrupted
from megadocs.train.step_batch import accumulate_gradients, to_tensors
from megadocs.train.student import build_student
from megadocs.train.trackers import open_trackers

_log = logging.getLogger(__name__)


def run_training(job: TrainingJob) -> TrainSummary:
    """Train a student to `job.output_dir/model/`, resuming whatever is there.

    Raises:
        TrainingError: another run lives in the folder; not enough memory. DivergedError: a loss or gradient is not
            finite.
        TrainingInterrupted: SIGTERM or SIGINT; a checkpoint was saved.
        StoreError: the disk is full; older checkpoints are whole.
    """
    dtype = resolve_dtype(job.config.dtype, job.config.device)
    config, num_steps = job.config.model_copy(update={"dtype": dtype}), job.mixture.num_steps
    job = replace(job, config=config)
    if num_steps < 1:
        raise TrainingError("the run has no steps", where="train.real_epochs", remedy="give more data or more epochs")
    make_directory(job.output_dir)
    identity = run_identity(
        job.recipe_model,
        config,
        vocab_size=job.vocab_size,
        num_steps=num_steps,
        seed=job.seed,
        data=job.data_identity,
    )
    is_resumed = check_identity(job.output_dir / "run.json", identity)
    if is_resumed and (finished := _finished(job.output_dir)) is not None:
        return finished

    with (
        join_world(config) as world,
        deterministic_kernels(config, world.device),
        freed_memory_kept(),
        StopSignals() as stop,
    ):
        run = _Run(job, world, stop)
        run.restore()
        run.begin(identity, is_resumed=is_resumed)
        with (
            open_trackers(config.trackers if world.is_first else (), job.output_dir, identity, job.warn) as track,
            CheckpointWriter(run.checkpoints, run.state, world, timeout_seconds=config.rank_timeout_seconds) as writer,
        ):
            while run.step < num_steps:
                update = run.update(writer)
                run.log_update(update, track)
                run.evaluate_when_due(track)
                run.save_when_due(update, writer)
        return run.export()


@dataclass(frozen=True)
class _Update:
    """What one optimiser step had: its rates, the gradient's norm, and what the ranks asked for in it."""

    learning_rate: float
    weight_decay: float
    grad_norm: float
    stop_asked: bool
    save_due: bool


class _Run:
    """A job on this rank: the student, its optimiser, the log, and how far they have come."""

    def __init__(self, job: TrainingJob, world: World, stop: StopSignals) -> None:
        self.job, self.config, self.world, self.stop = job, job.config, world, stop
        self.num_steps = job.mixture.num_steps
        self.part = world.part(self.config.batch_size)
        self.student = build_student(job.recipe_model, self.config, vocab_size=job.vocab_size, seed=job.seed)
        self.model = self.student.model.to(world.device)
        rows = self.part.stop - self.part.start
        self.micro_batch = choose_micro_batch(
            self.config, self.model.config, rows=rows, device=world.device, num_ranks=world.size
        )
        self.model.attention_kernel = self._attention_kernel()
        if self.config.compile:
            self.model.compile_parts()
        self.wrapped = parallelise(self.model, world, self.config)
        self.parameters = list(self.model.parameters())
        self.optimiser = build_optimiser(self.model, self.config)
        decay = self.config.ema_decay
        self.average = AveragedWeights(self.model.named_parameters(), decay) if decay is not None else None
        self.state = RunState(self.model, self.optimiser, self.average)
        self.plan = plan_run(self.config, self.model.config, job.mixture, world=world, micro_batch=self.micro_batch)
        self.checkpoints = CheckpointStore(job.output_dir / "checkpoints", keep=self.config.keep_checkpoints)
        self.log: MetricsLog | None = None
        self.step = self.first_step = 0
        self.seconds_before, self.loss = 0.0, math.nan
        self.started = self.last_saved = time.perf_counter()

    def restore(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        newest = self.checkpoints.find_newest(self.world, strict=self.job.strict_resume)
        if newest is not None:
            newest.read_into(self.state.tensors(step=newest.step))
            self.step = self.first_step = newest.step
            self.seconds_before, self.loss = newest.state["seconds"], newest.state["loss"]
            if self.config.micro_batch_size is None and newest.state["num_ranks"] == self.world.size:
                self.micro_batch = newest.state["micro_batch"]  # sums of parts depend on the parts: keep them
            if self.model.attention_kernel is not None and newest.state["attention_kernel"] is not None:
                # Kernels round differently: on a CPU a run keeps the one it began with there, whatever is measured now.
                self.model.attention_kernel = newest.state["attention_kernel"]
        self.world.barrier()  # nobody writes before all have read

    def begin(self, identity: dict[str, Any], *, is_resumed: bool) -> None:
        """Open the log, write what the run is, announce the plan, start the clock."""
        if self.world.is_first:
            self.log = MetricsLog(self.job.output_dir / "metrics.jsonl")
            if is_resumed and self.step == 0:
                self.plan = replace(self.plan, num_lost_steps=steps_without_checkpoint(self.log))
            self.log.keep_until(self.step)
            if not is_resumed:
                write_json_atomic(self.job.output_dir / "run.json", identity)
            if self.job.announce is not None:
                self.job.announce(self.plan)
        self.started = self.last_saved = time.perf_counter()

    def _attention_kernel(self) -> Kernel | None:
        """The fastest on this machine, the same for all ranks; None on a GPU, which has torch's."""
        if self.world.device.type != "cpu":
            return None
        chosen = 0
        if self.world.is_first:
            dtype = getattr(torch, self.config.dtype)
            kernel = choose_kernel(self.model.config, length=self.config.context_length, dtype=dtype)
            chosen = KERNELS.index(kernel)
        return KERNELS[int(self.world.sum([float(chosen)])[0])]

    @property
    def seconds(self) -> float:
        """Of training, the parts before a stop included."""
        return self.seconds_before + time.perf_counter() - self.started

    def update(self, writer: CheckpointWriter) -> _Update:
        """One optimiser step (DivergedError before the weights change if its loss or gradient is not finite)."""
        config, step, world = self.config, self.step, self.world
        learning_rate = config.learning_rate * learning_rate_factor(step, self.num_steps, config.warmup_fraction)
        weight_decay = config.weight_decay * weight_decay_factor(step, self.num_steps, config.weight_decay_schedule)
        set_rates(self.optimiser, learning_rate=learning_rate, weight_decay=weight_decay)

        batch = to_tensors(
            self.job.read_batch(step), config, seed=self.job.seed, step=step, part=self.part, device=world.device
        )
        loss = accumulate_gradients(self.wrapped, batch, self.micro_batch, num_ranks=world.size)
        max_norm = config.gradient_clip if config.gradient_clip is not None else math.inf
        norm = float(full_tensor(nn.utils.clip_grad_norm_(self.parameters, max_norm)))
        # One small exchange a step: the loss, whether anyone was asked to stop, whether the first rank saves, how many
        # ranks have written their part of the checkpoint under way.
        is_due = world.is_first and time.perf_counter() - self.last_saved >= 60 * config.checkpoint_minutes
        wishes = [float(loss), float(self.stop.received or 0), float(is_due), float(writer.is_written)]
        self.loss, stop_asked, save_due, num_written = world.sum(wishes)
        writer.publish(num_written)
        if not (math.isfinite(self.loss) and math.isfinite(norm)):
            writer.wait()
            raise not_finite(step, self.loss, norm, self.job.mixture.window_ids(step))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        return _Update(learning_rate, weight_decay, norm, bool(stop_asked), bool(save_due))

    def log_update(self, update: _Update, track: Callable[[dict[str, Any]], None]) -> None:
        """Write the step's record, every `log_every_steps`, at the first and at the last step."""
        step, plan = self.step, self.plan
        if self.log is None or not (step % self.config.log_every_steps == 0 or step in (1, self.num_steps)):
            return
        seconds = time.perf_counter() - self.started
        rate = (step - self.first_step) * plan.tokens_per_step / seconds
        mfu = rate * plan.flops_per_token / (plan.matmul_flops_per_second * self.world.size)
        record = {
            "step": step,
            "loss": self.loss,
            "learning_rate": update.learning_rate,
            "weight_decay": update.weight_decay,
            "grad_norm": update.grad_norm,
            "tokens": step * plan.tokens_per_step,
            "windows": windows_digest(self.job.mixture.window_ids(step - 1)),
            "seconds": round(self.seconds_before + seconds, 3),
            "tokens_per_second": round(rate, 1),
            "mfu": round(mfu, 4),
        }
        self.log.append(record)
        track(record)
        if self.job.progress is not None:
            left = (self.num_steps - step) * plan.tokens_per_step / rate
            self.job.progress(TrainingProgress(step, self.num_steps, self.loss, update.learning_rate, rate, mfu, left))

    def evaluate_when_due(self, track: Callable[[dict[str, Any]], None]) -> None:
        """Log the numbers of `job.evaluate`, with the averaged weights where there are any."""
        evaluate, every = self.job.evaluate, self.config.evaluate_every_steps
        if evaluate is None or not is_evaluation_step(self.step, self.num_steps, every):
            return
        with evaluation_mode(self.model, self.average):
            record = {"step": self.step, "evaluation": evaluate(self.model)}
        if self.log is not None:
            self.log.append(record)
            track(record)

    def save_when_due(self, update: _Update, writer: CheckpointWriter) -> None:
        """Begin a checkpoint if it is time (TrainingInterrupted once it is written, if a signal asked to stop)."""
        is_last = self.step == self.num_steps
        is_stop = update.stop_asked and not is_last
        if not (is_stop or update.save_due or is_last):
            return
        if self.log is not None:
            self.log.sync()
        state = {
            "seconds": self.seconds,
            "loss": self.loss,
            "micro_batch": self.micro_batch,
            "num_ranks": self.world.size,
            "attention_kernel": self.model.attention_kernel,
        }
        writer.start(self.step, state)
        if is_stop:
            writer.wait()
            raise TrainingInterrupted(self.stop.received or 15, self.step)
        self.last_saved = time.perf_counter()

    def export(self) -> TrainSummary:
        """Write the model folder and the summary; every rank calls it."""
        seconds, weights = self.seconds, self.state.result(self.world)
        num_tokens = self.num_steps * self.plan.tokens_per_step
        summary = TrainSummary(
            final_loss=self.loss,
            num_steps=self.num_steps,
            num_tokens=num_tokens,
            seconds=round(seconds, 3),
            tokens_per_second=round(num_tokens / seconds, 1),
            flops=num_tokens * self.plan.flops_per_token,
            num_parameters=self.model.config.num_parameters,
            model_dir="model",
            attention_kernel=self.model.attention_kernel,
        )
        if self.world.is_first:
            files, origin = self.student.exported_files(self.job.tokenizer_files)
            export_hf(
                self.model,
                self.job.output_dir / summary.model_dir,
                tokenizer_files=files,
                weights=weights,
                origin=origin,
                bos_id=self.job.bos_id,
                eos_id=self.job.eos_id,
            )
            write_json_atomic(self.job.output_dir / "summary.json", asdict(summary))
        self.world.barrier()
        return summary


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
