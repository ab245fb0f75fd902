"""From SIGKILL to the next new step: `bench_resume.py [OUT.json] [--preset 20m] [--rounds 3]`.

A run of the preset (batch 16 x 256, bfloat16, one thread) is started through the command line on made-up documents,
killed with its worker after a checkpoint, and started again with the same command. Two clocks run from the kill: until
the new process has made its first step, and until the metrics hold a step that was not there before, steps made again
since the last checkpoint included. The steps themselves are subtracted nowhere.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = """
name: resume
description: Time from a kill to the next step.
corpus: {{source: "{source}", split: auto}}
tokenizer: {{kind: train, vocab_size: 8192}}
model: {{preset: "{preset}"}}
train: {{context_length: 256, batch_size: 16, real_epochs: 400, checkpoint_minutes: 0.0001, log_every_steps: 1}}
arms: {{real_only: {{}}}}
seeds: [0]
"""


def write_inputs(folder: Path, preset: str) -> Path:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(9000)]
    (folder / "texts").mkdir()
    for number in range(60):
        text = " ".join(draw.choice(words) for _ in range(900))
        (folder / f"texts/{number:03}.txt").write_text(text + "\n", encoding="utf-8")
    recipe = folder / "resume.yaml"
    recipe.write_text(RECIPE.format(source=folder / "texts", preset=preset), encoding="utf-8")
    return recipe


def metric_lines(workspace: Path) -> list[bytes]:
    for path in workspace.glob("train/*.partial/metrics.jsonl"):
        return path.read_bytes().split(b"\n")[:-1]
    return []


def last_step(workspace: Path) -> int:
    lines = metric_lines(workspace)
    return int(json.loads(lines[-1])["step"]) if lines else 0


def start(recipe: Path, workspace: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "megadocs", "train", str(recipe), "--workspace", str(workspace), "--jobs", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(process: subprocess.Popen[bytes]) -> None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.wait()


def wait_for_step(workspace: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    while last_step(workspace) < step:
        if process.poll() is not None:
            sys.exit(f"the run ended with exit code {process.returncode}; see {workspace}/logs")
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--preset", default="20m")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    try:
        recipe, workspace = write_inputs(folder, arguments.preset), folder / "ws"
        process = start(recipe, workspace)
        wait_for_step(workspace, 3, process)
        first_steps, new_steps = [], []
        for _ in range(arguments.rounds):
            kill(process)
            killed = time.monotonic()
            before, old_lines = last_step(workspace), set(metric_lines(workspace))  # times differ, so no line repeats
            process = start(recipe, workspace)
            while set(metric_lines(workspace)) <= old_lines and process.poll() is None:
                time.sleep(0.01)
            first_steps.append(round(time.monotonic() - killed, 2))
            wait_for_step(workspace, before + 1, process)
            new_steps.append(round(time.monotonic() - killed, 2))
            print(f"{arguments.preset}: {first_steps[-1]} s to the first step, {new_steps[-1]} s to step {before + 1}")
        kill(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = {
        "preset": arguments.preset,
        "seconds_to_first_step": first_steps,
        "seconds_to_new_step": new_steps,
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(report))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
