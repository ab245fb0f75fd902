"""Stands in for the `vllm` command: takes its arguments, serves the fake model, starts a child of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from megadocs.generate.engines.fake_replies import FakeScript
from megadocs.generate.engines.fake_server import FakeServer


class DyingServer(FakeServer):
    """Ends its process after some replies (0: under the first request), and under every prompt that holds a word."""

    def __init__(self, model: str, replies: int | None, poison: str | None) -> None:
        super().__init__(FakeScript.parse({}), model=model)
        self._left, self._poison = replies, poison

    async def _complete(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        is_poisoned = self._poison is not None and self._poison in str(body.get("messages"))
        if self._left == 0 or is_poisoned:
            print("RuntimeError: CPU Generator does not use offset", file=sys.stderr, flush=True)
            os._exit(3)
        if self._left is not None:
            self._left -= 1
        return await super()._complete(writer, body)


async def serve(arguments: argparse.Namespace) -> None:
    await asyncio.sleep(arguments.slow_start)
    server = DyingServer(arguments.served_model_name or arguments.model, arguments.dies_after, arguments.poison)
    await server.start(arguments.port)
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
    parser.add_argument("--no-enable-chunked-prefill", action="store_true")
    parser.add_argument("--max-num-batched-tokens", type=int)
    parser.add_argument("--served-model-name")
    parser.add_argument("--pids", type=Path)
    parser.add_argument("--dies-after", type=int, help="replies after which it prints a reason and ends")
    parser.add_argument("--poison", help="a word in a prompt that ends the server")
    parser.add_argument("--slow-start", type=float, default=0.0)
    parser.add_argument("--fail", action="store_true")
    arguments = parser.parse_args()
    if arguments.fail:
        sys.exit("no such model on this planet")
    worker = subprocess.Popen(["sleep", "600"])
    if arguments.pids:
        with arguments.pids.open("a") as file:
            file.write(f"{worker.pid}\n")
    print("INFO: serving", flush=True)
    asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
