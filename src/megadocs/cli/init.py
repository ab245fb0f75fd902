"""`megadocs init`: a recipe for one's own documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.console import say


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def init(
        directory: Annotated[Path, typer.Argument(help="Folder of the experiment.", metavar="DIR", show_default=False)],
        source: Annotated[
            str,
            typer.Option(
                "--source",
                help="Your documents: a file, glob or folder of .txt, .jsonl[.gz|.zst] or .parquet, or hf://org/name.",
                show_default=False,
            ),
        ],
    ) -> None:
        """Write DIR/recipe.yaml for your own documents, each choice explained in it.

        megadocs init runs/mine --source my_texts/
        """
        from megadocs.pipeline.init import write_own_recipe

        path, num_records = write_own_recipe(directory, source)
        say(f"{path}: {num_records} documents, before long ones are cut")
        say(f"look first:  megadocs plan {path}")
        say(f"then:        megadocs run {path}")
