"""`megadocs plan`: the steps of a recipe with counts and expected time; nothing is started or written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megadocs.cli.arguments import RecipePath, RunOptions, default_workspace, takes_run_options
from megadocs.cli.console import count, duration, print_json, say

if TYPE_CHECKING:
    from megadocs.pipeline.price.gpu_hours import GpuPrice
    from megadocs.pipeline.price.lines import Plan, PlanLine


@takes_run_options()
def plan(
    recipe: RecipePath,
    options: RunOptions,
    gpu: Annotated[
        str | None,
        typer.Option(help="Hours of training and scoring on this GPU (h100, a100, ...).", show_default=False),
    ] = None,
    mfu: Annotated[float, typer.Option(min=0.001, max=1.0, help="Share of the GPU's peak that is assumed.")] = 0.4,
    price_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="Money for an hour of that GPU.", show_default=False)
    ] = None,
) -> None:
    """Show what RECIPE will do: steps, requests, tokens, expected time; done or to do.

    megadocs plan recipes/quickstart.yaml --workspace runs/quickstart

    megadocs plan recipes/paper/generations.yaml --gpu h100
    """
    on_gpu = None
    if gpu is not None:
        from megadocs.pipeline.price.gpu_hours import gpu_price

        on_gpu = gpu_price(gpu, mfu, price_per_hour)
    print_plan(recipe, options, gpu=on_gpu)


def print_plan(recipe_path: Path, options: RunOptions, *, gpu: GpuPrice | None = None) -> None:
    """Build the plan and print it as a tree, or as JSON."""
    from megadocs.cli.search import price_lines
    from megadocs.pipeline.execute.executor import planned_slots
    from megadocs.pipeline.price.plan import build_plan
    from megadocs.pipeline.tune.before_run import plan_tuning
    from megadocs.pipeline.tune.price import price_search
    from megadocs.recipe import load_recipe

    slots = planned_slots(options.executor, options.jobs, options.ray_address)
    recipe = load_recipe(recipe_path, options.overrides or ())
    root = options.workspace or default_workspace(recipe_path)
    recipe, searched = plan_tuning(recipe, root)
    plan = build_plan(recipe, root, slots.number, allow_code=options.allow_code)
    price = None
    if searched is not None and not (options.as_json and recipe.tune == "off"):
        price = price_search(searched, root, num_slots=slots.number, allow_code=options.allow_code)
    if options.as_json:
        on_gpu = {"gpu": gpu.to_json(plan.flops)} if gpu is not None else {}
        tuning = {"tuning": price} if price is not None else {}
        print_json(plan.to_json() | on_gpu | tuning)
        return
    corpus = plan.corpus
    typer.echo(
        f"{recipe.name}: {corpus['num_train_1x']} training documents (1x; up to {corpus['max_multiple']}x), "
        f"{corpus['num_validation']} validation, {corpus['num_test']} test"
    )
    if corpus["is_assumed"]:
        typer.echo(
            "the source is not here: sizes are the recipe's own (corpus.split, plan); additional sets and benchmarks "
            "are not priced"
        )
    for note in plan.notes:
        typer.echo(note)
    print_lines(plan, slots.where)
    print_order_room(plan)
    if gpu is not None:
        typer.echo(f"training and scoring, {plan.flops:.2g} FLOPs: {gpu.text(plan.flops)}")
    if price is not None:
        is_tuned = recipe.tune != "off"
        typer.echo("tuning on validation before these runs:" if is_tuned else "`megadocs search` of this recipe:")
        for line in price_lines(price, gpu, where=slots.where):
            typer.echo(line)
        if is_tuned and plan.seconds:
            low, high = (duration(plan.seconds + cost.seconds) for cost in (price.least, price.most))
            typer.echo(f"tuning and runs: between {low} and {high}, the runs priced at the recipe's own epochs")


def print_order_room(plan: Plan) -> None:
    """Whether order has room to act, one line for the arms that are alike in it."""
    told: dict[str, list[str]] = {}
    for room in plan.order_room:
        text = f"{room.rows_per_window:.1f} rows a window (the paper 6 to 7), "
        text += f"a megadoc fills {room.windows_per_megadoc:.2g} of them"
        if room.train_tokens is not None:
            text += f"; {room.num_steps} updates, {count(room.train_tokens)} tokens"
        told.setdefault(f"{text}; copying forms after some {room.formation_tokens:.0e} tokens", []).append(room.arm)
    for text, arms in told.items():
        typer.echo(f"room for order: {text} ({', '.join(arms)})")
    if told:
        typer.echo(
            "  (10^5.7 x sqrt(batch x context) tokens at a rate of 2.5e-4, arXiv:2511.16893: an order of magnitude, "
            "sooner at higher rates; the report measures it)"
        )


def print_lines(plan: Plan, where: str = "") -> None:
    """The plan's steps as a tree, then the time that is left; `where`: whose slots they are.

    Seeds of one run with the same facts share a line: a recipe of 6 arms and 16 seeds has 200 steps to read otherwise.
    """
    for kind in dict.fromkeys(line.kind for line in plan.lines):
        runs = [(name.removeprefix(kind).strip(), facts) for name, facts in _runs(plan.lines, kind)]
        if [name for name, _ in runs] == [""]:
            typer.echo(f"├─ {kind}: {runs[0][1]}")
            continue
        typer.echo(f"├─ {kind}")
        for name, facts in runs:
            typer.echo(f"│  └─ {name or kind}: {facts}")
    for name, reason in plan.left_out.items():
        typer.echo(f"arm {name} is left out: {reason}")
    from megadocs.pipeline.price.rates import RATES_FROM, rates_file

    file = f" ({rates_file()})" if plan.rates == "user" else ""
    typer.echo(f"about {duration(plan.seconds)} on {plan.num_slots} slots{where}, {RATES_FROM[plan.rates]}{file}")
    if plan.seconds == 0:
        say("everything is done; `megadocs run` will reuse it")


_SEED = re.compile(r"(?P<run>.+) seed (?P<seed>\d+)")


def _runs(lines: Sequence[PlanLine], kind: str) -> Iterator[tuple[str, str]]:
    """(name, facts) of each line to print of a kind's steps; seeds of one run with the same facts share a line."""
    seeds: dict[tuple[str, str], list[str]] = {}
    for line in (line for line in lines if line.kind == kind):
        match = _SEED.fullmatch(line.name)
        seeds.setdefault((match["run"] if match else line.name, _facts(line)), []).extend(
            [match["seed"]] if match else []
        )
    for (name, facts), of_run in seeds.items():
        if len(of_run) > 1:
            numbers = sorted(map(int, of_run))
            is_range = numbers == list(range(numbers[0], numbers[-1] + 1))
            which = f"{numbers[0]} to {numbers[-1]}" if is_range else " ".join(map(str, numbers))
            yield f"{name}, seeds {which}", facts.replace(", ", ", each ", 1)
        else:
            yield ", seed ".join([name, *of_run]), facts


def _facts(line: PlanLine) -> str:
    """Status, counts and expected time of a step, in one line."""
    facts = [line.status]
    if line.status == "done":
        return line.status
    about = "about " if line.is_estimate else ""
    facts += [f"{line.num_requests} requests"] if line.num_requests is not None else []
    facts += [f"{about}{line.num_steps} steps"] if line.num_steps is not None else []
    if line.num_prompt_tokens is not None and line.num_tokens is not None:
        cached = (line.num_cached_tokens or 0) / max(1, line.num_prompt_tokens)
        prompts = f"{about}{count(line.num_prompt_tokens)} prompt tokens ({cached:.0%} from the cache)"
        facts.append(f"{prompts}, {count(line.num_tokens)} new tokens")
    elif line.num_tokens is not None:
        facts.append(f"{about}{count(line.num_tokens)} tokens")
    facts += [f"cost about {line.cost:.2f}"] if line.cost is not None else []
    return ", ".join([*facts, f"about {duration(line.seconds)}"])
