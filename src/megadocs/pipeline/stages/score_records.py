"""Scores beside a run's own, as the analysis wants them: additional sets, benchmarks, ensembles, from their artifacts.

Roles are those of `experiment.report_step`: `set <owner> <name>`, `benchmark <owner> <task>` with a run's number or an
ensemble's name as the owner, and `ensemble <name>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from megadocs.analysis import BenchmarkScore, EnsembleLoss, RunPositions, RunScores, scores_of_run
from megadocs.pipeline.stages.run_records import read_score_columns, record_path
from megadocs.store.artifact import Artifact
from megadocs.store.files import read_json


def extra_scores(arm: str, seed: int, owner: str, inputs: Mapping[str, Artifact]) -> list[RunScores]:
    """Per-document scores of a run on the recipe's additional sets."""
    found: list[RunScores] = []
    for artifact in _owned("set", owner, inputs).values():
        found += scores_of_run(arm, seed, read_score_columns(artifact))
    return found


def extra_positions(name: str, seed: int | None, owner: str, inputs: Mapping[str, Artifact]) -> list[RunPositions]:
    """Loss by position of a run on the recipe's additional sets, or of a whole ensemble by its averaged logits."""
    found = []
    for artifact in _owned("set", owner, inputs).values():
        config = artifact.record["config"]
        curves = [row for row in read_json(artifact.path / "positions.json") if row["average"] == "logits"]
        found.append(
            RunPositions(
                name,
                seed,
                config["name"],
                max(curves, key=lambda row: len(row["members"]))["ranges"],
                config["context_length"],
                {position: f"{config['name']}_past_{position}" for position in config["set"]["past"]},
                record_path(artifact),
            )
        )
    return found


def benchmark_scores(name: str, seed: int | None, owner: str, inputs: Mapping[str, Artifact]) -> list[BenchmarkScore]:
    """Accuracies of a run, or of a whole ensemble by its averaged logits."""
    scores = []
    for artifact in _owned("benchmark", owner, inputs).values():
        results = [row for row in artifact.summary["results"] if row["average"]["kind"] == "logits"]
        row = max(results, key=lambda row: len(row["average"]["members"]))
        if row.get("acc") is None:  # likelihoods that are not numbers, or a task without accuracies: in its record only
            continue
        scores.append(
            BenchmarkScore(
                arm=name,
                seed=seed,
                task=row["task"],
                accuracy=row["acc"],
                num_items=row["num_items"],
                chance=artifact.summary["chance"],
                accuracy_normalised=row.get("acc_norm"),
                num_truncated=row.get("num_truncated", 0),
                record=record_path(artifact),
            )
        )
    return scores


def ensemble_losses(ensembles: Sequence[Mapping[str, Any]], inputs: Mapping[str, Artifact]) -> list[EnsembleLoss]:
    """Losses of every ensemble that was scored, at every size, on every set.

    Args:
        ensembles: name and arm of each, as the report step's configuration lists them.
    """
    losses = []
    for entry in ensembles:
        name = entry["name"]
        artifacts = [inputs[f"ensemble {name}"]] if f"ensemble {name}" in inputs else []
        for artifact in [*artifacts, *_owned("set", name, inputs).values()]:
            losses += list(_ensemble_rows(entry, artifact))
    return losses


def _ensemble_rows(entry: Mapping[str, Any], artifact: Artifact) -> Iterator[EnsembleLoss]:
    for key, found in artifact.summary["losses"].items():
        set_name, _, mode = key.rpartition(" ")
        for size in found["sizes"]:
            yield EnsembleLoss(
                ensemble=entry["name"],
                arm=entry["arm"],
                set=set_name,
                mode=mode,
                average=size["average"],
                num_members=size["num_members"],
                num_subsets=size["num_subsets"],
                loss=float(size["nats_per_token"]),
                standard_deviation=None if size["standard_deviation"] is None else float(size["standard_deviation"]),
                record=record_path(artifact),
            )


def _owned(kind: str, owner: str, inputs: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Role -> artifact of one owner's sets or benchmarks."""
    start = f"{kind} {owner} "
    return {role: inputs[role] for role in sorted(inputs) if role.startswith(start)}
