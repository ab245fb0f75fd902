"""Who writes a document's generations fastest on this CPU: `embedded`, llama.cpp, transformers, vLLM, side by side.

    python benchmarks/bench_writers.py                                       # the first three
    python benchmarks/bench_writers.py --vllm .venv-vllm --rounds 3          # with vLLM (`make setup-vllm`)

The workload is the quickstart's: its passages, its rephrase prompt, sampling and limit, `--generations` of each. Each
round runs every writer once, in turn, with both cores: `embedded` with two workers of one thread, `embedded_one` with
one worker of two threads, llama.cpp as the demo had it (two servers of one thread, four slots), vLLM as it chooses,
transformers' `generate` over padded batches with all cores. Engines go through `run_generation`, ledger included, and
are started before the clock: the start, with a first short reply, is given apart. Rates are new tokens a second of the
clock and of processor time, all processes together; medians of the rounds. `bare` is the decoder alone: full batches of
the same prompts, nothing read, nothing ended, in this process with one thread, in tokens a second of processor time; it
is given for full batches and for batches of the size that the rounds of `embedded` had on average.

A round takes minutes: `--rounds 1 --append` three times is three rounds. vLLM gets 1 GB for its cache unless
`VLLM_CPU_KVCACHE_SPACE` says otherwise; of its own accord it leaves a core to its scheduler.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from megadocs.corpus import iter_documents, split_documents
from megadocs.documents import Document
from megadocs.generate import plan_requests, run_generation
from megadocs.generate.engines import Engine, build_engine
from megadocs.generate.engines.model_files import find_model
from megadocs.generate.engines.protocol import Completion, EngineFailure, EngineInfo, Reply
from megadocs.machine import resolve_dtype
from megadocs.recipe import GenerateConfig, load_recipe

ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
#: Sequences of one batch of transformers: eight documents of eight generations.
TRANSFORMERS_BATCH = 64
SHORT = [{"role": "user", "content": "Name a colour."}]


def process_tree() -> dict[int, float]:
    """Processor seconds of this process and of all below it that run."""
    parents, seconds = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        pid = int(stat.parent.name)
        parents[pid], seconds[pid] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS
    tree, new = {os.getpid()}, {os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in new} - tree:
        tree |= new
    return {pid: seconds[pid] for pid in tree if pid in seconds}


def memory_megabytes() -> dict[str, float]:
    """Of the largest process below this one: resident, and its own share of what it shares (Pss)."""
    found = []
    for pid in process_tree():
        if pid == os.getpid():
            continue
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in text.splitlines()[1:] if " kB" in line}
        found.append((sizes["Rss"], sizes["Pss"]))
    if not found:
        return {}
    rss, pss = max(found)
    return {"largest_rss_mb": rss, "its_pss_mb": pss}


class Started:
    """An engine that was started before the clock; `run_generation` starts and closes it once more."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def start(self) -> None:
        """It is."""

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """Passed on."""
        return await self._engine.complete(completion)

    async def is_healthy(self) -> bool:
        """Passed on."""
        return await self._engine.is_healthy()

    def info(self) -> EngineInfo:
        """Passed on."""
        return self._engine.info()

    async def close(self) -> None:
        """Later."""


def engine_sections(vllm: Path | None, concurrency: int) -> dict[str, dict[str, Any]]:
    """Name -> the recipe's engine section."""
    options = {"top_k": 40, "min_p": 0.05}
    common: dict[str, Any] = {"model": "smollm2-135m-instruct", "context_tokens": 1024}
    sections: dict[str, dict[str, Any]] = {
        "embedded": {**common, "num_servers": 2, "num_threads": 1, "concurrency": concurrency, "options": options},
        "embedded_one": {
            **common, "num_servers": 1, "num_threads": 2, "concurrency": 2 * concurrency,
            "options": {**options, "cache_megabytes": 1024},
        },
        "llamacpp": {
            **common, "kind": "llamacpp", "num_servers": 2, "num_threads": 1, "concurrency": 4, "options": options,
        },
    }  # fmt: skip
    if vllm is not None:
        sections["vllm"] = {
            "kind": "vllm",
            "model": str(vllm.absolute() / "smollm2-135m-instruct"),
            "command": [str(vllm.absolute() / "bin" / "vllm")],
            "concurrency": 2 * concurrency,
            "context_tokens": 1024,
            # Requests name what OpenAI's API has; the rest of the sampling is the server's default.
            "options": {"dtype": "bfloat16", "enforce_eager": True, "override_generation_config": options},
        }
    return sections


def run_engine(config: GenerateConfig, documents: Sequence[Document], folder: Path) -> dict[str, float]:
    """Start it, let it write everything, close it; each in its own loop but on one engine's processes."""
    measured: dict[str, float] = {}

    async def main() -> None:
        engine = build_engine(config.engine)
        began = time.monotonic()
        await engine.start()
        try:
            short = Completion(SHORT, 4, 1.0, 1.0, 1, 600.0, {})
            assert isinstance(await engine.complete(short), Reply)
            measured["first_reply_seconds"] = time.monotonic() - began
            before, began = process_tree(), time.monotonic()
            books, occupancy = await asyncio.to_thread(drive, engine, asyncio.get_running_loop())
            measured["seconds"] = time.monotonic() - began
            after = process_tree()
            measured["cpu_seconds"] = sum(after[pid] - before.get(pid, 0.0) for pid in after)
            measured.update(memory_megabytes())
            measured["new_tokens"], measured["cut"] = books.spent_new_tokens, books.flags.get("truncated", 0)
            measured["replies"] = books.ok + books.rejected
            if occupancy is not None:
                measured["occupancy"] = occupancy
        finally:
            await engine.close()

    def drive(engine: Engine, loop: asyncio.AbstractEventLoop) -> tuple[Any, float | None]:
        class Across(Started):
            """The run has a loop of its own; the engine's connections belong to ours."""

            async def complete(self, completion: Completion) -> Reply | EngineFailure:
                future = asyncio.run_coroutine_threadsafe(engine.complete(completion), loop)
                return await asyncio.wrap_future(future)

            async def is_healthy(self) -> bool:
                return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(engine.is_healthy(), loop))

        seen: list[Any] = []
        books = run_generation(config, "rephrase", documents, folder, seen.append, lambda: False, engine=Across(engine))
        return books, seen[-1].occupancy

    asyncio.run(main())
    return measured


def transformers_writer(config: GenerateConfig) -> Callable[[Sequence[Document]], dict[str, float]]:
    """The model once, in the type that is fastest for torch's linear here; padded batches in the order of requests."""
    from transformers import AutoModelForCausalLM, GgufConfig

    from megadocs.text.chat import load_chat

    path = find_model("smollm2-135m-instruct")
    dtype = getattr(torch, resolve_dtype("auto", "cpu"))
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=dtype, quantization_config=GgufConfig(dequantize=True)
    ).eval()
    chat = load_chat(path)
    assert config.rephrase is not None
    limit, each = config.rephrase.max_new_tokens, config.rephrase.num_generations

    def write(documents: Sequence[Document]) -> dict[str, float]:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        requests = plan_requests(config, "rephrase", documents)
        prompts = [chat.prompt(list(request.messages())) for request in list(requests)[::each]]
        per_batch, new_tokens = TRANSFORMERS_BATCH // each, 0
        began, cpu = time.monotonic(), time.process_time()
        for start in range(0, len(prompts), per_batch):
            part = prompts[start : start + per_batch]
            width = max(map(len, part))
            ids = torch.tensor([[0] * (width - len(one)) + one for one in part])
            mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in part])
            with torch.inference_mode():
                out = model.generate(
                    ids, attention_mask=mask, num_return_sequences=each, do_sample=True, max_new_tokens=limit,
                    temperature=config.temperature, top_p=config.top_p, top_k=40, min_p=0.05,
                    eos_token_id=[*chat.stop_ids], pad_token_id=0,
                )  # fmt: skip
            for line in out[:, width:].tolist():
                ends = [place for place, token in enumerate(line) if token in chat.stop_ids]
                new_tokens += ends[0] + 1 if ends else len(line)
        seconds, spent = time.monotonic() - began, time.process_time() - cpu
        torch.set_num_threads(1)
        return {"seconds": seconds, "cpu_seconds": spent, "new_tokens": new_tokens}

    return write


def bare_rate(config: GenerateConfig, documents: Sequence[Document], num_sequences: int) -> dict[str, Any]:
    """Tokens a processor second of full batches that only go on, half way through their replies."""
    from megadocs.model.batching import Batcher, Request
    from megadocs.model.decoder import Decoder
    from megadocs.model.gguf_import import import_gguf
    from megadocs.model.precision import fastest_precision
    from megadocs.model.token_choice import Sampling
    from megadocs.text.chat import load_chat

    path = find_model("smollm2-135m-instruct")
    torch.set_num_threads(1)
    model, chat = import_gguf(path), load_chat(path)
    choice = fastest_precision(model.config, num_rows=num_sequences)
    decoder = Decoder(model, num_sequences=num_sequences, num_pages=400, dtype=choice.dtype)
    batcher = Batcher([decoder], num_sequences=num_sequences, context_tokens=1024, num_pages=400)
    requests = list(plan_requests(config, "rephrase", documents))[:num_sequences]
    for number, request in enumerate(requests):
        prompt = chat.prompt(list(request.messages()))
        sampling = Sampling(1.0, 40, 0.95, 0.05)
        batcher.submit(Request(key=number, prompt=prompt, max_new_tokens=200, seed=number, sampling=sampling))
    while batcher.counts.num_steps < 50:  # all prompts are read by then
        batcher.step()
    seconds = []
    for _ in range(20):
        began = time.process_time()
        batcher.step()
        seconds.append(time.process_time() - began)
    return {
        "num_sequences": num_sequences,
        "tokens_per_cpu_second": num_sequences / statistics.median(seconds),
        "precision": str(choice),
    }


def summary(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Medians over rounds, and each round."""
    rates = [one["new_tokens"] / one["seconds"] for one in rounds]
    cpu_rates = [one["new_tokens"] / one["cpu_seconds"] for one in rounds]
    return {
        "tokens_per_second": statistics.median(rates),
        "tokens_per_cpu_second": statistics.median(cpu_rates),
        "rounds": rounds,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=16)
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--new-tokens", type=int, default=None, help="limit of a reply; default: the recipe's")
    parser.add_argument("--concurrency", type=int, default=48, help="sequences of each of the two embedded workers")
    parser.add_argument("--vllm", type=Path, default=None, help="environment of `make setup-vllm`")
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--append", action="store_true", help="further rounds of what the output holds already")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "writers.json")
    arguments = parser.parse_args()
    recipe = load_recipe(ROOT / "recipes" / "quickstart.yaml", [])
    corpus = split_documents(iter_documents(recipe.corpus), recipe.corpus)
    documents = corpus.train[: arguments.documents]
    base = recipe.generate.model_dump(mode="json")
    base["rephrase"]["num_generations"] = arguments.generations
    base["rephrase"]["max_new_tokens"] = arguments.new_tokens or base["rephrase"]["max_new_tokens"]
    base |= {"thought": None, "attempt_timeout_seconds": 7200}
    limit = base["rephrase"]["max_new_tokens"]
    sections = engine_sections(arguments.vllm, arguments.concurrency)
    configs = {name: GenerateConfig.model_validate({**base, "engine": engine}) for name, engine in sections.items()}
    names = [name for name in (*configs, "transformers") if arguments.only is None or name in arguments.only]
    write = transformers_writer(configs["embedded"]) if "transformers" in names else None
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    if arguments.vllm is not None:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    if arguments.append and arguments.output.is_file():
        before = json.loads(arguments.output.read_text())["writers"]
        rounds |= {name: found["rounds"] for name, found in before.items()}
    report: dict[str, Any] = {
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "python": platform.python_version()},
        "workload": {
            "documents": len(documents),
            "generations": arguments.generations,
            "limit": limit,
            "load": os.getloadavg()[0],
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            for name in names:
                if name == "transformers":
                    assert write is not None
                    measured = write(documents)
                else:
                    config = configs[name].model_copy(update={"seed": len(rounds[name])})
                    measured = run_engine(config, documents, Path(folder) / f"{name}-{len(rounds[name])}")
                measured["load"] = os.getloadavg()[0]
                rounds[name].append(measured)
                print(number, name, measured, file=sys.stderr, flush=True)
                report["writers"] = {one: summary(done) for one, done in rounds.items() if done}
                arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    occupancy = statistics.mean(one["occupancy"] for one in rounds["embedded"]) if rounds.get("embedded") else 1.0
    sizes = (arguments.concurrency, round(occupancy * arguments.concurrency))
    report["bare"] = [bare_rate(configs["embedded"], documents, size) for size in dict.fromkeys(sizes)]
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def processor() -> str:
    """Its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
