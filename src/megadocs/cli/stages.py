"""`megadocs corpus | rows`: the run up to one stage (`train` and `evaluate` have files of their own)."""

from __future__ import annotations

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

_HELP = {
    "corpus": "Read, cut and split the real documents of RECIPE.",
    "rows": "Tokenise everything that the arms of RECIPE use, once.",
}


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for stage, text in _HELP.items():
        _add(app, stage, f"{text}\n\nmegadocs {stage} recipes/quickstart.yaml --workspace runs/quickstart")


def _add(app: typer.Typer, stage: str, text: str) -> None:
    def command(
        recipe: RecipePath,
        overrides: Overrides = None,
        workspace: WorkspaceDir = None,
        jobs: Jobs = None,
        executor: ExecutorOption = "local",
        ray_address: RayAddress = None,
        allow_code: AllowCode = False,
        as_json: AsJson = False,
    ) -> None:
        from megadocs.cli.outcome import run_and_print

        run_and_print(
            recipe,
            overrides,
            workspace,
            stage=stage,
            jobs=jobs,
            executor=executor,
            ray_address=ray_address,
            allow_code=allow_code,
            as_json=as_json,
        )

    app.command(stage, help=text)(command)
