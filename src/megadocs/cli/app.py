"""The verbs and where they live. A verb's module is imported when the verb is called, so that `--help` stays fast."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import typer

import megadocs

#: verb -> module of `megadocs.cli` with a function `register(app)`, in the order of `--help`.
VERBS = {
    "run": "run",
    "plan": "plan",
    "search": "search",
    "status": "status",
    "verify": "verify",
    "doctor": "doctor",
    "corpus": "stages",
    "generate": "generate",
    "rows": "stages",
    "streams": "streams",
    "train": "train",
    "evaluate": "evaluate",
    "report": "report",
    "analyze": "analyze",
    "compare": "compare",
}

_HELP = """Data-efficient pre-training: write synthetic variants of scarce documents, order them into megadocs,
train on real and synthetic text, and say with error bars how many real tokens that was worth.

    megadocs run recipes/quickstart.yaml --workspace runs/quickstart

    megadocs run recipes/quickstart.yaml corpus.source=my_texts/ corpus.split=auto --workspace runs/mine
"""


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """The application: with the verb that `arguments` name, or with all of them when they name none."""
    app = typer.Typer(
        help=_HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )

    @app.callback(invoke_without_command=True)
    def _options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        if version:
            typer.echo(megadocs.__version__)
            raise typer.Exit

    named = next((argument for argument in arguments if argument in VERBS), None)
    modules = dict.fromkeys([VERBS[named]] if named else VERBS.values())
    for module in modules:
        importlib.import_module(f"megadocs.cli.{module}").register(app)
    return app
