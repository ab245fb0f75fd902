"""`megadocs run`: a recipe from its documents to the report."""

from __future__ import annotations

from typing import Annotated

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
    """Add the verb."""

    @app.command()
    def run(
        recipe: RecipePath,
        overrides: Overrides = None,
        workspace: WorkspaceDir = None,
        jobs: Jobs = None,
        executor: ExecutorOption = "local",
        ray_address: RayAddress = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
        allow_code: AllowCode = False,
        as_json: AsJson = False,
    ) -> None:
        """Run RECIPE to its report. Finished steps are reused; an interrupted run goes on where it stopped.

        megadocs run recipes/quickstart.yaml --workspace runs/quickstart
        """
        if dry_run:
            from megadocs.cli.plan import print_plan
            from megadocs.pipeline.execute.executor import planned_slots

            slots = planned_slots(executor, jobs, ray_address)
            print_plan(recipe, overrides, workspace, slots=slots, allow_code=allow_code, as_json=as_json)
            return
        from megadocs.cli.outcome import run_and_print

        run_and_print(
            recipe,
            overrides,
            workspace,
            stage="report",
            jobs=jobs,
            executor=executor,
            ray_address=ray_address,
            allow_code=allow_code,
            as_json=as_json,
        )
