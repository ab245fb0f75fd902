"""Sabotage by hand: five safeguards are broken one at a time, and the quick tests named beside each must fail.

    python tests/sabotage.py            # about a minute; exit 1 where one goes unnoticed

These are mistakes that a rewrite could make without anything looking wrong: an interval a little too narrow, a control
that is no control, a file that a power loss takes away. `make test-mutations` runs them before the mutation tool.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Sabotage:
    """One line of the code made wrong, and where that must be noticed."""

    what: str
    file: str
    right: str
    wrong: str
    tests: str


SABOTAGES = (
    Sabotage(
        "the multiplier's interval at 90 % instead of 95 %",
        "analysis/worth.py",
        "curve_draws, curve, config.confidence)",
        "curve_draws, curve, config.confidence - 0.05)",
        "tests/analysis/test_worth.py",
    ),
    Sabotage(
        "the correction for few sources removed",
        "analysis/document_noise.py",
        "* math.sqrt((num_units - 1) / num_units)",
        "* (num_units - 1) / num_units",
        "tests/analysis/test_document_noise.py",
    ),
    Sabotage(
        "the seed of mis_stitched constant",
        "kinds/orders.py",
        'derive_seed(seed, "mis_stitched_order", epoch)',
        'derive_seed(0, "mis_stitched_order", epoch)',
        "tests/kinds/test_orders.py",
    ),
    Sabotage(
        "actual epochs in place of planned ones",
        "pipeline/stages/run_records.py",
        'planned_real_epochs=real["planned_epochs"]',
        'planned_real_epochs=real["actual_epochs"]',
        "tests/pipeline/stages/test_run_records.py",
    ),
    Sabotage(
        "the directory not synced after an atomic write",
        "store/files.py",
        "        temporary.replace(path)\n        fsync_directory(path.parent)\n",
        "        temporary.replace(path)\n",
        "tests/store/test_files.py",
    ),
)


def is_noticed(sabotage: Sabotage) -> bool:
    """Whether the tests fail on a copy of the code with the sabotage in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / "megadocs" / sabotage.file
        text = path.read_text(encoding="utf-8")
        if text.count(sabotage.right) != 1:
            sys.exit(f"{sabotage.file} holds {sabotage.right!r} {text.count(sabotage.right)} times, not once")
        path.write_text(text.replace(sabotage.right, sabotage.wrong), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow and not faults", sabotage.tests]
        command += ["-p", "no:cacheprovider", "-o", f"pythonpath={copy} {ROOT / 'tests'}"]
        found = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False
        )
        if found.returncode not in (0, 1):
            sys.exit(found.stdout + found.stderr)
        return found.returncode == 1


def main() -> None:
    """Try them all."""
    missed = [sabotage.what for sabotage in SABOTAGES if not is_noticed(sabotage)]
    for sabotage in SABOTAGES:
        print(f"{'MISSED ' if sabotage.what in missed else 'noticed'}  {sabotage.what} ({sabotage.tests})")
    if missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
