"""`megadocs corpus | rows`: the run up to one stage (`train` and `evaluate` have files of their own)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from megadocs.cli.arguments import (
    AllowCode,
    AsJson,
    ExecutorOption,
    Jobs,
    Overrides,
    RayAddress,
    RecipePath,
    WorkspaceDir,
)


def register(app: typer.Typer) -> None:
    """Add the verbs."""

    @app.command()
    def corpus(
        recipe: RecipePath,
        overrides: Overrides = None,
        workspace: WorkspaceDir = None,
        jobs: Jobs = None,
        executor: ExecutorOption = "local",
        ray_address: RayAddress = None,
        as_json: AsJson = False,
    ) -> None:
        """Read, cut and split the real documents of RECIPE.

        megadocs corpus recipes/quickstart.yaml --workspace runs/quickstart
        """
        _run(
            recipe,
            overrides,
            workspace,
            stage="corpus",
            jobs=jobs,
            executor=executor,
            ray_address=ray_address,
            as_json=as_json,
        )

    @app.command()
    def rows(
        recipe: RecipePath,
        overrides: Overrides = None,
        workspace: WorkspaceDir = None,
        jobs: Jobs = None,
        executor: ExecutorOption = "local",
        ray_address: RayAddress = None,
        allow_code: AllowCode = False,
        as_json: AsJson = False,
    ) -> None:
        """Tokenise everything that the arms of RECIPE use, once.

        megadocs rows recipes/quickstart.yaml --workspace runs/quickstart
        """
        _run(
            recipe,
            overrides,
            workspace,
            stage="rows",
            jobs=jobs,
            executor=executor,
            ray_address=ray_address,
            allow_code=allow_code,
            as_json=as_json,
        )


def _run(recipe: Path, overrides: list[str] | None, workspace: Path | None, **options: Any) -> None:
    from megadocs.cli.outcome import run_and_print

    run_and_print(recipe, overrides, workspace, **options)
