"""The analysis of one experiment: scores and run facts in, one `results` dictionary out.

    results = analyze_experiment(scores, runs, AnalysisConfig(), name="quickstart", expected=[("real_only", 0), ...])
    write_bytes_atomic(path, dump_results(results))

Every set and mode that was scored gets the same treatment; the headline is one of them (by default the test documents,
windowed as in training). Missing runs are named, never filled in; NaN stays NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from megadocs.analysis.efficiency import (
    RealCurve,
    measured_multiple,
    multiple_interval,
    seed_noise_draws,
)
from megadocs.analysis.laws import law_efficiency, law_rows, law_series
from megadocs.analysis.paired import Difference, PairedLosses, SeedNoise, holm, paired_difference, pooled_seed_noise
from megadocs.analysis.power import same_arm_check, seeds_needed
from megadocs.analysis.resample import bootstrap_losses, percentile_interval, unit_index
from megadocs.analysis.results_json import SCHEMA, SCHEMA_VERSION, json_form
from megadocs.analysis.run_tables import arm_facts, missing_runs, more_tokens, not_numbers, run_rows
from megadocs.analysis.statement import answer_sentences
from megadocs.analysis.tables import FloatArray, RunFacts, RunScores, ScoreBlock, build_block
from megadocs.errors import AnalysisError
from megadocs.recipe import AnalysisConfig
from megadocs.seeding import derive_seed

COVERS_LOSS = "documents: the bootstrap over documents, the measured seeds held fixed"
COVERS_BOTH = {
    "loss": COVERS_LOSS,
    "difference": "documents and seeds: bootstrap variance over documents plus variance over seeds, Student's t",
    "data_efficiency": "documents and seeds: document draws with seed noise on the arm and on the real-only curve",
}
COVERS_DOCUMENTS = {
    "loss": COVERS_LOSS,
    "difference": "documents only: seed noise was not measured",
    "data_efficiency": "documents only: seed noise was not measured",
}

#: Up to this many synthetic arms, every pair is compared; past it, each with the best: n * (n - 1) / 2 tests with their
#: Holm correction would separate nothing and fill the page.
MAX_ARMS_IN_PAIRS = 12

#: Differences in nats for which the results say how many seeds would separate them (documents held fixed, power 0.8).
SMALL_DIFFERENCES = (0.003, 0.01, 0.03)


@dataclass(frozen=True, slots=True)
class _Setting:
    config: AnalysisConfig
    facts: Mapping[tuple[str, int], RunFacts]
    arms: Sequence[str]
    curve: Sequence[str]
    groups: Mapping[str, str] | None
    validation: Mapping[str, float]


def analyze_experiment(
    scores: Iterable[RunScores],
    runs: Sequence[RunFacts],
    config: AnalysisConfig,
    *,
    name: str = "experiment",
    expected: Sequence[tuple[str, int]] = (),
    curve_arms: Sequence[str] | None = None,
    groups: Mapping[str, str] | None = None,
    headline: tuple[str, str] = ("test", "windowed"),
) -> dict[str, Any]:
    """Analyse one experiment.

    Args:
        scores: every run's scores (`scores_of_run`).
        runs: one `RunFacts` per finished run.
        config: confidence, resamples, seed, baseline.
        name: the experiment's name.
        expected: every (arm, seed) the recipe asks for, in its order; gives the arms' order and names what is missing.
        curve_arms: arms of the real-only curve; by default all without synthetic tokens, one per number of real tokens.
        groups: document id -> source; whole sources are resampled. None: documents are.
        headline: set and mode of the answer; where it was not scored, the first that was.

    Returns:
        The results (schema in `results_json`), JSON values only.

    Raises:
        AnalysisError: no scores, no facts for a scored run, or an unknown curve arm.
    """
    tables = list(scores)
    facts = {(run.arm, run.seed): run for run in runs}
    keys = sorted({(table.set_name, table.mode) for table in tables}, key=lambda key: (key != headline, key))
    if not keys:
        raise AnalysisError("there are no scores to analyse", remedy="finish at least one run and evaluate it")
    unknown = sorted({(table.arm, table.seed) for table in tables} - set(facts))
    if unknown:
        raise AnalysisError(
            f"no run facts for {unknown[0][0]}, seed {unknown[0][1]}", remedy="pass one RunFacts per run"
        )
    arms = list(dict.fromkeys([arm for arm, _ in expected] + [run.arm for run in runs]))
    curve, warnings = _curve_arms(arms, runs, config.baseline, curve_arms)
    blocks = [build_block(tables, *key) for key in keys]
    validation = next((b for b in blocks if (b.set_name, b.mode) == ("validation", keys[0][1])), blocks[0])
    setting = _Setting(config, facts, arms, curve, groups, _arm_means(validation))
    sets = [_analyze_block(block, setting, block is blocks[0]) for block in blocks]
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "confidence": config.confidence,
        "num_bootstrap": config.num_bootstrap,
        "bootstrap_seed": config.seed,
        "baseline": config.baseline,
        "headline": {"set": keys[0][0], "mode": keys[0][1]},
        "covers": COVERS_DOCUMENTS if sets[0]["seed_sd"] is None else COVERS_BOTH,
        "arms": [arm_facts(arm, runs) for arm in arms],
        "runs": run_rows(sorted(runs, key=lambda run: (arms.index(run.arm), run.seed)), blocks),
        "missing": missing_runs(expected, facts, blocks),
        "more_tokens": more_tokens(arms, runs, config.baseline),
        "sets": sets,
        "warnings": warnings + _headline_warning(keys[0], headline) + not_numbers(blocks),
    }
    plain: dict[str, Any] = json_form(results)
    plain["answer"] = answer_sentences(plain)
    return plain


def _analyze_block(block: ScoreBlock, setting: _Setting, is_headline: bool) -> dict[str, Any]:
    config = setting.config
    draws = bootstrap_losses(block, config.num_bootstrap, config.seed, setting.groups)
    num_units = unit_index(block, setting.groups)[1]
    table = PairedLosses(block.runs, block.losses(), draws, num_units)
    noise = pooled_seed_noise(table.runs, table.losses)
    arms = [arm for arm in setting.arms if table.arm_runs(arm)]
    synthetic = [arm for arm in arms if _mean_fact(setting, arm, "synthetic_tokens") > 0]
    others = [arm for arm in arms if arm != config.baseline] if config.baseline in arms else []
    pairs = _pairs(synthetic, table)
    row = {
        "set": block.set_name,
        "mode": block.mode,
        "num_documents": len(block.document_ids),
        "num_tokens": int(block.num_tokens.sum()),
        "num_bytes": int(block.num_bytes.sum()),
        "resampled": "documents" if setting.groups is None else "sources",
        "num_resampled": num_units,
        "seed_sd": None if noise.variance is None else math.sqrt(noise.variance),
        "seed_degrees": noise.degrees,
        "losses": [_loss_row(arm, table, block.bits_per_byte(), config.confidence) for arm in arms],
        "differences": _compare([(arm, config.baseline) for arm in others], table, noise, config.confidence),
        "pairs_of": "all" if len(synthetic) <= MAX_ARMS_IN_PAIRS else "best",
        "pairs": _compare(pairs, table, noise, config.confidence),
        **_efficiency(table, noise, setting, arms),
    }
    return row if not is_headline else {**row, **_laws(table, setting, arms), **_noise(table, noise, config)}


def _arm_means(block: ScoreBlock) -> dict[str, float]:
    losses = block.losses()
    rows: dict[str, list[float]] = {}
    for (arm, _), loss in zip(block.runs, losses, strict=True):
        rows.setdefault(arm, []).append(float(loss))
    return {arm: float(np.mean(values)) for arm, values in rows.items()}


def _pairs(synthetic: Sequence[str], table: PairedLosses) -> list[tuple[str, str]]:
    """Which synthetic arms are compared: all pairs of a few, each with the best of many."""
    if len(synthetic) <= MAX_ARMS_IN_PAIRS:
        return [(first, second) for index, first in enumerate(synthetic) for second in synthetic[index + 1 :]]
    means = {arm: float(table.losses[list(table.arm_runs(arm).values())].mean()) for arm in synthetic}
    best = min((arm for arm in synthetic if math.isfinite(means[arm])), key=means.__getitem__, default=synthetic[0])
    return [(arm, best) for arm in synthetic if arm != best]


def _loss_row(arm: str, table: PairedLosses, bits: FloatArray, confidence: float) -> dict[str, Any]:
    runs = table.arm_runs(arm)
    rows = [runs[seed] for seed in sorted(runs)]
    losses = table.losses[rows]
    return {
        "arm": arm,
        "loss": float(losses.mean()),
        "interval": percentile_interval(table.draws[:, rows].mean(axis=1), confidence),
        "bits_per_byte": float(bits[rows].mean()),
        "num_seeds": len(rows),
        "seeds": [{"seed": seed, "loss": float(table.losses[runs[seed]])} for seed in sorted(runs)],
        "seed_sd": float(np.std(losses, ddof=1)) if len(rows) > 1 else None,
    }


def _compare(
    pairs: Sequence[tuple[str, str]], table: PairedLosses, noise: SeedNoise, confidence: float
) -> list[Difference]:
    found = [paired_difference(table, first, second, noise, confidence) for first, second in pairs]
    differences = [difference for difference in found if difference is not None]
    adjusted = holm([difference.p_value for difference in differences])
    return [
        replace(
            difference,
            p_holm=p_holm,
            verdict="separated" if p_holm is not None and p_holm < 1 - confidence else "not separated",
        )
        for difference, p_holm in zip(differences, adjusted, strict=True)
    ]


def _efficiency(table: PairedLosses, noise: SeedNoise, setting: _Setting, arms: Sequence[str]) -> dict[str, Any]:
    names = [arm for arm in setting.curve if arm in arms]
    rows = {arm: sorted(table.arm_runs(arm).values()) for arm in arms}
    means = {arm: float(table.losses[rows[arm]].mean()) for arm in arms}
    tokens = {arm: _mean_fact(setting, arm, "real_tokens") for arm in names}
    points = [{"arm": arm, "real_tokens": tokens[arm], "loss": means[arm]} for arm in names]
    if setting.config.baseline not in names or len(names) < 2:
        reason = "needs the baseline and at least one real-only arm with more documents"
        return {"curve": points, "data_efficiency": [], "no_data_efficiency": reason}
    curve = RealCurve(
        tuple(names),
        np.asarray([tokens[arm] for arm in names]),
        np.asarray([means[arm] for arm in names]),
        names.index(setting.config.baseline),
    )
    if not curve.is_falling():
        reason = "the measured real-only loss does not fall with every increase of real documents"
        if not np.all(np.isfinite(curve.losses)):
            reason = f"the loss of {names[int(np.argmin(np.isfinite(curve.losses)))]}, on that curve, is not a number"
        return {"curve": points, "data_efficiency": [], "no_data_efficiency": reason}
    seed = derive_seed(setting.config.seed, "seed noise")
    shifts = seed_noise_draws(noise, [len(rows[arm]) for arm in arms], len(table.draws), seed)
    draws = {arm: table.draws[:, rows[arm]].mean(axis=1) + shifts[:, index] for index, arm in enumerate(arms)}
    curve_draws = np.stack([draws[arm] for arm in names], axis=1)
    efficiency = []
    for arm in [arm for arm in arms if arm not in names]:
        low, high = multiple_interval(draws[arm], curve_draws, curve, setting.config.confidence)
        estimate = measured_multiple(means[arm], curve)
        low, high = (low, high) if estimate is not None else (None, None)
        efficiency.append({"arm": arm, "estimate": estimate, "lower": low, "upper": high})
    return {"curve": points, "data_efficiency": efficiency, "no_data_efficiency": None}


def _laws(table: PairedLosses, setting: _Setting, arms: Sequence[str]) -> dict[str, Any]:
    losses = {run: float(loss) for run, loss in zip(table.runs, table.losses, strict=True)}
    series = law_series(losses, setting.facts, setting.curve, setting.validation, setting.config.baseline)
    confidence = setting.config.confidence
    synthetic = {arm: [losses[arm, seed] for seed in table.arm_runs(arm)] for arm in arms if arm not in setting.curve}
    base = _mean_fact(setting, setting.config.baseline, "real_tokens")
    return {
        "laws": law_rows(series, confidence),
        "data_efficiency_by_law": law_efficiency(series, base, synthetic, confidence),
    }


def _noise(table: PairedLosses, noise: SeedNoise, config: AnalysisConfig) -> dict[str, Any]:
    """The baseline compared with itself, and the seeds that small differences would need at this noise."""
    baseline = table.losses[list(table.arm_runs(config.baseline).values())]
    check = same_arm_check(baseline, config.confidence) if np.isfinite(baseline).sum() > 1 else None
    if not noise.variance:
        return {"same_arm": check, "seeds_needed": []}
    sd, level = math.sqrt(noise.variance), config.confidence
    rows = [{"difference": d, "num_seeds": seeds_needed(d, sd, confidence=level)} for d in SMALL_DIFFERENCES]
    return {"same_arm": check, "seeds_needed": rows}


def _curve_arms(
    arms: Sequence[str], runs: Sequence[RunFacts], baseline: str, chosen: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    tokens = {arm: [run.real_tokens for run in runs if run.arm == arm] for arm in arms}
    if chosen is not None:
        unknown = [arm for arm in chosen if arm not in tokens]
        if unknown:
            raise AnalysisError(f"no arm {unknown[0]!r} for the real-only curve", remedy=f"arms: {', '.join(arms)}")
        names = [arm for arm in chosen if tokens[arm]]
        return sorted(names, key=lambda arm: tokens[arm][0]), []
    real = [arm for arm in arms if tokens[arm] and all(run.synthetic_tokens == 0 for run in runs if run.arm == arm)]
    kept: dict[int, str] = {}
    others = []
    for arm in sorted(real, key=lambda arm: (arm != baseline, arms.index(arm))):
        if tokens[arm][0] in kept:
            others.append(arm)
        else:
            kept[tokens[arm][0]] = arm
    shown = ", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
    warnings = [f"not on the real-only curve, which has an arm with as many real tokens: {shown}"] if others else []
    return [kept[num] for num in sorted(kept)], warnings


def _mean_fact(setting: _Setting, arm: str, field: str) -> float:
    values = [getattr(run, field) for (name, _), run in setting.facts.items() if name == arm]
    return float(np.mean(values)) if values else 0.0


def _headline_warning(used: tuple[str, str], wanted: tuple[str, str]) -> list[str]:
    if used == wanted:
        return []
    return [f"{wanted[0]}/{wanted[1]} was not scored: the headline is {used[0]}/{used[1]}"]
