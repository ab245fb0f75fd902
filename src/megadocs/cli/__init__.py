"""The command line: one thin file per verb. Parse, call, print. A verb's module is imported when the verb is called, so
that `--help` stays fast.

Human text goes to standard error, results to standard output; `--json` makes the result one JSON document. Exit codes:
0 done and the accounting adds up, 1 failure, 2 usage, 3 completed with failures, 130 interrupted, 141 the reader of
our output has gone, 143 terminated.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Sequence

import typer

import megadocs

#: verb -> module of `megadocs.cli` with a function of its name (or a Typer of several), in the order of `--help`.
VERBS = {
    "demo": "recipes",
    "recipes": "recipes",
    "init": "init",
    "run": "run",
    "plan": "plan",
    "search": "search",
    "status": "status",
    "watch": "watch",
    "verify": "verify",
    "doctor": "doctor",
    "corpus": "run",
    "generate": "generate",
    "rows": "run",
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

    megadocs run quickstart corpus.source=my_texts/ corpus.split=auto -w runs/mine
"""


def main() -> None:
    """Entry point of `megadocs`: run the verb, turn errors into messages and exit codes."""
    from megadocs.cli.console import print_error
    from megadocs.errors import MegadocsError, StoreError

    for stream in (sys.stdout, sys.stderr):  # a terminal that knows Latin-1 alone, a file name that is no UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            build_app(sys.argv[1:])(prog_name="megadocs")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG) or error.filename is not None:
            raise
        _drop_output()
        print_error(StoreError(f"cannot write the output: {error.strerror}", where="standard output"), as_json=False)
        sys.exit(1)
    except MegadocsError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:  # click makes 1, our code for failure, of a reader that has gone (`| head`)
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _drop_output()
        sys.exit(141)


def _drop_output() -> None:
    """What the interpreter still wants to flush at its end goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    for verb in [named] if named else VERBS:
        command = getattr(importlib.import_module(f"megadocs.cli.{VERBS[verb]}"), verb)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=verb)
        else:
            app.command()(command)
    return app
