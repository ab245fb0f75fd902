"""The searches of a workspace as the report shows them: certificates, cost and every trial, without timings.

`megadocs search` writes `searches/<recipe's name>.json` every few trials (and `search.json`, the last one). What is
read here is the part that depends on results alone, so that a search that is repeated changes no report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError

#: At the top of the workspace: the last search, and one file for each recipe that was searched.
SEARCH_FILE = "search.json"
SEARCH_FOLDER = "searches"

_COST = (
    "num_trials",
    "num_settings",
    "num_grid_settings",
    "num_stopped",
    "num_in_vain",
    "num_wasted",
    "num_tokens",
    "flops",
)
_TRIAL = ("setting", "seed", "loss", "test_loss", "num_tokens", "flops", "fingerprint", "error", "stopped")


def read_searches(root: Path) -> list[dict[str, Any]]:
    """Every searched arm: search, arm, ending, axes, seeds, certificate, test, cost, trials.

    Raises:
        DamagedError: a file is not what a search wrote.
    """
    paths = sorted((root / SEARCH_FOLDER).glob("*.json")) or [root / SEARCH_FILE]
    rows = []
    for path in paths:
        if path.is_file():
            try:
                found = json.loads(path.read_bytes())
                rows += [_arm(found, arm) for arm in found["arms"]]
            except (ValueError, KeyError, TypeError) as error:
                raise DamagedError(
                    "not a search's record", where=str(path), remedy="run the search again, or delete the file"
                ) from error
    return rows


def _arm(search: Mapping[str, Any], arm: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "search": search["name"],
        "arm": arm["arm"],
        "ending": search["ending"],
        "axes": arm["axes"],
        "seeds": arm["seeds"],
        "certificate": arm["certificate"],
        "test": arm["test"],
        "cost": {key: arm["cost"][key] for key in _COST if key in arm["cost"]},
        "trials": [{key: trial[key] for key in _TRIAL if key in trial} for trial in arm["trials"]],
    }
