"""Training runs: one loop, AdamW, warm-up and cosine, atomic checkpoints, resume to the bit.

Names are loaded when first used: the driver of a run asks for trackers, and importing torch would cost it two seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from megadocs.train.job import Mixture, TrainingJob, TrainingProgress, TrainSummary
    from megadocs.train.loop import run_training

__all__ = ["Mixture", "TrainSummary", "TrainingJob", "TrainingProgress", "run_training"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "loop" if name == "run_training" else "job"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
