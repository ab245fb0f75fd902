"""Statistics from per-document scores: paired differences, intervals, data efficiency. numpy and scipy, no torch."""

from megadocs.analysis.benchmarks import BenchmarkScore, benchmark_results
from megadocs.analysis.ensembles import EnsembleLoss, ensemble_results
from megadocs.analysis.experiment import analyze_experiment
from megadocs.analysis.gate import GateFacts, gain_row, gate_row, gate_sentences
from megadocs.analysis.generation_findings import truncation_sentences
from megadocs.analysis.ngram_floor import floor_sentences, headline_floor
from megadocs.analysis.positions import RunPositions, position_tables
from megadocs.analysis.results_json import dump_results, json_form, number_of, parse_results
from megadocs.analysis.search_findings import search_warnings
from megadocs.analysis.split_findings import near_duplicate_sentences
from megadocs.analysis.statement import answer_sentences
from megadocs.analysis.tables import RunFacts, RunScores, ScoreBlock, build_block, scores_of_run
from megadocs.analysis.tuning import tuning_sentences
from megadocs.analysis.world import world_tables

__all__ = [
    "BenchmarkScore",
    "EnsembleLoss",
    "GateFacts",
    "RunFacts",
    "RunPositions",
    "RunScores",
    "ScoreBlock",
    "analyze_experiment",
    "answer_sentences",
    "benchmark_results",
    "build_block",
    "dump_results",
    "ensemble_results",
    "floor_sentences",
    "gain_row",
    "gate_row",
    "gate_sentences",
    "headline_floor",
    "json_form",
    "near_duplicate_sentences",
    "number_of",
    "parse_results",
    "position_tables",
    "scores_of_run",
    "search_warnings",
    "truncation_sentences",
    "tuning_sentences",
    "world_tables",
]
