"""Keep the record of a run of the demo: results/demo, which the README quotes and a test holds it to.

    megadocs demo --workspace runs/quickstart
    python docs/build_demo.py runs/quickstart --seconds 240 --set-up-seconds 100 --memory-megabytes 2500

Written are `results.json` and its tables, `steps.csv` (when each step began and ended, from its record) and `run.json`:
where it ran and what was measured around it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build_results import write_csv_tables, write_sums

from megadocs.machine import processor_name

DEMO = Path(__file__).parents[1] / "results" / "demo"
COLUMNS = ("step", "of", "seed", "began", "ended", "tokens")


def read_steps(workspace: Path) -> list[dict[str, Any]]:
    """A row a step, in the order in which they began: seconds after the first; tokens written or trained on."""
    records = [json.loads(path.read_bytes()) for path in workspace.glob("*/*/record.json")]
    runs = {run["fingerprint"]: run for run in json.loads((workspace / "results.json").read_bytes())["runs"]}
    rows = []
    first = min(record["started_unix"] for record in records)
    for record in sorted(records, key=lambda record: record["started_unix"]):
        config, summary, began = record["config"], record["summary"], record["started_unix"] - first
        run = runs.get(record["inputs"].get("train", record["fingerprint"]), {})
        row = {
            "step": record["step"],
            "of": run.get("arm") or config.get("task") or config.get("kind"),
            "seed": run.get("seed"),
            "began": f"{began:.1f}",
            "ended": f"{began + record['seconds']:.1f}",
            "tokens": summary["num_tokens"] if record["step"] == "train" else None,
        }
        if record["step"] == "generate":
            row["tokens"] = summary["accounting"]["spent_new_tokens"]
        rows.append(row)
    return rows


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Rewrite the folder; its README.md is written by hand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path, help="of one run of the demo, from nothing")
    parser.add_argument("--seconds", type=float, required=True, help="of the clock, of the whole command")
    parser.add_argument("--set-up-seconds", type=float, required=True, help="of making the environment before it")
    parser.add_argument("--memory-megabytes", type=int, required=True, help="most of all its processes together (PSS)")
    arguments = parser.parse_args()
    DEMO.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(arguments.workspace / "results.json", DEMO / "results.json")
    write_csv_tables(DEMO)
    write(DEMO / "steps.csv", read_steps(arguments.workspace))
    run = {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "seconds": arguments.seconds,
        "set_up_seconds": arguments.set_up_seconds,
        "memory_megabytes": arguments.memory_megabytes,
    }
    (DEMO / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    write_sums(DEMO)


if __name__ == "__main__":
    main()
