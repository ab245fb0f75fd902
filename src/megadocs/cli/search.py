"""`megadocs search`: tune a recipe's arms on its grid; print each certificate, what it cost, and the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megadocs.cli.arguments import RecipePath, RunOptions, default_workspace, takes_run_options
from megadocs.cli.console import count, duration, print_json, printable, say
from megadocs.cli.search_live import open_search_display, setting_text
from megadocs.errors import IncompleteError, MegadocsError

if TYPE_CHECKING:
    from pathlib import Path

    from megadocs.pipeline.execute.executor import PlannedSlots
    from megadocs.pipeline.price.gpu_hours import GpuPrice
    from megadocs.pipeline.tune.price import Cost, SearchPrice
    from megadocs.pipeline.tune.results import SearchOutcome
    from megadocs.recipe import Recipe

_ENDINGS = {
    "finished": "every arm has ended",
    "max_runs": "stopped at --max-runs; raise it to go on",
    "max_hours": "stopped at --max-hours; run the same command again to go on",
    "interrupted": "stopped; run the same command again to go on",
}


@takes_run_options()
def search(
    recipe: RecipePath,
    options: RunOptions,
    max_runs: Annotated[
        int | None, typer.Option(min=1, help="Trials over all arms, reused ones included.", show_default=False)
    ] = None,
    max_hours: Annotated[
        float | None, typer.Option(min=0.0, help="Start no new trials after so many hours.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the price and stop.")] = False,
) -> None:
    """Tune the arms of RECIPE on the grid of its section `search`; finished runs are reused, from any recipe.

    megadocs search recipes/quickstart_search.yaml --max-runs 80
    """
    from megadocs.pipeline.execute.executor import build_executor, planned_slots
    from megadocs.pipeline.steps.search_records import SEARCH_FILE
    from megadocs.pipeline.tune.driver import run_search
    from megadocs.recipe import load_recipe

    loaded = load_recipe(recipe, options.overrides or ())
    root = options.workspace or default_workspace(recipe)
    where = (options.executor, options.jobs, options.ray_address)
    runner = None
    if not dry_run:
        runner = build_executor(where[0], root, num_slots=options.jobs, ray_address=options.ray_address)
    try:
        slots = planned_slots(*where, runner)
        price = _say_price(loaded, root, slots, max_runs, allow_code=options.allow_code)
    except MegadocsError:
        if runner is not None:
            runner.close()
        raise
    if runner is None:
        if options.as_json:
            print_json(price)
        return
    with open_search_display() as watcher:
        outcome = run_search(
            loaded,
            root,
            max_runs=max_runs,
            max_hours=max_hours,
            watcher=watcher,
            allow_code=options.allow_code,
            executor=runner,
        )
    _print_outcome(outcome, price, as_json=options.as_json)
    say(f"{_ENDINGS[outcome.ending]}; {duration(outcome.seconds)}; {root / SEARCH_FILE}")
    if outcome.interrupted_by is not None:
        raise typer.Exit(128 + outcome.interrupted_by)
    if outcome.failures:
        raise typer.Exit(IncompleteError.exit_code)


def _say_price(
    recipe: Recipe, root: Path, slots: PlannedSlots, max_runs: int | None, *, allow_code: bool
) -> SearchPrice:
    """The price before anything starts, on standard error."""
    from megadocs.pipeline.tune.price import price_search

    price = price_search(recipe, root, num_slots=slots.number, max_runs=max_runs, allow_code=allow_code)
    for line in price_lines(price, where=slots.where):
        say(line)
    return price


def _print_outcome(outcome: SearchOutcome, price: SearchPrice, *, as_json: bool) -> None:
    """The result on standard output."""
    result = outcome.to_json()
    if as_json:
        print_json(result | {"price": price})
        return
    for line in result_lines(result):
        typer.echo(line)


def price_lines(price: SearchPrice, gpu: GpuPrice | None = None, *, where: str = "") -> Iterator[str]:
    """What a search may cost, for people; `where`: whose slots they are."""
    for arm, (fewest, num_declared, num_all) in price.arms.items():
        extended = f", {num_all} with extensions" if num_all > num_declared else ""
        yield f"search {arm}: a grid of {num_declared} settings{extended}; at least {fewest} runs"
    for arm, tokens in price.matched_tokens.items():
        yield f"matched compute: every run of {arm} trains on about {count(tokens)} tokens"
    yield f"at least {_cost_text(price.least, gpu)}"
    yield f"at most  {_cost_text(price.most, gpu)} (on {price.num_slots} slots{where})"


def _cost_text(cost: Cost, gpu: GpuPrice | None) -> str:
    on_gpu = f"; {gpu.text(cost.flops)}" if gpu is not None else ""
    return (
        f"{cost.num_runs} new runs, about {count(cost.num_tokens)} tokens, {cost.flops:.2g} FLOPs, "
        f"{duration(cost.seconds)}{on_gpu}"
    )


def result_lines(result: dict[str, Any]) -> Iterator[str]:
    """The content of `search.json` for people: certificate, neighbours, cost, failures of each arm."""
    for arm in result["arms"]:
        yield from _certificate_lines(arm)
        yield ""
    for name, reason in result["left_out"].items():
        yield f"arm {name} was left out: {reason}"
    use, num_wasted = result["utilisation"], sum(arm["cost"]["num_wasted"] for arm in result["arms"])
    yield (
        f"{use['busy_fraction']:.0%} of {use['num_slots']} slots busy for {duration(result['seconds'])}; "
        f"{num_wasted} runs begun ahead and not asked for"
    )


def _certificate_lines(arm: dict[str, Any]) -> Iterator[str]:
    certificate, cost = arm["certificate"], arm["cost"]
    yield f"{arm['arm']}: {claim(certificate)}"
    if certificate["loss"] is not None:
        matched = arm["matched_epochs"]
        epochs = "" if matched is None else f", real_epochs {matched:g} (matched compute)"
        yield f"  {setting_text(certificate['setting'])}{epochs}"
        seeds = f"mean of {certificate['num_seeds']} seeds" if certificate["num_seeds"] > 1 else "one seed"
        test = f", test {arm['test']['mean']:.4f}" if arm["test"] else ""
        yield f"  validation {certificate['loss']:.4f}{test} nats per token ({seeds})"
    for edge in certificate["edges"]:
        yield f"  on the edge: {edge}"
    if certificate["neighbours"]:
        yield f"  {'neighbour':19} {'':9} {'loss':>8}  {'margin':17} verdict (seeds)"
    for line in certificate["neighbours"]:
        yield f"  {_neighbour_text(line)}"
    if any(line["is_extended"] for line in certificate["neighbours"]):
        yield "  +: beyond the declared values"
    if certificate["noise_sd"] is not None:
        freedom = certificate["noise_freedom"]
        yield f"  noise between runs: sd {certificate['noise_sd']:.4f} ({freedom} degrees of freedom)"
    yield (
        f"  {cost['num_trials']} runs ({cost['num_new']} new) at {cost['num_settings']} settings of a grid of "
        f"{cost['num_grid_settings']}; {count(cost['num_tokens'])} tokens, {cost['flops']:.2g} FLOPs, "
        f"{duration(cost['training_seconds'])} of training"
    )
    for trial in arm["trials"]:
        for what, why in (("diverged", trial.get("diverged")), ("FAILED", trial["error"])):
            if why:
                yield f"  {what} {setting_text(trial['setting'])}, seed {trial['seed']}: {printable(why)}"


def claim(certificate: dict[str, Any]) -> str:
    """The certificate in one line."""
    match certificate["kind"]:
        case "incomplete":
            return "no certificate: a neighbour was not tried, failed, or is better"
        case "interior":
            place = "a local optimum inside the grid"
        case _:
            place = "the best of its neighbours, on the edge of the grid"
    if certificate["is_separated"]:
        proof = "every neighbour is worse"
    elif all(line["margin_error"] is None for line in certificate["neighbours"]):
        proof = "too few seeds to know the noise, so no neighbour is separated from it"
    else:
        proof = "some neighbours are not separated from it"
    num_diverged = sum(line["verdict"] == "diverged" for line in certificate["neighbours"])
    return f"{place}; {proof}" + (f" ({num_diverged} diverged)" if num_diverged else "")


def _neighbour_text(line: dict[str, Any]) -> str:
    name = line["axis"].rpartition(".")[2]
    if line["value"] is None:
        return f"{name:19} {'-':>9} none: the edge of the grid"
    value = f"{line['value']:g}{'+' if line['is_extended'] else ' '}"
    loss = f"{line['loss']:.4f}" if line["loss"] is not None else "-"
    margin = f"{line['margin']:+.4f}" if line["margin"] is not None else "-"
    error = f" ± {line['margin_error']:.4f}" if line["margin_error"] is not None else ""
    pairs = f" ({line['num_pairs']})" if line["num_pairs"] else ""
    return f"{name:19} {value:>9} {loss:>8}  {margin + error:17} {line['verdict']}{pairs}"
