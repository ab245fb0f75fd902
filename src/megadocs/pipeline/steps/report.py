"""The step that reports: which of an experiment's runs are there, and why the others are missing."""

from __future__ import annotations

from collections.abc import Mapping

from megadocs.pipeline.steps.evaluation import Scored
from megadocs.pipeline.steps.experiment import Experiment
from megadocs.pipeline.steps.rows import own_code_settings
from megadocs.pipeline.steps.search_records import read_searches
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import Recipe, fingerprint
from megadocs.store.artifact import Workspace


def report_step(recipe: Recipe, experiment: Experiment, workspace: Workspace, failures: Mapping[str, str]) -> Step:
    """Analyse and report the runs that there are.

    Args:
        failures: fingerprint -> why a step failed, for runs that are missing.
    """
    inputs: dict[str, Step] = {"corpus": experiment.corpus, "tokenizer": experiment.tokenizer}
    runs = []
    for index, run in enumerate(experiment.runs):
        needed = {f"train {index}": run.train, f"evaluate {index}": run.evaluate}
        needed |= {f"rows {index} {role}": step for role, step in run.train.inputs.items() if step.kind == "rows"}
        is_there = all(find_artifact(step, workspace) is not None for step in needed.values())
        if is_there:
            inputs |= needed
            inputs |= {
                f"generate {step.config['task']} {step.config['num_generations']}": step
                for rows in run.train.inputs.values()
                if rows.kind == "rows"
                for step in rows.inputs.values()
                if step.kind in ("generate", "sample")
            }
            inputs |= _published(scored_roles(str(index), run.scored), workspace)
        why = None if is_there else failures.get(run.train.fingerprint) or failures.get(run.evaluate.fingerprint)
        runs.append({"arm": run.arm.name, "seed": run.seed, "is_there": is_there, "why_missing": why})
    config = {
        "analysis": recipe.analysis.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "runs": runs,
        "left_out": dict(experiment.left_out),
    }
    if experiment.ensembles:
        for ensemble in experiment.ensembles:
            roles = {f"ensemble {ensemble.name}": ensemble.losses, **scored_roles(ensemble.name, ensemble.scored)}
            inputs |= _published(roles, workspace)
        config["ensembles"] = [{"name": e.name, "arm": e.arm, "seeds": list(e.seeds)} for e in experiment.ensembles]
    searches = read_searches(workspace.root)
    if searches:
        config["searches"] = fingerprint(searches)  # another search, another report
    codes = {name: digest for step in inputs.values() for name, digest in step.settings.get("code", {}).items()}
    return Step.of("report", "report", config, inputs, settings=own_code_settings(codes))


def scored_roles(owner: str, scored: Scored) -> dict[str, Step]:
    """Roles of a model's sets and benchmarks among the report's inputs; `owner` is a run's number or an ensemble."""
    sets = {f"set {owner} {name}": step for name, step in scored.sets.items()}
    gate = {f"gate {owner}": scored.gate} if scored.gate else {}
    return sets | {f"benchmark {owner} {task}": step for task, step in scored.benchmarks.items()} | gate


def _published(roles: Mapping[str, Step], workspace: Workspace) -> dict[str, Step]:
    return {role: step for role, step in roles.items() if find_artifact(step, workspace) is not None}
