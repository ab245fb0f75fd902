"""Continued scoring: any Hugging Face model, or several averaged, on a recipe's sets or on sets of one's own.

    members = load_members(["runs/q/train/ab12/model", "runs/q/train/cd34/model"])
    scoring = ContinuedScoring(members, context_length=256, cache=ScoreCache(workspace / "score_cache"))
    scoring.score_sets(sets_of_recipe(recipe, workspace))
    scoring.score_benchmarks([find_benchmark("piqa")])

Each model brings its own tokenizer. Losses per token of two tokenizers do not compare; bits per byte do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from megadocs.corpus import iter_documents
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.score import BenchmarkScores, score_benchmark
from megadocs.evaluate.benchmarks.tasks import Benchmark
from megadocs.evaluate.cache import ScoreCache, benchmark_key, documents_key
from megadocs.evaluate.ensembles import EnsembleScores, Subsets
from megadocs.evaluate.load_model import LoadedModel, check_one_tokenizer, load_model
from megadocs.evaluate.scoring_model import Dtype
from megadocs.pipeline.generation import open_corpus
from megadocs.pipeline.stages.extra_set import read_extra_set
from megadocs.pipeline.stages.scorer import Scorer, averages_of, loss_summary
from megadocs.pipeline.steps.evaluation import corpus_config
from megadocs.recipe import CorpusConfig, EvaluationSetConfig, Recipe
from megadocs.store.artifact import Workspace

#: Window where neither the command nor a recipe says.
_DEFAULT_CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class ScoringSet:
    """Documents to be scored, how they are divided, and how many records of their source were left out, by reason."""

    documents: Sequence[Document]
    config: EvaluationSetConfig
    left_out: Mapping[str, int] = field(default_factory=dict)

    def describe_left_out(self) -> str:
        """`3 records were left out (invalid_utf8 2, empty 1)`."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(self.left_out.items()))
        return f"{sum(self.left_out.values())} records were left out ({reasons})"


def load_members(sources: Sequence[str], *, dtype: Dtype | None = None, device: str = "cpu") -> list[LoadedModel]:
    """Load the models of an ensemble (or one).

    Raises:
        InputError: a model is not there, or the members have different tokenizers.
    """
    members = [load_model(source, dtype=dtype, device=device) for source in sources]
    check_one_tokenizer(members)
    return members


def sets_of_recipe(recipe: Recipe, workspace: Workspace) -> dict[str, ScoringSet]:
    """Validation, test and the additional sets of a recipe; its corpus from the workspace, or made in memory."""
    corpus = open_corpus(recipe, workspace)
    plain = EvaluationSetConfig()
    sets = {"validation": ScoringSet(corpus.validation, plain), "test": ScoringSet(corpus.test, plain)}
    for name, entry in recipe.evaluate.sets.items():
        documents, _ = read_extra_set(name, entry, corpus_config(entry, recipe), corpus)
        sets[name] = ScoringSet(documents, entry)
    return sets


def set_of_source(name: str, source: str) -> ScoringSet:
    """A set of its own: a file, folder, glob or `hf://` name, read like `corpus.source`, every text once."""
    stream = iter_documents(CorpusConfig(source=source))
    distinct = {document.text: document for document in stream}
    found = ScoringSet(list(distinct.values()), EvaluationSetConfig(source=source), dict(stream.intake.rejected))
    if not distinct:
        why = f": {found.describe_left_out()}" if found.left_out else ""
        raise InputError(
            f"the set is empty{why}", where=f"--set {name}={source}", remedy="name a source with documents"
        )
    return found


class ContinuedScoring:
    """One model or one ensemble, to be scored on sets and benchmarks.

    Args:
        members: loaded alike, of one tokenizer.
        context_length: tokens of a window; None: what the models were trained in; for models from elsewhere 1,024, or
            what they take if that is less.
        stride: new tokens per slide past the context; None: half of it.
        subsets: of several members, which are averaged at each size.
        cache: where results are kept; None: nowhere.
    """

    def __init__(
        self,
        members: Sequence[LoadedModel],
        *,
        context_length: int | None = None,
        stride: int | None = None,
        batch_size: int = 8,
        subsets: Subsets = "prefixes",
        cache: ScoreCache | None = None,
    ) -> None:
        models = [member.model for member in members]
        trained_in = {member.context_length for member in members}
        own = trained_in.pop() if len(trained_in) == 1 else None
        limit = min((model.max_context for model in models if model.max_context is not None), default=_DEFAULT_CONTEXT)
        self._members, self._cache, self._subsets = members, cache, subsets
        self._notes: list[str] = []
        self.scorer = Scorer(
            models,
            averages_of(len(models), subsets),
            members[0].tokenizer,
            context_length or own or min(limit, _DEFAULT_CONTEXT),
            stride,
            batch_size,
            boundary=members[0].boundary,
        )

    def score_sets(self, sets: Mapping[str, ScoringSet]) -> list[EnsembleScores]:
        """Losses of every set, in both modes, under every average."""
        self._notes += [f"{name}: {entry.describe_left_out()}" for name, entry in sets.items() if entry.left_out]
        results = [result for name, entry in sets.items() for result in self._score_set(name, entry)]
        self._note_worse_than_even(results)
        return results

    def score_benchmarks(self, benchmarks: Sequence[Benchmark]) -> list[BenchmarkScores]:
        """Every benchmark under every average."""
        first = self._members[0]
        results = []
        for benchmark in benchmarks:

            def compute(benchmark: Benchmark = benchmark) -> list[BenchmarkScores]:
                return score_benchmark(
                    self.scorer.members,
                    self.scorer.averages,
                    first.tokenizer,
                    benchmark,
                    add_bos=first.begins_with_bos,
                )

            key = benchmark_key(self._identities(), benchmark, add_bos=first.begins_with_bos, subsets=self._subsets)
            results += compute() if self._cache is None else self._cache.benchmarks(key, compute)
        return results

    def to_json(self, losses: Sequence[EnsembleScores], benchmarks: Sequence[BenchmarkScores]) -> dict[str, Any]:
        """The results as JSON values, with the models they belong to, and notes on what is odd about them."""
        return {
            "models": [
                {"source": member.source, **member.identity(), "begins_with_bos": member.begins_with_bos}
                for member in self._members
            ],
            "context_length": self.scorer.context_length,
            "losses": loss_summary(losses),
            "benchmarks": [result.summary() for result in benchmarks],
            "notes": list(self._notes),
        }

    def _note_worse_than_even(self, results: Sequence[EnsembleScores]) -> None:
        """A model that gives every token the same chance loses ln V: one that loses more probably reads other ids."""
        for result in results:
            members, loss = result.average.members, result.scores.nats_per_token
            member = self._members[members[0]]
            even = math.log(member.model.vocab_size)
            if len(members) == 1 and result.average.kind == "logits" and loss > even:
                self._notes.append(
                    f"{member.source}, {result.scores.set} {result.scores.mode}: {loss:.2f} nats per token are more "
                    f"than even chances cost (ln {member.model.vocab_size} = {even:.2f}): the tokenizer in its folder "
                    "may not be the one it was trained with, or it is not trained"
                )

    def _score_set(self, name: str, entry: ScoringSet) -> list[EnsembleScores]:
        def compute() -> list[EnsembleScores]:
            return self.scorer.additional_set(name, entry.documents, entry.config).scores

        if self._cache is None:
            return compute()
        settings = {
            "context_length": self.scorer.context_length,
            "stride": self.scorer.stride,
            "past": entry.config.past,
            "short_below_tokens": entry.config.short_below_tokens,
            "subsets": self._subsets,
        }
        data = self.scorer.data(name, entry.documents)
        return self._cache.documents(documents_key(self._identities(), data, "both", **settings), compute)

    def _identities(self) -> list[dict[str, str]]:
        return [member.identity() for member in self._members]
