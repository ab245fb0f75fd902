"""One process of a probe: train and score for a few seconds as a step would, and say how fast it went.

Started as `python -m megadocs.pipeline.probe_worker`, with the threads that a step gets; one job (JSON) on standard
input, one answer on standard output. It trains on random tokens: the speed does not depend on them.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Steps at the start that are slower than the rest.
_WARM_UP_STEPS = 2


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
    """Seconds of starting, of a run beside its steps, of a step; of scoring, whole and per token."""
    import megadocs.train  # noqa: F401 - its import is part of what starting takes
    from megadocs.evaluate.scoring_model import as_scoring_model
    from megadocs.model import import_hf
    from megadocs.pipeline.scoring import Scorer, averages_of
    from megadocs.text.tokenizer import load_tokenizer

    started_seconds = time.time() - job["spawned_unix"]
    tokenizer = load_tokenizer(job["tokenizer"])
    begun = time.perf_counter()
    _train(job, folder / "whole", tokenizer.vocab_size, num_steps=_WARM_UP_STEPS, seconds=None)
    whole_seconds = time.perf_counter() - begun
    times = _train(job, folder / "rate", tokenizer.vocab_size, num_steps=1_000_000, seconds=job["train_seconds"])
    steady = times[_WARM_UP_STEPS:] if len(times) > _WARM_UP_STEPS + 1 else times
    step_seconds = (steady[-1] - steady[0]) / (len(steady) - 1) if len(steady) > 1 else whole_seconds / _WARM_UP_STEPS
    found = {
        "start_seconds": started_seconds,
        "step_seconds": step_seconds,
        "run_seconds": max(0.0, whole_seconds - _WARM_UP_STEPS * step_seconds),
    }
    scorer = Scorer(
        [as_scoring_model(import_hf(folder / "whole" / "model"), dtype=job["train"]["dtype"])],
        averages_of(1),
        tokenizer,
        job["train"]["context_length"],
        batch_size=job["evaluate_batch_size"],
    )
    return found | _score(scorer, job["texts"], seconds=job["score_seconds"])


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


def _score(scorer: Any, texts: Sequence[str], *, seconds: float) -> dict[str, float]:
    """Score twice as many documents each time until it takes long enough."""
    from megadocs.documents import Document

    documents = [Document(id=str(number), text=text) for number, text in enumerate(texts)]
    scorer.losses(scorer.data("probe", documents[:1]))
    number = 8
    while True:
        chosen = documents[:number]
        begun = time.perf_counter()
        data = scorer.data("probe", chosen)
        scorer.losses(data)
        taken = time.perf_counter() - begun
        if taken >= seconds / 2 or number >= len(documents):
            return {"score_seconds_per_token": taken / max(1, data.num_tokens)}
        number *= 2


def main() -> int:
    """Answer one job."""
    job = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(dir=job["folder"]) as folder:
        found = measure(job, Path(folder))
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
