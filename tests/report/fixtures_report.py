"""A whole made-up report: results, curves, samples with hostile text, accounting."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np

from megadocs.analysis import (
    BenchmarkScore,
    EnsembleLoss,
    RunPositions,
    analyze_experiment,
    benchmark_results,
    ensemble_results,
    position_tables,
)
from megadocs.recipe import AnalysisConfig
from megadocs.report import Curve, Generated, GenerationAccount, ReportInputs, Sample, StepRecord, StreamAccount

from ..analysis import fixtures_experiment as experiment

_DOCUMENT = (
    "To the Congress of the United States: The year just past has been one of steady growth in the trade of the "
    "country, and the receipts of the Treasury have exceeded the estimates. It is the part of prudence to apply the "
    "surplus to the reduction of the public debt.\n\nThe condition of the rural mails deserves the attention of the "
    "Congress. In districts where free delivery has been tried the letters carried have nearly doubled, and the "
    "complaint that the service cannot pay its way is not borne out by the accounts of the last three years."
)
_REPHRASE = (
    "The annual message reports growing foreign trade and Treasury receipts above the previous year's estimates. It "
    "recommends applying the surplus to the public debt. Turning to rural mail, it notes that free delivery nearly "
    "doubled the number of letters carried in the districts where it was introduced, and that the service has "
    "covered its costs."
)
_THOUGHT = (
    "Receipts above the estimate leave a surplus, and a surplus can lower taxes or retire debt. Retiring debt lowers "
    "the interest paid each year, so a cautious administration prefers it while trade is good."
)


def make_inputs(fixture: Any = None, results: dict[str, Any] | None = None) -> ReportInputs:
    fixture = fixture or experiment.make_experiment()
    results = results or analyze_experiment(
        fixture.scores, fixture.runs, AnalysisConfig(), name="quickstart", expected=fixture.expected
    )
    rng = np.random.default_rng(1)
    curves = []
    for run in fixture.runs:
        steps = list(range(10, (run.num_steps or 0) + 1, 4))
        last = run.final_training_loss or 4.0
        losses = [last + (7.6 - last) * math.exp(-3.2 * s / (run.num_steps or 1)) + rng.normal(0, 0.03) for s in steps]
        curves.append(Curve(run.arm, run.seed, steps, losses, 4096.0))
    samples = [
        Sample(
            f"sotu-1907-{index}",
            _DOCUMENT,
            [
                Generated("rephrase", 0, _REPHRASE, num_tokens=71),
                Generated(
                    "rephrase", 1, _REPHRASE[::1] + " <script>alert(1)</script>", flags=("truncated",), num_tokens=160
                ),
                Generated("thought", 0, _THOUGHT, split_character=196, num_tokens=52),
                Generated("thought", 1, _THOUGHT, split_character=410, num_tokens=52),
            ],
        )
        for index in range(3)
    ]
    samples[1] = Sample(
        "evil\u202e<b>id</b>\x07", "Text with \x1b[31mcontrol\x1b[0m, \u200bzero width and \u202ereversed.", []
    )
    streams = []
    for arm, (_, multiple, synthetic, epochs) in experiment.QUICKSTART_ARMS.items():
        streams.append(
            StreamAccount(arm, "real", 55 * multiple, 13_204 * multiple, 51 * multiple, 148, 0, epochs, epochs, 51)
        )
        if synthetic:
            streams.append(
                StreamAccount(arm, arm, 165, synthetic, synthetic // 256, synthetic % 256, 2, 10, 9.97, 1224)
            )
    steps = [StepRecord("corpus", "sotu 1900-", "3f" * 10, "corpus/" + "3f" * 10 + "/record.json", 2.1)]
    steps += [
        StepRecord("train", f"{r.arm}, seed {r.seed}", r.fingerprint or "", r.record, r.seconds) for r in fixture.runs
    ]
    return ReportInputs(
        results=results,
        description="State of the Union addresses since 1900; SmolLM2-135M-Instruct writes two rephrases and two "
        "latent thoughts per document; six arms of a 1.3M-parameter Llama.",
        curves=curves,
        samples=samples,
        corpus={
            "documents read": 8421,
            "training documents (1x)": 55,
            "validation documents": 300,
            "test documents": 300,
        },
        streams=streams,
        generations=[
            GenerationAccount("rephrase", 110, 109, 0, 1, 0, 0, 31, 31_022, 13_880, 301.4),
            GenerationAccount("thought", 110, 110, 0, 0, 0, 0, 58, 44_310, 9_120, 402.0),
        ],
        steps=steps,
        recipe_yaml="name: quickstart\ncorpus:\n  source: sotu://1900-\n"
        "  split: {train: 55, validation: 300, test: 300}\n",
        environment={"megadocs": "0.1.0", "python": "3.11.9", "torch": "2.13.0+cpu", "cpu": "2 cores"},
    )


def make_complete_inputs() -> ReportInputs:
    """A page with every section: the paper's arms, ensembles, benchmarks, searches and the audit."""
    fixture = experiment.make_paper_experiment()
    results = analyze_experiment(
        fixture.scores, fixture.runs, AnalysisConfig(num_bootstrap=200), name="paper", expected=fixture.expected
    )
    return make_inputs(fixture, complete(results))


def with_more_sets(inputs: ReportInputs, number: int) -> ReportInputs:
    """The same page with so many more sets, each scored in every run: a column each in the table of runs."""
    results = copy.deepcopy(dict(inputs.results))
    model = results["sets"][-1]
    names = [f"speeches_past_{128 << place}" for place in range(number)]
    results["sets"] += [{**model, "set": name} for name in names]
    for run in results["runs"]:
        run["losses"] += [{**run["losses"][-1], "set": name, "mode": model["mode"]} for name in names]
    return dataclasses.replace(inputs, results=results)


def with_long_names(inputs: ReportInputs) -> ReportInputs:
    """The same page of arms whose names have the 80 letters that a recipe allows, every other one a single word."""
    arms = [row["arm"] for row in inputs.results["arms"]]
    ends = ("_and_all_of_its_settings_written_out_in_full_because_people_run_many_of_them_here", "_" + "B" * 80)
    long = {arm: f"{arm}{ends[place % 2]}"[:79] + arm[-1] for place, arm in enumerate(arms)}

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            return long.get(value, value)
        if isinstance(value, dict):
            return {renamed(key): renamed(below) for key, below in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(map(renamed, value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return dataclasses.replace(
                value, **{f.name: renamed(getattr(value, f.name)) for f in dataclasses.fields(value)}
            )
        return value

    found: ReportInputs = renamed(inputs)
    return found


def complete(results: dict[str, Any]) -> dict[str, Any]:
    """The results with what the pipeline adds to the analysis, in round numbers."""
    losses = [
        EnsembleLoss(
            f"{arm}_x4", arm, "test", "windowed", average, size, 1, end + 0.4 / size + shift, None, "e/record.json"
        )
        for arm, end in (("real_only", 6.0), ("simple_g8", 5.5))
        for average, shift in (("logits", 0.0), ("probabilities", 0.01))
        for size in (1, 2, 3, 4)
    ]
    scores = [
        BenchmarkScore(row["arm"], seed, task, accuracy + 0.01 * seed + 0.002 * number, 100, 0.25, 0.5, "b/record.json")
        for number, row in enumerate(results["arms"])
        for seed in row["seeds"]
        for task, accuracy in (("piqa", 0.55), ("sciq", 0.60), ("arc_easy", 0.35))
    ]
    neighbour = {"axis": "train.weight_decay", "value": 1.6, "is_extended": True, "verdict": "worse"}
    neighbour |= {"loss": 6.5, "margin": 0.06, "margin_error": 0.01, "num_pairs": 2}
    edge = {**neighbour, "verdict": None, "value": None, "loss": None, "margin": None, "margin_error": None}
    certificate = {
        "kind": "edge",
        "setting": {"train.weight_decay": 0.8},
        "loss": 6.44,
        "num_seeds": 2,
        "is_separated": True,
        "edges": ["train.weight_decay: 0.4"],
        "neighbours": [neighbour, edge],
        "num_trials": 9,
        "num_failed": 1,
    }
    trial = {"setting": {"train.weight_decay": 0.8}, "seed": 0, "loss": 6.43, "test_loss": 6.51, "num_tokens": 400_000}
    search = {
        "search": "tuning",
        "arm": "real_only",
        "ending": "max_runs",
        "axes": {"train.weight_decay": [0.8, 1.6]},
        "seeds": [0, 1],
        "certificate": certificate,
        "test": {"mean": 6.512, "by_seed": {"0": 6.51, "1": 6.514}},
        "cost": {"num_settings": 3, "num_grid_settings": 12, "num_tokens": 3_600_000, "flops": 2.9e13},
        "trials": [
            {**trial, "fingerprint": "ab" * 10, "error": None},
            {**trial, "loss": None, "test_loss": None, "fingerprint": None, "error": "not a number <b>"},
        ],
    }
    share = {"real": 0.0125, "synthetic": 0.002, "synthetic_only": 0.0005}
    overlap = {"num_documents": 300, "num_ngrams": 40_000, "ngram_share": share}
    overlap |= {"documents_touched": {"real": 12, "synthetic": 3, "synthetic_only": 1}}
    spread = {"count": 110, "mean": 0.25, "p5": 0.05, "p50": 0.2, "p95": 0.75}
    lengths = {"count": 110, "mean": 126.4, "p5": 40.0, "p50": 130.0, "p95": 160.0}
    task = {
        "num_texts": 110,
        "status": {"failed": 1, "ok": 109},
        "finish_reason": {"length": 33, "stop": 77},
        "flags": {"truncated": 33},
        "errors": {"timeout": 1},
        "new_tokens": lengths,
        "characters": lengths,
        "source_copy": spread | {"share_above_0.8": 0.02},
        "sibling_overlap": spread,
        "other_language_share": 0.01,
        "top_openings": [{"opening": "The President <i>said</i>", "share": 0.12}],
    }
    audit = {"ngram": 13, "overlap": {"validation": overlap, "test": overlap}, "tasks": {"rephrase": task}}
    return {
        **results,
        **ensemble_results(losses, ("test", "windowed"), 0.95),
        "benchmarks": benchmark_results(scores, [row["arm"] for row in results["arms"]]),
        "positions": position_tables(_positions(results), results["baseline"]),
        "searches": [search],
        "audit": audit,
    }


def _positions(results: dict[str, Any]) -> list[RunPositions]:
    """Ranges of positions of one long set; past 100 is the set `test` once more, past 9,000 there is nothing."""
    edges, counts = (0, 1, 32, 64, 128, 256), (0, 10, 30, 60, 100, 80)
    runs = []
    for number, row in enumerate(results["arms"]):
        for seed in row["seeds"]:
            shift = 0.01 * seed - 0.02 * number
            losses = [None, 8.0 + shift, 6.0 + shift, 5.5 + shift, 5.0 + shift, "NaN" if number == 3 else 4.5 + shift]
            ranges = [
                {"from": low, "to": high, "num_tokens": count, "nats_per_token": loss}
                for low, high, count, loss in zip(edges, (*edges[1:], None), counts, losses, strict=True)
            ]
            past = {100: "test", 9000: "long_past_9000"}
            record = f"extra_set/{row['arm']}{seed}/record.json"
            runs.append(RunPositions(row["arm"], seed, "speeches", ranges, 128, past, record))
    return runs
