"""The script for a machine with a GPU runs whole on a CPU, and says so when a part fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks/gpu_check.sh"
PARTS = ["logits", "loss", "boundaries", "repetition", "resume", "sampling", "fsdp", "train_300m", "train_1_5b"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_part_runs_on_a_cpu(tmp_path):
    out = tmp_path / "gpu.json"
    peer = f"--peer echo {tmp_path} 'echo tps: 1,234' 'tps: ([0-9,.]+)'"
    environment = os.environ | {"PYTHON": sys.executable, "PEER_ARGS": peer}
    done = subprocess.run([SCRIPT, str(out), "--tiny"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert list(report["parts"]) == PARTS
    assert all(part["is_ok"] and part["result"] for part in report["parts"].values())
    assert report["parts"]["train_300m"]["result"]["peers"][0]["tokens_per_second"] == 1234


def test_a_part_that_fails_shows_in_the_report_and_the_exit_code(tmp_path):
    (tmp_path / "codes").write_text("logits 0 1\nloss 124 60\n")
    (tmp_path / "logits.json").write_text('{"float32_distance": 0.0}')
    (tmp_path / "loss.log").write_text("it took too long")
    command = [sys.executable, SCRIPT.with_name("gpu_check.py"), "collect", tmp_path / "out.json", "--parts", tmp_path]
    assert subprocess.run(command, capture_output=True).returncode == 1
    parts = json.loads((tmp_path / "out.json").read_text())["parts"]
    assert parts["logits"] == {"is_ok": True, "exit_code": 0, "seconds": 1, "result": {"float32_distance": 0.0}}
    assert parts["loss"]["output_tail"] == "it took too long"
