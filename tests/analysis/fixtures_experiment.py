"""A made-up experiment with known truth: documents of unequal difficulty, seed noise, interaction noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from megadocs.analysis import RunFacts, RunScores

#: True loss, real multiple, synthetic tokens, passes over the real stream.
QUICKSTART_ARMS: dict[str, tuple[float, int, int, float]] = {
    "real_only": (6.44, 1, 0, 8.0),
    "real_2x": (5.88, 2, 0, 8.0),
    "real_4x": (5.06, 4, 0, 8.0),
    "simple": (5.63, 1, 31_000, 8.0),
    "stitched": (5.64, 1, 31_000, 8.0),
    "latent_thoughts": (6.01, 1, 24_000, 8.0),
}


@dataclass(frozen=True)
class Experiment:
    scores: list[RunScores]
    runs: list[RunFacts]
    expected: list[tuple[str, int]]


def make_experiment(
    arms: dict[str, tuple[float, int, int, float]] | None = None,
    *,
    seeds: tuple[int, ...] = (0, 1),
    num_documents: int = 300,
    seed_sd: float = 0.01,
    interaction_sd: float = 0.05,
    sets: tuple[str, ...] = ("test", "validation"),
    random_seed: int = 0,
) -> Experiment:
    """Scores and facts of a whole experiment; sd in nats per token, of a run and of one document in one run."""
    arms = QUICKSTART_ARMS if arms is None else arms
    rng = np.random.default_rng(random_seed)
    seed_shift = {seed: rng.normal(0, seed_sd) for seed in seeds}
    run_shift = {(arm, seed): rng.normal(0, seed_sd) for arm in arms for seed in seeds}
    scores, runs = [], []
    for set_name in sets:
        tokens = rng.integers(150, 320, num_documents)
        difficulty = rng.normal(0, 0.35, num_documents)
        ids = tuple(f"{set_name}-{index:04d}" for index in range(num_documents))
        for mode, shift in (("windowed", 0.0), ("alone", 0.12)):
            for arm, (loss, *_) in arms.items():
                for seed in seeds:
                    noise = rng.normal(0, interaction_sd, num_documents)
                    level = loss + shift + difficulty + noise + seed_shift[seed] + run_shift[arm, seed]
                    scores.append(
                        RunScores(arm, seed, set_name, mode, ids, tokens, (tokens * 3.6).astype(int), level * tokens)
                    )
    for arm, (loss, multiple, synthetic, epochs) in arms.items():
        for seed in seeds:
            real = 13_204 * multiple
            steps = int(real * epochs * (4 if synthetic else 1) / 4096)
            runs.append(
                RunFacts(
                    arm,
                    seed,
                    real_documents=55 * multiple,
                    real_tokens=real,
                    synthetic_tokens=synthetic,
                    train_tokens=steps * 4096,
                    num_steps=steps,
                    real_epochs=epochs * 0.996,
                    synthetic_epochs=9.97 if synthetic else None,
                    planned_real_epochs=epochs,
                    planned_synthetic_epochs=10.0 if synthetic else None,
                    seconds=steps * 0.42,
                    num_parameters=1_328_256,
                    final_training_loss=loss - 2.0,
                    record=f"train/{len(arm):02d}{seed:018d}/record.json",
                    fingerprint=f"{len(arm):02d}{seed:018d}",
                    settings={"ordering": arm if synthetic else None, "weight_decay": 0.4 if synthetic else 0.8},
                )
            )
    return Experiment(scores, runs, [(arm, seed) for arm in arms for seed in seeds])


def make_paper_experiment() -> Experiment:
    """Arms of every kind the paper's figures show, for their plumbing."""
    from dataclasses import replace

    arms, settings = {}, {}
    base = {"learning_rate": 3e-3, "weight_decay": 0.4, "synthetic_fraction": "0.75"}
    for power, num in enumerate((2, 4, 8)):
        for method, gain in (("simple", 0.12), ("stitched", 0.15), ("latent_thoughts", 0.18)):
            name = f"{method}_g{num}"
            arms[name] = (5.6 - gain * (power + 1), 1, 30_000 * num, 8.0)
            settings[name] = {**base, "ordering": method, "num_generations": num, "real_document": "last"}
    for where, shift in (("first", 0.02), ("none", 0.04)):
        arms[f"stitched_{where}"] = (5.15 + shift, 1, 240_000, 8.0)
        settings[f"stitched_{where}"] = {**settings["stitched_g8"], "real_document": where}
    for epochs in (2.0, 4.0, 16.0):
        arms[f"simple_g8_e{epochs:g}"] = (5.24 + 0.05 * abs(epochs - 8) / 4, 1, 240_000, epochs)
        settings[f"simple_g8_e{epochs:g}"] = settings["simple_g8"]
    for members in (2, 3, 4):
        arms[f"real_ensemble_{members}"] = (5.7 + 0.7 / members, 1, 0, 8.0)
        settings[f"real_ensemble_{members}"] = {"num_members": members}
    real = {"real_only": (6.44, 1, 0, 8.0), "real_2x": (5.88, 2, 0, 8.0), "real_4x": (5.06, 4, 0, 8.0)}
    made = make_experiment({**real, **arms}, seeds=(0, 1, 2), num_documents=60)
    settings["real_only"] = {"num_members": 1, "attention_boundary": "none"}
    runs = [replace(run, settings=settings.get(run.arm, {})) for run in made.runs]
    return Experiment(made.scores, runs, made.expected)
