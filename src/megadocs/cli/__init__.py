"""The command line: one thin file per verb. Parse, call, print.

Human text goes to standard error, results to standard output; `--json` makes the result one JSON document. Exit codes:
0 done and the accounting adds up, 1 failure, 2 usage, 3 completed with failures, 130 interrupted, 141 the reader of
our output has gone, 143 terminated.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of `megadocs`: run the verb, turn errors into messages and exit codes."""
    from megadocs.cli.app import build_app
    from megadocs.cli.console import print_error
    from megadocs.errors import MegadocsError

    try:
        build_app(sys.argv[1:])(prog_name="megadocs")
    except MegadocsError as error:
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:  # click makes 1, our code for failure, of a reader that has gone (`| head`)
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
