"""The analysis of one experiment: scores and run facts in, one `results` dictionary out.

    results = analyze_experiment(scores, runs, AnalysisConfig(), name="quickstart", expected=[("real_only", 0), ...])
    write_bytes_atomic(path, dump_results(results))

Every set and mode that was scored gets the same treatment; the headline is one of them (by default the test documents,
windowed as in training). Missing runs are named, never filled in; NaN stays NaN.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from megadocs.analysis.arm_settings import other_students
from megadocs.analysis.control_gate import control_rows, null_texts, strongest_control
from megadocs.analysis.document_noise import DocumentNoise, document_noise
from megadocs.analysis.laws import law_efficiency, law_rows, law_series
from megadocs.analysis.paired import Difference, PairedLosses, holm, loss_interval, paired_difference
from megadocs.analysis.power import same_arm_check, seeds_needed
from megadocs.analysis.results_json import SCHEMA, SCHEMA_VERSION, json_form
from megadocs.analysis.run_tables import arm_facts, missing_runs, more_tokens, not_numbers, run_rows
from megadocs.analysis.seed_noise import SeedNoise, seed_noise
from megadocs.analysis.statement import answer_sentences
from megadocs.analysis.tables import FloatArray, RunFacts, RunScores, ScoreBlock, build_block
from megadocs.analysis.worth import draws_taken, worth_rows
from megadocs.errors import AnalysisError
from megadocs.kinds import orderings_of_role
from megadocs.recipe import AnalysisConfig

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
    other_students: Collection[str]


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
        config: confidence, draws, margin, seed, baseline.
        expected: every (arm, seed) the recipe asks for, in its order; gives the arms' order and names what is missing.
        curve_arms: arms of the real-only curve; by default all without synthetic tokens, one per number of real tokens.
        groups: document id -> source, in the corpus' order; whole sources are left out. None: documents are.
        headline: set and mode of the answer; where it was not scored, the first that was.

    Returns:
        The results (schema in `results_json`), JSON values only.

    Raises:
        AnalysisError: no scores, no facts for a scored run, or an unknown curve arm.
    """
    tables = list(scores)
    facts = {(run.arm, run.seed): run for run in runs}
    keys = _scored_keys(tables, facts, headline)
    arms = list(dict.fromkeys([arm for arm, _ in expected] + [run.arm for run in runs]))
    facts_of_arms = [arm_facts(arm, runs) for arm in arms]
    others = other_students(facts_of_arms, config.baseline)
    comparable = [run for run in runs if run.arm not in others]
    curve, warnings = _curve_arms(arms, comparable, config.baseline, curve_arms)
    blocks = [build_block(tables, *key) for key in keys]
    validation = next((b for b in blocks if (b.set_name, b.mode) == ("validation", keys[0][1])), blocks[0])
    setting = _Setting(config, facts, arms, curve, groups, _arm_means(validation), others)
    sets = [_analyze_block(block, setting, block is blocks[0]) for block in blocks]
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "name": name,
        **_method_facts(config),
        "headline": {"set": keys[0][0], "mode": keys[0][1]},
        "covers": _covers(sets[0]),
        "arms": facts_of_arms,
        "other_students": others,
        "runs": run_rows(sorted(runs, key=lambda run: (arms.index(run.arm), run.seed)), blocks),
        "missing": missing_runs(expected, facts, blocks),
        "more_tokens": more_tokens(arms, runs, config.baseline),
        "sets": sets,
        "warnings": warnings + _headline_warning(keys[0], headline) + not_numbers(blocks),
    }
    plain: dict[str, Any] = json_form(results)
    plain["answer"] = answer_sentences(plain)
    return plain


def _scored_keys(
    tables: Sequence[RunScores], facts: Collection[tuple[str, int]], headline: tuple[str, str]
) -> list[tuple[str, str]]:
    """Set and mode of everything that was scored, the headline first."""
    keys = sorted({(table.set_name, table.mode) for table in tables}, key=lambda key: (key != headline, key))
    if not keys:
        raise AnalysisError("there are no scores to analyse", remedy="finish at least one run and evaluate it")
    unknown = sorted({(table.arm, table.seed) for table in tables}.difference(facts))
    if unknown:
        raise AnalysisError(
            f"no run facts for {unknown[0][0]}, seed {unknown[0][1]}", remedy="pass one RunFacts per run"
        )
    return keys


def _method_facts(config: AnalysisConfig) -> dict[str, Any]:
    """What the intervals and verdicts of the results were computed with."""
    return {
        "confidence": config.confidence,
        "num_bootstrap": draws_taken(config),
        "bootstrap_seed": config.seed,
        "equivalence_margin": config.equivalence_margin,
        "baseline": config.baseline,
    }


def _covers(block: Mapping[str, Any]) -> dict[str, str]:
    """What each interval of the headline covers."""
    documents = {
        "documents": "new documents",
        "sources": "new documents (whole sources left out)",
        "blocks": "other parts of the same sources, not other documents",
    }[block["resampled"]]
    seeds = "; seed noise was not measured" if block["seed_sd"] is None else " and new seeds"
    return dict.fromkeys(("loss", "difference", "data_efficiency"), documents + seeds)


def _analyze_block(block: ScoreBlock, setting: _Setting, is_headline: bool) -> dict[str, Any]:
    config = setting.config
    losses, documents = block.losses(), document_noise(block, setting.groups)
    present = {arm for arm, _ in block.runs}
    arms = [arm for arm in setting.arms if arm in present]
    synthetic = [arm for arm in arms if _mean_fact(setting, arm, "synthetic_tokens") > 0]
    classes = {arm: "synthetic" if arm in synthetic else "real" for arm in arms}
    noise = seed_noise(block.runs, losses, classes, pool=config.seed_variance == "pooled")
    table = PairedLosses(block.runs, losses, documents, noise)
    others = [arm for arm in arms if arm != config.baseline] if config.baseline in arms else []
    tokens = {arm: _mean_fact(setting, arm, "real_tokens") for arm in setting.curve}
    comparable = [arm for arm in synthetic if arm not in setting.other_students]
    methods, controls = _methods_and_controls(comparable, setting)
    row = {
        "set": block.set_name,
        "mode": block.mode,
        "num_documents": len(block.document_ids),
        "num_tokens": int(block.num_tokens.sum()),
        "num_bytes": int(block.num_bytes.sum()),
        **_unit_facts(documents),
        "seed_sd": None if noise.pooled.variance is None else math.sqrt(noise.pooled.variance),
        "seed_degrees": noise.pooled.degrees,
        "seed_pooling": sorted(set(noise.methods.values())),
        "p_equal_noise": noise.p_equal,
        "losses": [_loss_row(arm, table, block.bits_per_byte(), config.confidence) for arm in arms],
        "differences": _compare([(arm, config.baseline) for arm in others], table, config),
        "pairs_of": "all" if len(comparable) <= MAX_ARMS_IN_PAIRS else "best",
        "pairs": _compare(_pairs(comparable, table), table, config),
        **worth_rows(table, tokens, block.set_name, config, setting.other_students),
        "null_controls": controls,
        "strongest_control": strongest_control(table, controls),
        "controls": control_rows(table, methods, controls, config) if controls else [],
    }
    return row if not is_headline else {**row, **_laws(table, setting, arms), **_noise(table, noise.pooled, config)}


def _methods_and_controls(synthetic: Sequence[str], setting: _Setting) -> tuple[list[str], list[str]]:
    """The synthetic arms that are methods, and those that are null controls."""
    ordering = {arm: run.settings.get("ordering") for (arm, _), run in setting.facts.items()}
    all_controls = {spec.name for spec in orderings_of_role("control")}
    null = null_texts()
    methods = [arm for arm in synthetic if ordering[arm] not in all_controls]
    return methods, [arm for arm in synthetic if ordering[arm] in null]


def _unit_facts(documents: DocumentNoise) -> dict[str, Any]:
    """What intervals over documents rest on."""
    return {
        "resampled": documents.kind,
        "num_resampled": documents.num_units,
        "num_sources": documents.num_sources,
        "document_degrees": documents.degrees,
    }


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
        "interval": loss_interval(table, arm, confidence),
        "bits_per_byte": float(bits[rows].mean()),
        "num_seeds": len(rows),
        "seeds": [{"seed": seed, "loss": float(table.losses[runs[seed]])} for seed in sorted(runs)],
        "seed_sd": float(np.std(losses, ddof=1)) if len(rows) > 1 else None,
    }


def _compare(pairs: Sequence[tuple[str, str]], table: PairedLosses, config: AnalysisConfig) -> list[Difference]:
    margin, level = config.equivalence_margin, 1 - config.confidence
    found = [paired_difference(table, first, second, config.confidence, margin) for first, second in pairs]
    differences = [difference for difference in found if difference is not None]
    separated = holm([difference.p_value for difference in differences])
    equivalent = holm([difference.p_equivalent for difference in differences])
    return [
        replace(
            difference,
            p_holm=p_holm,
            verdict="separated" if p_holm is not None and p_holm < level else "not separated",
            is_equivalent=p_same is not None and p_same < level,
        )
        for difference, p_holm, p_same in zip(differences, separated, equivalent, strict=True)
    ]


def _laws(table: PairedLosses, setting: _Setting, arms: Sequence[str]) -> dict[str, Any]:
    losses = {run: float(loss) for run, loss in zip(table.runs, table.losses, strict=True)}
    series = law_series(losses, setting.facts, setting.curve, setting.validation, setting.config.baseline)
    confidence = setting.config.confidence
    others = [arm for arm in arms if arm not in setting.curve and arm not in setting.other_students]
    synthetic = {arm: [losses[arm, seed] for seed in table.arm_runs(arm)] for arm in others}
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
