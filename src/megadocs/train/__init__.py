"""Training runs: one loop, AdamW, warm-up and cosine, atomic checkpoints, resume to the bit."""

from megadocs.train.loop import Mixture, TrainingJob, TrainingProgress, TrainSummary, run_training

__all__ = ["Mixture", "TrainSummary", "TrainingJob", "TrainingProgress", "run_training"]
