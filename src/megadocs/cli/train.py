"""`megadocs train`: every run of a recipe, or one; in this process' workers, or as one of torchrun's ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from megadocs.cli.arguments import RecipePath, RunOptions, default_workspace, takes_run_options


@takes_run_options()
def train(
    recipe: RecipePath,
    options: RunOptions,
    arm: Annotated[str | None, typer.Option("--arm", help="Train this arm only.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Train this seed only.", show_default=False)] = None,
) -> None:
    """Train every arm and seed of RECIPE, or the one that is named. Several GPUs: train.num_processes=8.

    Started by torchrun or a scheduler that sets RANK and WORLD_SIZE, it is one rank of one run (docs/training.md).

    megadocs train recipes/quickstart.yaml --workspace runs/quickstart

    torchrun --nnodes 4 --nproc-per-node 8 ... -m megadocs train recipe.yaml --arm simple --seed 0 --workspace DIR
    """
    from megadocs.pipeline.stages.torchrun import is_rank

    if is_rank():
        _train_as_rank(recipe, options, arm, seed)
    from megadocs.cli.run import run_and_print

    run_and_print(recipe, options, stage="train", arm=arm, seed=seed)


def _train_as_rank(recipe_path: Path, options: RunOptions, arm: str | None, seed: int | None) -> NoReturn:
    import logging
    import signal

    from megadocs.cli.console import say
    from megadocs.pipeline.stages.rank import leave, train_as_rank
    from megadocs.pipeline.stages.stage import Stopped
    from megadocs.recipe import load_recipe, select_runs

    root = options.workspace or default_workspace(recipe_path)
    logging.basicConfig(level=logging.WARNING)
    recipe = select_runs(load_recipe(recipe_path, options.overrides or ()), arm=arm, seed=seed)
    try:
        published = train_as_rank(recipe, root, report=say, allow_code=options.allow_code)
    except Stopped:
        leave(128 + signal.SIGTERM)
    if published is not None:
        say(f"trained; the model is in {published.path / 'model'}")
    leave(0)
