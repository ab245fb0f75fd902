"""Stands in for the `vllm` command: takes its arguments, serves the fake model, starts a child of its own."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path

from megadocs.generate.engines.fake_replies import FakeScript
from megadocs.generate.engines.fake_server import FakeServer


async def serve(port: int, model: str) -> None:
    await FakeServer(FakeScript.parse({}), model=model).start(port)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-model-len", type=int, required=True)
    parser.add_argument("--max-num-seqs", type=int, required=True)
    parser.add_argument("--enable-prompt-tokens-details", action="store_true")
    parser.add_argument("--pids", type=Path)
    parser.add_argument("--fail", action="store_true")
    arguments = parser.parse_args()
    if arguments.fail:
        sys.exit("no such model on this planet")
    worker = subprocess.Popen(["sleep", "600"])
    if arguments.pids:
        with arguments.pids.open("a") as file:
            file.write(f"{worker.pid}\n")
    asyncio.run(serve(arguments.port, arguments.model))


if __name__ == "__main__":
    main()
