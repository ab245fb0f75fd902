"""Analyse the committed small experiment anew: after the statistics or the page have changed.

    python docs/build_results.py        # rewrite results/small: report, results.json, audit, tables, SHA256SUMS

Nothing is generated or trained. Records and ledger are unpacked into a workspace of their own; corpus, tokenizer,
generations and rows are made again, must be the same bytes, and keep their first records. Trained weights, which the
archive leaves out, are taken off the records, because the report does not read them. The gate reads weights, so it is
off: docs/order.md has what it said of two of these arms. About a minute.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.run import run_experiment
from megadocs.recipe import load_recipe
from megadocs.report.tables import write_tables

HERE = Path(__file__).parent
SMALL = HERE.parent / "results" / "small"
RECIPE = HERE.parent / "recipes" / "small.yaml"
#: Steps that are made again from the ledger.
REMADE = ("corpus", "tokenizer", "generate", "rows")
REPORT = ("report.html", "results.json", "audit.json")


def unpack(root: Path) -> dict[Path, dict[str, Any]]:
    """Fill a workspace from the archives; the records of the steps that are to be remade, by place."""
    for archive in ("records.tar.zst", "ledger.tar.zst"):
        unpack_archive(SMALL / archive, root)
    had = {}
    for path in sorted(root.glob("*/*/record.json")):
        record = json.loads(path.read_bytes())
        if path.parts[-3] in REMADE:
            had[path] = record
            continue
        record["files"] = {name: facts for name, facts in record["files"].items() if (path.parent / name).is_file()}
        path.write_text(json.dumps(record), encoding="utf-8")
    for step in REMADE:
        shutil.rmtree(root / step)
    return had


def unpack_archive(archive: Path, root: Path) -> None:
    """Unpack a .tar.zst."""
    import tarfile

    import pyarrow as pa

    with pa.input_stream(str(archive), compression="zstd") as data, tarfile.open(fileobj=data, mode="r|") as files:
        files.extractall(root, filter="data")


def restore_records(had: dict[Path, dict[str, Any]]) -> None:
    """Give the remade artifacts their first records; exit where one is not what was trained on."""
    for path, record in had.items():
        if json.loads(path.read_bytes())["files"] != record["files"]:
            sys.exit(f"{path.parent.name} is not what was trained on: source, tokenizer or ledger have changed")
        path.write_text(json.dumps(record), encoding="utf-8")


def write_sums() -> None:
    """SHA256SUMS of every file of the folder."""
    files = sorted(path for path in SMALL.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(SMALL)}\n" for path in files]
    (SMALL / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Rewrite the folder."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        had = unpack(root)
        recipe = load_recipe(RECIPE, ["evaluate.gate=false"])
        run_experiment(recipe, root, stage="rows")
        restore_records(had)
        undone = [line.name for line in build_plan(recipe, root).lines if line.status != "done"]
        if undone != ["report"]:
            sys.exit(f"the records do not serve the recipe any more: {', '.join(undone)}")
        outcome = run_experiment(recipe, root)
        if outcome.report is None:
            sys.exit(f"no report: {outcome.errors}")
        for name in REPORT:
            shutil.copyfile(root / name, SMALL / name)
    shutil.rmtree(SMALL / "tables")
    for written in write_tables(json.loads((SMALL / "results.json").read_bytes()), SMALL / "tables"):
        if written.suffix != ".csv":
            written.unlink()
    write_sums()


if __name__ == "__main__":
    main()
