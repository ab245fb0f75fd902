"""Does the machinery cost anything? The real engine driven by megadocs and by a minimal script, side by side.

    python benchmarks/bench_engines.py --concurrency 1 4 16 --rounds 3 --documents 8
    python benchmarks/bench_engines.py --vllm .venv-vllm --concurrency 1 4 16 64 --documents 32

Both drive one server process (llama.cpp's, or vLLM's with `--vllm`: see `make setup-vllm`) with the same request
bodies; each round runs one after the other, so that what else the machine does hits both alike. New tokens per second,
totals and medians, and their ratio; server start-up is given apart and counted in neither.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
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
from megadocs.generate.engines import engine_identity, supervise
from megadocs.generate.engines.http_client import HttpClient
from megadocs.generate.engines.llamacpp import SAMPLING_DEFAULTS
from megadocs.generate.engines.model_files import find_model
from megadocs.generate.engines.openai import OpenAIEngine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.generate.engines.vllm import serve_arguments
from megadocs.recipe import EngineConfig, GenerateConfig

TEXT = (
    "The harbour froze early that winter. Ships waited outside for the ice to break, and the town lived on its grain. "
    "A new railway reached the valley in the year {number}, and within ten years its farmers sold milk to cities."
)


def build_config(engine: dict[str, Any], new_tokens: int, seed: int) -> GenerateConfig:
    return GenerateConfig.model_validate(
        {
            "engine": {"context_tokens": 512, **engine},
            "rephrase": {"num_generations": 2, "max_new_tokens": new_tokens},
            "top_p": 0.95,
            "seed": seed,
            "gates": {"empty": "accept"},
        }
    )


async def minimal(server: Server, bodies: Sequence[dict[str, Any]], concurrency: int) -> int:
    """What a script of twenty lines does: a queue, some workers, one request after the other."""
    import aiohttp

    queue = list(reversed(bodies))
    total = 0

    async def worker(client: aiohttp.ClientSession, slot: int) -> None:
        nonlocal total
        while queue:
            body = queue.pop() | server.extra(slot)
            async with client.post(f"{server.address}/v1/chat/completions", json=body) as reply:
                if reply.status != 200:
                    sys.exit(f"HTTP {reply.status}: {(await reply.text())[:500]}")
                total += (await reply.json())["usage"]["completion_tokens"]

    connector, no_deadline = aiohttp.TCPConnector(limit=concurrency), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=no_deadline) as client:
        await asyncio.gather(*(worker(client, slot) for slot in range(concurrency)))
    return total


def make_bodies(config: GenerateConfig, documents: Sequence[Document]) -> list[dict[str, Any]]:
    assert config.rephrase is not None
    common = {"model": config.engine.model, "max_tokens": config.rephrase.max_new_tokens}
    common |= {"temperature": config.temperature, "top_p": config.top_p}
    requests = plan_requests(config, "rephrase", documents)
    return [{**common, "messages": request.messages(), "seed": request.seed(0)} for request in requests]


class Server:
    """A server process; both sides talk to it over HTTP."""

    engine: dict[str, Any]
    address: str
    start_seconds: float
    _process: subprocess.Popen[bytes]

    def extra(self, slot: int) -> dict[str, Any]:
        """Body fields beside those of any OpenAI-compatible server."""
        return {}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class LlamaCppServer(Server):
    """One llama.cpp child process with a slot for each request in flight."""

    def __init__(self, concurrency: int) -> None:
        self.engine = {"concurrency": concurrency, "num_threads": 1}
        config = build_config(self.engine, 1, 0).engine
        command = [sys.executable, "-m", "megadocs.generate.engines.llamacpp_server"]
        command += ["--model", str(find_model(config.model)), "--slots", str(concurrency)]
        command += ["--context-tokens", str(config.context_tokens), "--threads", str(config.num_threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        began = time.monotonic()
        self._process = subprocess.Popen(command, **pipes)  # type: ignore[call-overload]
        self.address = json.loads(self._process.stdout.readline())["address"]
        self.start_seconds = time.monotonic() - began

    def extra(self, slot: int) -> dict[str, Any]:
        return {**SAMPLING_DEFAULTS, "cache_prompt": True, "id_slot": slot}


class VllmServer(Server):
    """`vllm serve` under the supervisor, from the environment of `make setup-vllm`."""

    def __init__(self, environment: Path, concurrency: int) -> None:
        model = str(environment.absolute() / "smollm2-135m-instruct")
        options = {"dtype": "bfloat16", "enforce_eager": True}
        self.engine = {"kind": "vllm", "model": model, "concurrency": concurrency, "options": options}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, supervise.__file__, str(environment.absolute() / "bin" / "vllm")]
        command += serve_arguments(build_config(self.engine, 1, 0).engine, port, has_accelerator=False)
        variables = {"VLLM_CPU_KVCACHE_SPACE": "1"} | os.environ
        began = time.monotonic()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=variables, **pipes)  # type: ignore[call-overload]
        self.address = f"http://127.0.0.1:{port}"
        while not asyncio.run(self._serves()):
            if self._process.poll() is not None:
                sys.exit("vLLM did not start")
            time.sleep(0.5)
        self.start_seconds = time.monotonic() - began

    async def _serves(self) -> bool:
        client = HttpClient(self.address)
        answer = await client.get_json("/v1/models", 5.0)
        await client.close()
        return isinstance(answer, dict)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # the supervisor ends what it started
        self._process.wait()


class AttachedEngine(OpenAIEngine):
    """The requests of an engine of ours, sent to a server that is already there."""

    def __init__(self, config: EngineConfig, server: Server) -> None:
        super().__init__(config, base_url=f"{server.address}/v1", identity=engine_identity(config))
        self._server = server

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        return await super().complete(replace(completion, extra=self._server.extra(completion.lane)))


def measure(server: Server, concurrency: int, rounds: int, counts: tuple[int, int], folder: Path) -> dict[str, Any]:
    """Alternate both sides `rounds` times (after one round that is thrown away) and compare totals and rounds."""
    num_documents, new_tokens = counts
    tokens: dict[str, list[int]] = {"megadocs": [], "minimal": []}
    seconds: dict[str, list[float]] = {"megadocs": [], "minimal": []}
    for number in range(rounds + 1):
        for side in ("megadocs", "minimal") if number % 2 else ("minimal", "megadocs"):
            config = build_config({**server.engine, "concurrency": concurrency}, new_tokens, seed=number)
            texts = [TEXT.format(number=1800 + 100 * number + place) for place in range(num_documents)]
            documents = [Document(f"d{place}", text) for place, text in enumerate(texts)]
            began = time.monotonic()
            if side == "minimal":
                count = asyncio.run(minimal(server, make_bodies(config, documents), concurrency))
            else:
                engine = AttachedEngine(config.engine, server)
                ledger = folder / f"{concurrency}-{number}"
                count = run_generation(
                    config, "rephrase", documents, ledger, lambda _: None, lambda: False, engine=engine
                ).spent_new_tokens
            if number:
                tokens[side].append(count)
                seconds[side].append(time.monotonic() - began)
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
    parser.add_argument("--vllm", type=Path, default=None, help="environment of `make setup-vllm`; default: llama.cpp")
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    }
    server: Server | None = None
    with tempfile.TemporaryDirectory() as name:
        for concurrency in arguments.concurrency:
            if server is None:  # one vLLM for all; llama.cpp has as many slots as requests
                most = max(arguments.concurrency)
                server = VllmServer(arguments.vllm, most) if arguments.vllm else LlamaCppServer(concurrency)
                report.setdefault("start_seconds", server.start_seconds)
            try:
                counts = (arguments.documents, arguments.new_tokens)
                result = measure(server, concurrency, arguments.rounds, counts, Path(name))
            except BaseException:
                server.close()
                raise
            report[f"concurrency_{concurrency}"] = result
            print(concurrency, result, file=sys.stderr, flush=True)
            if not arguments.vllm or concurrency == arguments.concurrency[-1]:
                server.close()
                server = None
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
