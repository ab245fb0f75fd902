"""The results file of a workspace, checked against the records of the reports that were published there.

    results, note = open_results(Path("runs/quickstart"))

`results.json` at the top of a workspace is a copy of a published report's. A file that is no such copy (edited by hand,
cut short, of another workspace) is refused. A folder without reports, such as results passed on by themselves, has
nothing to check them against: then `note` says so.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from megadocs.analysis import parse_results
from megadocs.errors import DamagedError, InputError
from megadocs.store.files import store_error
from megadocs.store.verify import NO_COPY, published_digests

_RESULTS = "results.json"


def open_results(workspace: Path) -> tuple[dict[str, Any], str | None]:
    """The results and, where nothing vouches for them, a sentence that says so.

    Raises:
        InputError: no results there, or not a results file of this version.
        DamagedError: the file is no copy of a report that was published in this workspace.
    """
    path = workspace / _RESULTS
    if not path.is_file():
        raise InputError("no results there", where=str(path), remedy="run `megadocs run` to its report first")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise store_error("cannot read", path, error) from error
    results = parse_results(data, str(path))
    digests = published_digests(workspace).get(_RESULTS)
    if not digests:
        return results, f"{path} was not checked: no record of a published report is beside it"
    if hashlib.sha256(data).hexdigest() not in digests:
        raise DamagedError(
            f"{_RESULTS} {NO_COPY}: it was changed after it was written",
            where=str(path),
            remedy=f"`megadocs report {workspace}` writes it anew from the records",
        )
    return results, None
