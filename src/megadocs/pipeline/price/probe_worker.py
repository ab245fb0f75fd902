"""One process of a probe: train and score for a few seconds as a step would, and say how fast it went.

Started as `python -m megadocs.pipeline.price.probe_worker`, with the threads that a step gets; one job (JSON) on
standard input, one answer on standard output. It trains on random tokens: the speed does not depend on them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: Steps at the start that are slower than the rest.
_WARM_UP_STEPS = 2
_NUM_PUBLISHED = 3
_LIGHT_STAGES = ("corpus", "tokenizer", "generate", "rows")


class _TimeIsUp(Exception):
    """Enough was seen."""


class _RandomWindows:
    """A mixture of random windows."""

    def __init__(self, num_steps: int, batch_size: int, context_length: int, vocab_size: int) -> None:
        self.num_steps = num_steps
        self._shape = (batch_size, context_length)
        self._tokens = np.random.default_rng(0).integers(0, vocab_size, (8, *self._shape), dtype=np.int32)

    def window_ids(self, step: int) -> list[tuple[str, int, int]]:
        """Numbers in a row."""
        return [("random", step, window) for window in range(self._shape[0])]

    def read_batch(self, step: int) -> tuple[np.ndarray, None]:
        """(batch_size, context_length) tokens."""
        return self._tokens[step % len(self._tokens)], None


def measure(job: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Seconds of starting, publishing, of a run beside its steps, of a step; of scoring, whole and per token."""
    import megadocs.pipeline.execute.worker  # what a worker imports before its first step, and with its first ones

    for stage in _LIGHT_STAGES:
        importlib.import_module(f"megadocs.pipeline.stages.{stage}")
    process_seconds = time.time() - job["spawned_unix"]
    begun = time.perf_counter()
    import megadocs.pipeline.stages.train
    import megadocs.train  # noqa: F401
    from megadocs.text.tokenizer import load_tokenizer

    torch_seconds = time.perf_counter() - begun
    vocab_size = load_tokenizer(job["tokenizer"]).vocab_size
    whole = []
    for number in range(2):  # the first one of a process makes what later ones find
        begun = time.perf_counter()
        load_tokenizer(job["tokenizer"])
        _train(job, folder / f"run {number}", vocab_size, num_steps=_WARM_UP_STEPS, seconds=None)
        whole.append(time.perf_counter() - begun)
    times = _train(job, folder / "rate", vocab_size, num_steps=1_000_000, seconds=job["train_seconds"])
    steady = times[_WARM_UP_STEPS:] if len(times) > _WARM_UP_STEPS + 1 else times
    step_seconds = (steady[-1] - steady[0]) / (len(steady) - 1) if len(steady) > 1 else whole[1] / _WARM_UP_STEPS
    scoring = _score(job, folder)
    return {
        "process_seconds": process_seconds,
        "torch_seconds": torch_seconds + max(0.0, whole[0] - whole[1]) + scoring.pop("first_seconds"),
        "publish_seconds": _publish(folder),
        "step_seconds": step_seconds,
        "run_seconds": max(0.0, whole[1] - _WARM_UP_STEPS * step_seconds),
        **scoring,
    }


def _publish(folder: Path) -> float:
    """An artifact that holds next to nothing."""
    from megadocs.store.artifact import Workspace

    workspace = Workspace(folder / "workspace")
    begun = time.perf_counter()
    for number in range(_NUM_PUBLISHED):
        with workspace.build("probe", str(number), config={}, inputs={}) as build:
            (build.path / "content").write_bytes(bytes(1000))
    return (time.perf_counter() - begun) / _NUM_PUBLISHED


def _train(
    job: Mapping[str, Any], folder: Path, vocab_size: int, *, num_steps: int, seconds: float | None
) -> list[float]:
    """Train for so many steps or seconds; when each step was over."""
    from megadocs.recipe import ModelConfig, TrainConfig
    from megadocs.train import TrainingProgress, run_training

    config = TrainConfig.model_validate(job["train"] | {"log_every_steps": 1})
    mixture = _RandomWindows(num_steps, config.batch_size, config.context_length, vocab_size)
    times: list[float] = []

    def progress(_: TrainingProgress) -> None:
        times.append(time.perf_counter())
        if seconds is not None and times[-1] - times[0] >= seconds:
            raise _TimeIsUp

    with contextlib.suppress(_TimeIsUp):
        run_training(
            recipe_model=ModelConfig.model_validate(job["model"]),
            config=config,
            mixture=mixture,
            read_batch=mixture.read_batch,
            vocab_size=vocab_size,
            seed=0,
            output_dir=folder,
            progress=progress,
        )
    return times


def _score(job: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Score one document twice, for what is paid once and for what each time, then more and more for the rate."""
    from megadocs.documents import Document
    from megadocs.evaluate.scores import write_scores
    from megadocs.evaluate.scoring_model import as_scoring_model
    from megadocs.model import import_hf
    from megadocs.pipeline.stages.scorer import Scorer, averages_of
    from megadocs.text.tokenizer import load_tokenizer

    documents = [Document(id=str(number), text=text) for number, text in enumerate(job["texts"])]

    def score(number: int) -> tuple[float, int]:
        begun = time.perf_counter()
        scorer = Scorer(
            [as_scoring_model(import_hf(folder / "run 1" / "model"), dtype=job["train"]["dtype"])],
            averages_of(1),
            load_tokenizer(job["tokenizer"]),
            job["train"]["context_length"],
            batch_size=job["evaluate_batch_size"],
        )
        data = scorer.data("probe", documents[:number])
        write_scores(folder / "scores.parquet", [result.scores for result in scorer.losses(data)])
        return time.perf_counter() - begun, data.num_tokens

    first, (again, few) = score(1)[0], score(1)
    number = min(8, len(documents))
    while True:
        taken, num_tokens = score(number)
        if taken - again >= job["score_seconds"] / 2 or number >= len(documents):
            break
        number = min(2 * number, len(documents))
    per_token = max(0.0, taken - again) / (num_tokens - few) if num_tokens > few else again / max(1, few)
    return {
        "first_seconds": max(0.0, first - again),
        "score_seconds": max(0.0, again - few * per_token),
        "score_seconds_per_token": per_token,
    }


def main() -> int:
    """Answer one job."""
    job = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        found = measure(job, Path(folder))
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
