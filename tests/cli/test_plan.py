"""`megadocs plan` on paper: a line a run, its seeds together where nothing differs between them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from megadocs.cli.plan import print_lines
from megadocs.pipeline.price.lines import Plan, PlanLine


def _train(seed: int, **facts: object) -> PlanLine:
    line = PlanLine(
        f"train simple seed {seed}", "train", f"f{seed}", "to do", num_steps=188, num_tokens=193_000, seconds=20.0
    )
    return dataclasses.replace(line, **facts)


def _printed(capsys: pytest.CaptureFixture[str], *lines: PlanLine) -> list[str]:
    print_lines(Plan(lines, num_slots=2, seconds=60.0, left_out={}, corpus={}))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("├", "│"))]


def test_seeds_of_a_run_share_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, *(_train(seed) for seed in range(3))) == [
        "├─ train",
        "│  └─ simple, seeds 0 to 2: to do, each 188 steps, 193K tokens, about 20 s",
    ]


def test_seeds_that_differ_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, _train(0, status="done"), _train(1), _train(3), _train(4, num_steps=190)) == [
        "├─ train",
        "│  └─ simple, seed 0: done",
        "│  └─ simple, seeds 1 3: to do, each 188 steps, 193K tokens, about 20 s",
        "│  └─ simple, seed 4: to do, 190 steps, 193K tokens, about 20 s",
    ]


def test_a_kind_of_one_step_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert _printed(capsys, PlanLine("corpus", "corpus", "f", "to do", seconds=1.0)) == ["├─ corpus: to do, about 1 s"]


#: What a plan can do without: seconds of processor time to import.
_HEAVY = ("torch", "scipy", "transformers", "aiohttp", "pandas", "pyarrow.dataset")


def test_a_plan_is_arithmetic(tmp_path: Path) -> None:
    """Of the demo: nothing heavy is imported. With SciPy's statistics and aiohttp it took 4.3 s of processor time."""
    script = f"""
import json, sys
from megadocs.cli import main
sys.argv = ["megadocs", "plan", "quickstart", "--json", "--workspace", "{tmp_path}"]
try:
    main()
finally:
    print(json.dumps([name for name in {_HEAVY} if name in sys.modules]), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["lines"]
    assert json.loads(done.stderr.splitlines()[-1]) == []
