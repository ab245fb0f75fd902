"""Runs one small generation task in a process of its own, for tests that kill it.

python kill_driver.py LEDGER BASE_URL NUM_DOCUMENTS        # one run, then exit 0
python kill_driver.py LEDGER BASE_URL NUM_DOCUMENTS KILLS SEED
    # forks runs and kills each after a random time, KILLS times, then lets one finish; prints what happened as JSON
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from megadocs.documents import Document
from megadocs.generate import run_generation
from megadocs.recipe import GenerateConfig

CONCURRENCY = 4


def build_config(base_url: str) -> GenerateConfig:
    return GenerateConfig.model_validate(
        {
            "engine": {"kind": "openai", "model": "fake", "base_url": base_url, "concurrency": CONCURRENCY},
            "rephrase": {"num_generations": 3, "max_new_tokens": 32},
        }
    )


def build_documents(count: int) -> list[Document]:
    return [
        Document(f"doc-{number}", f"text number {number} " + "word " * (number % 40 + 8)) for number in range(count)
    ]


def run_once(ledger: Path, base_url: str, count: int) -> None:
    config, documents = build_config(base_url), build_documents(count)
    books = run_generation(config, "rephrase", documents, ledger, lambda _: None, lambda: False)
    assert books.is_complete, books


def run_and_kill(ledger: Path, base_url: str, count: int, kills: int, seed: int) -> dict[str, object]:
    """Fork, wait, SIGKILL the process group; the waits grow when runs die without progress."""
    rng = random.Random(seed)
    num_killed = num_finished = 0
    longest = 0.02
    while num_killed < kills:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            run_once(ledger, base_url, count)
            os._exit(0)
        time.sleep(rng.uniform(0, longest))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            num_killed += 1
            longest = min(0.5, longest * 1.02)
        else:
            num_finished += 1
            break
    run_once(ledger, base_url, count)
    return {"num_killed": num_killed, "num_finished_early": num_finished}


if __name__ == "__main__":
    ledger, base_url, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if len(sys.argv) == 4:
        run_once(ledger, base_url, count)
    else:
        print(json.dumps(run_and_kill(ledger, base_url, count, int(sys.argv[4]), int(sys.argv[5]))))
