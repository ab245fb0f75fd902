"""A finished run as analysis and report want it: scores, facts, curve and token accounting, from its records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.analysis import RunFacts, RunScores, scores_of_run
from megadocs.errors import DamagedError, InputError
from megadocs.model import resolve_config
from megadocs.recipe import ModelConfig, TrainConfig
from megadocs.report import Curve, StreamAccount
from megadocs.store.artifact import RECORD, Artifact, Workspace
from megadocs.store.files import iter_json_lines

_NUM_CURVE_POINTS = 200
#: Of the recipe's `train`: what changes no result, and the epochs, which the facts hold as planned and as made.
_NOT_SETTINGS = {*TrainConfig.operational_fields(), "real_epochs", "synthetic_epochs"}
_ACCOUNTED = (
    "num_rows",
    "num_tokens",
    "num_windows",
    "num_dropped_tokens",
    "num_missing",
    "planned_epochs",
    "actual_epochs",
)
_STREAM_SETTINGS = ("ordering", "num_generations", "real_document", "attention_boundary")


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The artifacts of one arm and seed, read into the analysis' terms."""

    arm: str
    seed: int
    train: Artifact
    evaluate: Artifact

    def scores(self) -> list[RunScores]:
        """Per-document scores of every set and mode."""
        return list(scores_of_run(self.arm, self.seed, read_score_columns(self.evaluate)))

    def facts(self) -> RunFacts:
        """What the run saw and cost; `DamagedError` where its record lacks a part."""
        try:
            return self._facts()
        except KeyError as error:
            raise DamagedError(
                f"the record of a run lacks {error}",
                where=str(self.train.path / RECORD),
                remedy=f"delete {self.train.path} and run again: only this step is repeated",
            ) from error

    def _facts(self) -> RunFacts:
        summary, config = self.train.summary, self.train.record["config"]
        streams = {stream["name"]: stream for stream in summary["streams"]}
        real = streams.pop("real", None)
        synthetic = next(iter(streams.values()), None)
        return RunFacts(
            arm=self.arm,
            seed=self.seed,
            real_documents=summary["num_real_documents"],
            real_tokens=summary["num_real_tokens"],
            synthetic_tokens=sum(stream["num_tokens"] for stream in streams.values()),
            train_tokens=summary["num_tokens"],
            num_steps=summary["num_steps"],
            real_epochs=real["actual_epochs"] if real else None,
            planned_real_epochs=real["planned_epochs"] if real else None,
            synthetic_epochs=synthetic["actual_epochs"] if synthetic else None,
            planned_synthetic_epochs=synthetic["planned_epochs"] if synthetic else None,
            seconds=summary["training_seconds"],
            flops=summary["flops"],
            num_parameters=summary["num_parameters"],
            final_training_loss=summary["final_training_loss"],
            record=record_path(self.train),
            fingerprint=self.train.fingerprint,
            settings={
                **{name: value for name, value in config["train"].items() if name not in _NOT_SETTINGS},
                **{name: config["mixture"][name] for name in ("synthetic_fraction", "separate_real_stream")},
                **{name: config["stream"][name] for name in _STREAM_SETTINGS},
            },
            student=_student(config["model"]),
        )

    def curve(self) -> Curve:
        """Training losses, thinned to what a figure can show."""
        records = [r for r in iter_json_lines(self.train.path / "metrics.jsonl") if r.get("loss") is not None]
        records = records[:: max(1, len(records) // _NUM_CURVE_POINTS)]
        train = self.train.record["config"]["train"]
        return Curve(
            self.arm,
            self.seed,
            [record["step"] for record in records],
            [record["loss"] for record in records],
            tokens_per_step=train["batch_size"] * train["context_length"],
        )

    def streams(self) -> list[StreamAccount]:
        """Token accounting."""
        return [
            StreamAccount(
                arm=self.arm,
                stream=stream["name"],
                num_window_reads=stream["num_windows_trained"],
                record=record_path(self.train),
                **{name: stream[name] for name in _ACCOUNTED},
            )
            for stream in self.train.summary["streams"]
        ]


def _student(section: Mapping[str, Any]) -> dict[str, Any]:
    """The shape of the student, presets resolved; of a pretrained one where it comes from."""
    if section["init_from"] is not None:
        return {"init_from": section["init_from"]}
    shape = resolve_config(ModelConfig.model_validate(section), vocab_size=1, context_length=1)
    found = dataclasses.asdict(shape)
    return {name: value for name, value in found.items() if name in ModelConfig.model_fields}


def read_score_columns(artifact: Artifact) -> dict[str, list[Any]]:
    """The columns of an artifact's per-document scores; `DamagedError` where they are no Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = artifact.path / "scores.parquet"
    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except (OSError, pa.ArrowException) as error:
        raise DamagedError(
            "the scores cannot be read as Parquet",
            where=str(path),
            remedy=f"delete {artifact.path} and run again: only this step is repeated",
        ) from error
    return columns


def record_path(artifact: Artifact) -> str:
    """Relative to the top of the workspace, where the report is read."""
    return (Path(artifact.step) / artifact.fingerprint / RECORD).as_posix()


def open_run(directory: Path) -> FinishedRun:
    """The run of a `train/<fingerprint>` or `evaluate/<fingerprint>` directory of a workspace.

    Raises:
        InputError: no such artifact, or the run was not scored yet.
        DamagedError: its scores are not those of their record.
    """
    directory = directory.resolve()
    workspace, step = Workspace(directory.parent.parent), directory.parent.name
    known = {artifact.fingerprint: artifact for artifact in workspace.artifacts("train")}
    for evaluate in workspace.artifacts("evaluate"):
        train = known.get(evaluate.record["inputs"]["train"])
        if train is not None and directory.name in (train.fingerprint, evaluate.fingerprint):
            evaluate.check()
            seed = train.record["config"]["seed"]
            return FinishedRun(train.fingerprint[:8], seed, train, evaluate)
    what = "this run has no scores yet" if step == "train" else "no such run"
    raise InputError(what, where=str(directory), remedy="give <workspace>/train/<fingerprint> of an evaluated run")
