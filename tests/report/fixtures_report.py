"""A whole made-up report: results, curves, samples with hostile text, accounting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from megadocs.analysis import analyze_experiment
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
