"""Throughput and memory of generation with the fake engine: everything but the model.

    python benchmarks/bench_generate.py                          # some minutes
    python benchmarks/bench_generate.py --records 5200000        # the paper's size (`make bench-generate-full`)
    python benchmarks/bench_generate.py --datatrove VENV/bin/python   # side by side over HTTP

Prints one JSON object: `memory` (in-process fake, 2 KB replies, synced twice a second: records/s of wall and CPU time,
anonymous memory at each tenth), `scan` (index of the ledger just written), `http` (same server process, same bodies,
same concurrency, rounds interleaved). The client runs on the first core it may use, the server on the last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from megadocs.documents import Document
from megadocs.generate import GenerationProgress, load_index, run_generation
from megadocs.recipe import GenerateConfig

PEER = Path(__file__).with_name("bench_generate_datatrove.py")
REPLY_CHARACTERS = 2048
GENERATIONS = 4
BYTES_PER_RECORD = 3000
WORDS = ["river", "stone", "cloud", "winter", "letter", "garden"]
WORDS += ["music", "silver", "morning", "harbour", "window", "candle"]


class MadeDocuments(Sequence[Document]):
    """Documents made on demand, so that memory measures the program and not its input."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Document]:
        return (self[number] for number in range(self._count))

    @overload
    def __getitem__(self, number: int) -> Document: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Document]: ...
    def __getitem__(self, number: int | slice) -> Document | Sequence[Document]:
        assert isinstance(number, int)
        text = " ".join(WORDS[(number * 7 + place * place) % 12] for place in range(120))
        return Document(f"document-{number:08d}", f"{text} {number}")


def build_config(concurrency: int, engine: dict[str, Any]) -> GenerateConfig:
    return GenerateConfig.model_validate(
        {
            "engine": {"model": "fake", "concurrency": concurrency, **engine},
            "rephrase": {"num_generations": GENERATIONS, "max_new_tokens": 400},
        }
    )


def anonymous_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no RssAnon in /proc/self/status")


def bench_memory(records: int, directory: Path) -> dict[str, Any]:
    options = {"transport": "memory", "reply_characters": REPLY_CHARACTERS}
    config = build_config(64, {"kind": "fake", "options": options})
    points: list[dict[str, float]] = []
    began = time.monotonic()

    def progress(state: GenerationProgress) -> None:
        if state.done >= len(points) * records / 10:
            seconds = time.monotonic() - began
            points.append({"records": state.done, "seconds": round(seconds, 2), "anonymous_mb": anonymous_megabytes()})

    cpu = time.process_time()
    documents = MadeDocuments(records // GENERATIONS)
    books = run_generation(config, "rephrase", documents, directory, progress, lambda: False)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    assert books.is_complete
    return {
        "records": books.ok,
        "records_per_second": books.ok / wall,
        "records_per_cpu_second": books.ok / cpu,
        "bytes_per_record": sum(path.stat().st_size for path in directory.glob("*.log")) / books.ok,
        "points": points,
    }


def bench_scan(directory: Path) -> dict[str, float]:
    began, cpu = time.monotonic(), time.process_time()
    count = len(load_index(directory))
    return {
        "records": count,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def bench_http(records: int, concurrency: int, rounds: int, datatrove: str | None, directory: Path) -> dict[str, Any]:
    """Ours and datatrove's runner, one after the other, `rounds` times, against one server process."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "megadocs.generate.engines.fake_server"]
    options = json.dumps({"reply_characters": REPLY_CHARACTERS})
    server = subprocess.Popen([*command, "--options", options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    os.sched_setaffinity(server.pid, {cores[-1]})
    os.sched_setaffinity(0, {cores[0]})
    assert server.stdout is not None
    address = json.loads(server.stdout.readline())["address"]
    results: dict[str, list[dict[str, float]]] = {"megadocs": []}
    try:
        for number in range(rounds):
            results["megadocs"].append(_ours(records, concurrency, address, directory / f"ours-{number}"))
            if datatrove is not None:
                for mode in ("plain", "checkpoints"):
                    folder = str(directory / f"theirs-{mode}-{number}")
                    arguments = [address, str(records), str(concurrency), str(GENERATIONS), mode, folder]
                    done = subprocess.run([datatrove, str(PEER), *arguments], stdout=subprocess.PIPE, check=True)
                    line = done.stdout.decode().strip().splitlines()[-1]
                    results.setdefault(f"datatrove_{mode}", []).append(json.loads(line))
    finally:
        os.sched_setaffinity(0, set(cores))
        server.kill()
        server.wait()
    return {"records": records, "concurrency": concurrency, **results}


def _ours(records: int, concurrency: int, address: str, directory: Path) -> dict[str, float]:
    config = build_config(concurrency, {"kind": "openai", "base_url": f"{address}/v1"})
    documents = MadeDocuments(records // GENERATIONS)
    began, cpu = time.monotonic(), time.process_time()
    books = run_generation(config, "rephrase", documents, directory, lambda _: None, lambda: False)
    assert books.ok == records
    return {
        "records_per_second": records / (time.monotonic() - began),
        "records_per_cpu_second": records / (time.process_time() - cpu),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=40_000, help="records of the in-process part")
    parser.add_argument("--http-records", type=int, default=4000, help="records of each HTTP round; 0: no HTTP part")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datatrove", default=None, help="interpreter of an environment that has datatrove")
    parser.add_argument("--directory", type=Path, default=None, help="where to write (free space is checked first)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        need = arguments.records * BYTES_PER_RECORD
        free = shutil.disk_usage(directory).free
        if free < 1.2 * need:
            sys.exit(f"{directory}: {free / 1e9:.1f} GB free, {1.2 * need / 1e9:.1f} GB needed; choose --directory")
        report = {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
            "memory": bench_memory(arguments.records, directory / "memory"),
            "scan": bench_scan(directory / "memory"),
        }
        if arguments.http_records:
            http = (arguments.http_records, arguments.concurrency, arguments.rounds, arguments.datatrove, directory)
            report["http"] = bench_http(*http)
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
