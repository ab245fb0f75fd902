"""`megadocs run | corpus | rows`: a recipe from its documents to the report, or up to a stage.

`run_and_print` is shared with the verbs that stop at another stage: train, evaluate, report, generate run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megadocs.cli.arguments import RecipePath, RunOptions, default_workspace, takes_run_options
from megadocs.cli.console import duration, print_json, printable, say
from megadocs.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from megadocs.pipeline.run import ExperimentOutcome


@takes_run_options()
def run(
    recipe: RecipePath,
    options: RunOptions,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Run RECIPE to its report. Finished steps are reused; an interrupted run goes on where it stopped.

    megadocs run recipes/quickstart.yaml --workspace runs/quickstart
    """
    if dry_run:
        from megadocs.cli.plan import print_plan

        print_plan(recipe, options)
        return
    run_and_print(recipe, options, stage="report")


@takes_run_options("allow_code")
def corpus(recipe: RecipePath, options: RunOptions) -> None:
    """Read, cut and split the real documents of RECIPE.

    megadocs corpus recipes/quickstart.yaml --workspace runs/quickstart
    """
    run_and_print(recipe, options, stage="corpus")


@takes_run_options()
def rows(recipe: RecipePath, options: RunOptions) -> None:
    """Tokenise everything that the arms of RECIPE use, once.

    megadocs rows recipes/quickstart.yaml --workspace runs/quickstart
    """
    run_and_print(recipe, options, stage="rows")


def run_and_print(
    recipe_path: Path, options: RunOptions, *, stage: str, arm: str | None = None, seed: int | None = None
) -> None:
    """Run to `stage`, say what came out, and exit with the code that fits.

    Raises:
        MegadocsError: a step failed; the others were run as far as they could be.
    """
    from megadocs.cli.progress import show_progress
    from megadocs.cli.search_live import PlainDisplay
    from megadocs.pipeline.execute.executor import build_executor
    from megadocs.pipeline.run import missing_generations, raise_failure, run_experiment
    from megadocs.pipeline.stages.torchrun import is_rank
    from megadocs.recipe import load_recipe, select_runs

    started = time.monotonic()
    if is_rank():
        raise UsageError(
            "this process is one of several ranks; they share one training run and nothing else",
            where="WORLD_SIZE",
            remedy="run it without torchrun, or `torchrun ... -m megadocs train RECIPE --arm ARM --seed SEED`",
        )
    root = options.workspace or default_workspace(recipe_path)
    whole = load_recipe(recipe_path, options.overrides or ())
    if whole.tune != "off" and (arm is not None or seed is not None):
        raise UsageError(
            "the recipe tunes its arms together before any is trained, and one arm or seed was asked for",
            where="tune",
            remedy=f"give the tuned recipe that `megadocs run` leaves, {root}/recipes/{whole.name}.json, or tune=off",
        )
    recipe = select_runs(whole, arm=arm, seed=seed)
    outcome = run_experiment(
        recipe,
        root,
        stage=stage,
        show=show_progress,
        allow_code=options.allow_code,
        executor=build_executor(options.executor, root, num_slots=options.jobs, ray_address=options.ray_address),
        watcher=PlainDisplay() if recipe.tune != "off" else None,
    )
    results = _tell(outcome, root, time.monotonic() - started)
    if outcome.interrupted_by:
        say("stopped; run the same command again to go on")
        raise typer.Exit(128 + outcome.interrupted_by)
    missing = missing_generations(outcome, root)
    results["num_missing_generations"] = sum(accounting.missing for accounting in missing.values())
    if options.as_json and not outcome.errors:
        print_json(results)
    for name, accounting in missing.items():
        say(f"{name}: {accounting.missing_text()}")
        for sentence in accounting.remedies():
            say(f"  {sentence}")
    raise_failure(outcome)
    if missing:
        raise typer.Exit(IncompleteError.exit_code)


def _tell(outcome: ExperimentOutcome, root: Path, seconds: float) -> dict[str, Any]:
    """Print what was done, what was left out and the answer; the same as a JSON value."""
    from megadocs.cli.search import claim
    from megadocs.cli.search_live import setting_text
    from megadocs.pipeline.run import corpus_losses
    from megadocs.store.files import read_json

    states = [state for part in outcome.outcomes for state in part.states]
    num_done = sum(state.status == "done" for state in states)
    num_reused = sum(state.status == "reused" for state in states)
    say(f"{num_done} steps done, {num_reused} reused, in {duration(seconds)}; workspace {root}")
    for note in outcome.notes:
        say(note)
    if outcome.tuning is not None:
        for arm in outcome.tuning.to_json()["arms"]:
            say(f"tuned {arm['arm']}: {setting_text(arm['certificate']['setting'])}; {claim(arm['certificate'])}")
    for line in corpus_losses(outcome, root):
        say(f"corpus: {printable(line)}")
    left_out = dict(outcome.experiment.left_out) if outcome.experiment else {}
    for name, reason in left_out.items():
        say(f"arm {name} was left out: {reason}")
    results: dict[str, Any] = {
        "workspace": str(root),
        "seconds": round(seconds, 1),
        "num_steps_done": num_done,
        "num_steps_reused": num_reused,
        "steps": [{"name": s.step.name, "status": s.status, "fingerprint": s.step.fingerprint} for s in states],
        "left_out": left_out,
    }
    if outcome.report is not None and not outcome.interrupted_by:
        results["results"] = read_json(outcome.report.path / "results.json")
        for line in [*results["results"]["answer"], *results["results"]["warnings"]]:
            say(line)
        say(f"report: {root / 'report.html'}")
    return results
