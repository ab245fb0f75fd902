"""Scoring in stages: one model or several averaged, on sets of documents.

    scorer = Scorer.open(context, context.inputs_of_kind("train"))
    scorer.losses(scorer.data("test", documents))       # windowed, then alone, under every average

A single model is scored under one average (itself), K members under both averages of every size 1..K.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from megadocs.documents import Document
from megadocs.evaluate.document_losses import (
    ScoreCollector,
    TargetLosses,
    collect_scores,
    iter_alone_losses,
    iter_window_losses,
)
from megadocs.evaluate.ensembles import EnsembleScores, Subsets, build_averages, losses_by_size
from megadocs.evaluate.evaluation_set import EvaluationSet, build_evaluation_set
from megadocs.evaluate.positions import PositionLosses, PositionTotals, past_only
from megadocs.evaluate.scores import DocumentScores, Mode
from megadocs.evaluate.scoring_model import ScoringModel, as_scoring_model
from megadocs.evaluate.target_losses import SINGLE, Average
from megadocs.evaluate.token_classes import ClassCollectors, TargetClasses
from megadocs.model import Llama, import_hf
from megadocs.pipeline.stages.stage import StageContext, Stopped
from megadocs.recipe import EvaluationSetConfig
from megadocs.store.artifact import Artifact
from megadocs.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class SetResults:
    """What an additional set gave."""

    scores: list[EnsembleScores]  # whole, parts and past positions, under every average
    positions: list[dict[str, Any]]  # the loss by position of every average, JSON-ready: [{average, members, ranges}]


@dataclass(frozen=True, slots=True)
class Scorer:
    """Members, how they are averaged, and how sets are cut into windows."""

    members: Sequence[ScoringModel]  # K models of one tokenizer
    averages: Sequence[Average]  # what is reported of them
    tokenizer: Tokenizer
    context_length: int  # tokens of a window
    stride: int | None = None  # new tokens per slide of a document past the context; None: half of it
    batch_size: int = 32  # windows per forward pass
    #: called after every batch with the set's name, the targets scored and all targets; may raise to stop.
    watch: Callable[[str, int, int], None] = lambda name, done, total: None
    #: the members were trained with attention that stays inside documents: so they are scored, and windowed across
    #: documents, too (mode `windowed_across`).
    boundary: bool = False

    @classmethod
    def open(cls, context: StageContext, trained: Sequence[Artifact]) -> Scorer:
        """Load the models of train artifacts as the step's configuration says."""
        config = context.config
        evaluate = config.get("evaluate", {})
        return cls(
            [load_trained(artifact) for artifact in trained],
            averages_of(len(trained), config.get("subsets", "prefixes")),
            load_tokenizer(str(context.inputs["tokenizer"].path)),
            config["context_length"],
            evaluate.get("stride"),
            evaluate.get("batch_size", 32),
            watcher(context),
            has_boundary(trained[0].record["config"]),
        )

    def data(self, name: str, documents: Sequence[Document]) -> EvaluationSet:
        """Documents as an evaluation set of the members' tokenizer."""
        return build_evaluation_set(name, list(documents), self.tokenizer)

    def losses(self, data: EvaluationSet, classes: TargetClasses | None = None) -> list[EnsembleScores]:
        """Windowed (where the set fills a window), then alone, then alone by class; one entry per average."""
        data = data.ordered()
        collector = self._collector(data)
        parts = self._class_collectors(data, classes)
        for batch in self._alone(data):
            collector.add(batch)
            for part in parts:
                part.add(batch)
        by_class = [scores for part in parts for scores in part.scores()]
        return [
            *self.windowed(data),
            *self._paired(collector.scores()),
            *(pair for scores in by_class for pair in self._paired(scores)),
        ]

    def windowed(self, data: EvaluationSet) -> list[EnsembleScores]:
        """Windowed as in training, and across documents where training kept inside; nothing for a set that fills no
        window."""
        data = data.ordered()
        if data.num_tokens < self.context_length:
            return []
        modes: list[tuple[Mode, bool]] = [("windowed", self.boundary)]
        if self.boundary:
            modes.append(("windowed_across", False))
        scores = []
        for mode, boundary in modes:
            batches = iter_window_losses(
                self.members,
                self.averages,
                data,
                context_length=self.context_length,
                batch_size=self.batch_size,
                boundary=boundary,
            )
            watched, dropped = self._watched(data, batches), data.num_tokens % self.context_length
            scores += self._paired(collect_scores(data, mode, watched, len(self.averages), num_dropped_tokens=dropped))
        return scores

    def additional_set(self, name: str, documents: Sequence[Document], config: EvaluationSetConfig) -> SetResults:
        """An additional set whole, its short and long documents separately, past positions, and by position.

        Each document alone goes through the models once, whatever is made of it.
        """
        data = self.data(name, documents).ordered()
        longest = max(len(row) for row in data.rows)
        past = {position: self._collector(data) for position in config.past if position < longest}
        whole, totals = self._collector(data), PositionTotals(len(self.averages))
        for batch in self._alone(data):
            whole.add(batch)
            totals.add(batch)
            for position, collector in past.items():
                collector.add(past_only(batch, position))
        alone = self._paired(whole.scores())
        scores = [*self.windowed(data), *alone]
        if config.short_below_tokens is not None:
            for part in data.short_and_long(config.short_below_tokens):
                scores += [*self.windowed(part), *_of_part(alone, part)] if part is not None else []
        for position, collector in past.items():
            scores += self._paired(collector.scores(name=f"{name}_past_{position}"))
        return SetResults(scores, [_curve(*pair) for pair in zip(self.averages, totals.curves(), strict=True)])

    def _collector(self, data: EvaluationSet) -> ScoreCollector:
        return ScoreCollector(data, "alone", len(self.averages), has_start=self.has_start)

    def _class_collectors(self, data: EvaluationSet, classes: TargetClasses | None) -> list[ClassCollectors]:
        if classes is None:
            return []
        return [ClassCollectors(data, classes, len(self.averages), has_start=self.has_start)]

    def _paired(self, scores: Sequence[DocumentScores]) -> list[EnsembleScores]:
        return [EnsembleScores(*pair) for pair in zip(self.averages, scores, strict=True)]

    @property
    def has_start(self) -> bool:
        """Whether a row's first token is scored alone, too: a start token stands before it."""
        return self._start_id is not None

    @property
    def _start_id(self) -> int | None:
        """What stands before a document whose rows bring no BOS."""
        return self.tokenizer.eos_id if self.tokenizer.separators_per_row == 1 else None

    def _alone(self, data: EvaluationSet) -> Iterator[TargetLosses]:
        batches = iter_alone_losses(
            self.members,
            self.averages,
            data,
            context_length=self.context_length,
            stride=self.stride,
            batch_size=self.batch_size,
            start_id=self._start_id,
            boundary=self.boundary,
        )
        return self._watched(data, batches)

    def _watched(self, data: EvaluationSet, batches: Iterator[TargetLosses]) -> Iterator[TargetLosses]:
        done = 0
        for batch in batches:
            done += len(batch.document)
            self.watch(data.name, done, data.num_tokens)
            yield batch


def watcher(context: StageContext) -> Callable[[str, int, int], None]:
    """Reports the progress of scoring to the step's runner, and stops when that asks for it."""

    def watch(name: str, done: int, total: int) -> None:
        if context.should_stop():
            raise Stopped
        context.report({"done": done, "total": total, "unit": "tokens", "note": name})

    return watch


def _of_part(results: Sequence[EnsembleScores], part: EvaluationSet) -> list[EnsembleScores]:
    """Scores of some of the documents, under the part's name."""
    wanted = set(part.document_ids)
    chosen = [i for i, name in enumerate(results[0].scores.document_ids) if name in wanted]
    return [
        EnsembleScores(
            result.average,
            DocumentScores(
                part.name,
                result.scores.mode,
                [result.scores.document_ids[i] for i in chosen],
                result.scores.num_tokens[chosen],
                result.scores.num_bytes[chosen],
                result.scores.sum_nll[chosen],
            ),
        )
        for result in results
    ]


def _curve(average: Average, curve: PositionLosses) -> dict[str, Any]:
    """The loss by position of one average, JSON-ready."""
    return {
        "average": average.kind,
        "members": list(average.members),
        "ranges": [
            {"from": low, "to": high, "num_tokens": count, "nats_per_token": json_number(mean)}
            for (low, high, mean), count in zip(curve.rows(), curve.num_tokens.tolist(), strict=True)
        ],
    }


def json_number(mean: float | None) -> float | str | None:
    """A mean for a record, whose JSON has no NaN: it is written as the word, never as nothing. `float` reads both."""
    return "NaN" if mean is not None and math.isnan(mean) else mean


def averages_of(num_members: int, subsets: Subsets = "prefixes") -> list[Average]:
    """A model on its own, or both averages of every size."""
    return [SINGLE] if num_members == 1 else build_averages(num_members, subsets)


def has_boundary(config: Mapping[str, Any]) -> bool:
    """Whether a train step's configuration keeps attention inside rows or documents."""
    return bool(config["stream"].get("attention_boundary", "none") != "none")


def load_trained(artifact: Artifact) -> ScoringModel:
    """The model of a train artifact, in the compute type it was trained in, on the device that the recipe allows."""
    network = load_network(artifact)
    return as_scoring_model(network, dtype=artifact.record["config"]["train"]["dtype"])


def load_network(artifact: Artifact) -> Llama:
    """The network of a train artifact, on CUDA where there is one and `train.device` does not say cpu."""
    train = artifact.record["config"]["train"]
    device = "cuda" if torch.cuda.is_available() and train["device"] != "cpu" else "cpu"
    network = import_hf(artifact.path / "model").to(device).eval()
    network.compute_dtype = torch.bfloat16 if train["dtype"] == "bfloat16" else torch.float32
    return network


def loss_summary(results: Sequence[EnsembleScores]) -> dict[str, Any]:
    """`<set> <mode>` -> counts and the losses by kind of average and size (one size, of one model, for a run)."""
    groups: dict[str, list[EnsembleScores]] = {}
    for result in results:
        groups.setdefault(f"{result.scores.set} {result.scores.mode}", []).append(result)
    return {
        name: {
            "nats_per_token": json_number(group[-1].scores.nats_per_token),
            "bits_per_byte": json_number(group[-1].scores.bits_per_byte),
            "num_tokens": int(group[0].scores.num_tokens.sum()),
            "num_dropped_tokens": group[0].scores.num_dropped_tokens,
            "num_documents": len(group[0].scores),
            "sizes": [
                {
                    "average": size.kind,
                    "num_members": size.num_members,
                    "num_subsets": size.num_subsets,
                    "nats_per_token": json_number(size.nats_per_token),
                    "standard_deviation": json_number(size.standard_deviation),
                }
                for size in losses_by_size(group)
            ],
        }
        for name, group in groups.items()
    }
