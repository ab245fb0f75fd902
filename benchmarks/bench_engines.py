"""Does the machinery cost anything? The real engine driven by megadocs and by a minimal script, side by side.

    python benchmarks/bench_engines.py --concurrency 1 4 16 --rounds 3 --documents 8

Both drive one llama.cpp child process (same model, slots, threads) with the same request bodies; each round runs one
after the other, so that what else the machine does hits both alike. New tokens per second, medians, and their ratio;
server start-up is not counted in either.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from megadocs.documents import Document
from megadocs.generate import plan_requests, run_generation
from megadocs.generate.engines.llamacpp import SAMPLING_DEFAULTS, find_model, model_identity
from megadocs.generate.engines.openai import OpenAIEngine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.recipe import EngineConfig, GenerateConfig

TEXT = (
    "The harbour froze early that winter. Ships waited outside for the ice to break, and the town lived on its grain. "
    "A new railway reached the valley in the year {number}, and within ten years its farmers sold milk to cities."
)


def build_config(concurrency: int, new_tokens: int, seed: int) -> GenerateConfig:
    return GenerateConfig.model_validate(
        {
            "engine": {"concurrency": concurrency, "context_tokens": 512, "num_threads": 1},
            "rephrase": {"num_generations": 2, "max_new_tokens": new_tokens},
            "top_p": 0.95,
            "seed": seed,
            "gates": {"empty": "accept"},
        }
    )


async def minimal(address: str, bodies: Sequence[dict[str, Any]], concurrency: int) -> int:
    """What a script of twenty lines does: a queue, some workers, one request after the other."""
    import httpx

    queue = list(reversed(bodies))
    total = 0

    async def worker(client: httpx.AsyncClient, slot: int) -> None:
        nonlocal total
        while queue:
            body = queue.pop() | {"id_slot": slot}
            reply = await client.post(f"{address}/v1/chat/completions", json=body, timeout=None)
            total += reply.json()["usage"]["completion_tokens"]

    async with httpx.AsyncClient() as client:
        await asyncio.gather(*(worker(client, slot) for slot in range(concurrency)))
    return total


def make_bodies(config: GenerateConfig, documents: Sequence[Document]) -> list[dict[str, Any]]:
    assert config.rephrase is not None
    common = {"model": config.engine.model, "max_tokens": config.rephrase.max_new_tokens, "cache_prompt": True}
    common |= {"temperature": config.temperature, "top_p": config.top_p, **SAMPLING_DEFAULTS}
    requests = plan_requests(config, "rephrase", documents)
    return [{**common, "messages": request.messages(), "seed": request.seed(0)} for request in requests]


class Server:
    """One llama.cpp child process; both sides talk to it over HTTP."""

    def __init__(self, config: EngineConfig) -> None:
        command = [sys.executable, "-m", "megadocs.generate.engines.llamacpp_server"]
        command += ["--model", str(find_model(config.model)), "--slots", str(config.concurrency)]
        command += ["--context-tokens", str(config.context_tokens), "--threads", str(config.num_threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, **pipes)  # type: ignore[call-overload]
        self.address = json.loads(self._process.stdout.readline())["address"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class AttachedEngine(OpenAIEngine):
    """The embedded engine's requests, sent to a server that is already there."""

    def __init__(self, config: EngineConfig, address: str) -> None:
        super().__init__(config, base_url=f"{address}/v1", identity=model_identity(config))

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        extra = {**SAMPLING_DEFAULTS, "cache_prompt": True, "id_slot": completion.lane}
        return await super().complete(replace(completion, extra=extra))


def measure(concurrency: int, rounds: int, num_documents: int, new_tokens: int, folder: Path) -> dict[str, Any]:
    """Alternate both sides `rounds` times (after one round that is thrown away) and compare totals and rounds."""
    tokens: dict[str, list[int]] = {"megadocs": [], "minimal": []}
    seconds: dict[str, list[float]] = {"megadocs": [], "minimal": []}
    server = Server(build_config(concurrency, new_tokens, 0).engine)
    try:
        for number in range(rounds + 1):
            for side in ("megadocs", "minimal") if number % 2 else ("minimal", "megadocs"):
                config = build_config(concurrency, new_tokens, seed=number)
                texts = [TEXT.format(number=1800 + 100 * number + place) for place in range(num_documents)]
                documents = [Document(f"d{place}", text) for place, text in enumerate(texts)]
                began = time.monotonic()
                if side == "minimal":
                    count = asyncio.run(minimal(server.address, make_bodies(config, documents), concurrency))
                else:
                    engine = AttachedEngine(config.engine, server.address)
                    ledger = folder / f"{concurrency}-{number}"
                    count = run_generation(
                        config, "rephrase", documents, ledger, lambda _: None, lambda: False, engine=engine
                    ).spent_new_tokens
                if number:
                    tokens[side].append(count)
                    seconds[side].append(time.monotonic() - began)
    finally:
        server.close()
    speeds = {side: sum(tokens[side]) / sum(seconds[side]) for side in tokens}
    rates = {side: [t / s for t, s in zip(tokens[side], seconds[side], strict=True)] for side in tokens}
    ratios = [ours / theirs for ours, theirs in zip(rates["megadocs"], rates["minimal"], strict=True)]
    return {
        "tokens_per_second": speeds,
        "ratio_of_totals": speeds["megadocs"] / speeds["minimal"],
        "median_ratio": statistics.median(ratios),
        "ratios": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=8, help="two generations each")
    parser.add_argument("--new-tokens", type=int, default=64)
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    }
    with tempfile.TemporaryDirectory() as name:
        for concurrency in arguments.concurrency:
            settings = (arguments.rounds, arguments.documents, arguments.new_tokens, Path(name))
            report[f"concurrency_{concurrency}"] = result = measure(concurrency, *settings)
            print(concurrency, result, file=sys.stderr, flush=True)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
