"""Throughput and memory of generation with the fake engine: everything but the model.

    python benchmarks/bench_generate.py                          # some minutes
    python benchmarks/bench_generate.py --records 50000 500000 5248000 --generations 32 --http-records 0
        # 164,000 documents x 32, the paper's size, and two smaller ones (`make bench-generate-full`: an hour, 16 GB)
    python benchmarks/bench_generate.py --datatrove VENV/bin/python   # side by side over HTTP

Prints one JSON object: `memory`, one entry a size (in-process fake, 2 KB replies, synced twice a second: records/s of
wall and CPU time, anonymous memory at each tenth and at its highest; `resume`: a new process scans the ledger just
written and finds nothing to do), and `http` (same server process, same bodies, same concurrency, rounds interleaved;
`bare` is a client that does nothing but write bodies and read replies: what the server can do). The client runs on the
first core it may use, the server on the last.
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

from bare_client import bench_bare

from megadocs.documents import Document
from megadocs.generate import GenerationProgress, load_index, run_generation
from megadocs.machine import processor_name
from megadocs.recipe import GenerateConfig

PEER = Path(__file__).with_name("bench_generate_datatrove.py")
MODES = ("plain", "checkpoints")
REPLY_CHARACTERS = 2048
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


def build_config(concurrency: int, generations: int, engine: dict[str, Any]) -> GenerateConfig:
    return GenerateConfig.model_validate(
        {
            "engine": {"model": "fake", "concurrency": concurrency, **engine},
            "rephrase": {"num_generations": generations, "max_new_tokens": 400},
        }
    )


def anonymous_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no RssAnon in /proc/self/status")


def bench_memory(records: int, generations: int, directory: Path) -> dict[str, Any]:
    options = {"transport": "memory", "reply_characters": REPLY_CHARACTERS}
    config = build_config(64, generations, {"kind": "fake", "options": options})
    points: list[dict[str, float]] = []
    highest = 0.0
    began, cpu_began = time.monotonic(), time.process_time()

    def progress(state: GenerationProgress) -> None:
        nonlocal highest
        megabytes = anonymous_megabytes()
        highest = max(highest, megabytes)
        if state.done >= len(points) * records / 10:
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu_began
            point = {"records": state.done, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2)}
            points.append({**point, "anonymous_mb": round(megabytes, 1)})
            print(points[-1], file=sys.stderr, flush=True)

    documents = MadeDocuments(records // generations)
    books = run_generation(config, "rephrase", documents, directory, progress, lambda: False)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu_began
    assert books.is_complete
    return {
        "records": books.ok,
        "documents": len(documents),
        "seconds": wall,
        "cpu_seconds": cpu,
        "records_per_second": books.ok / wall,
        "records_per_cpu_second": books.ok / cpu,
        "bytes_per_record": sum(path.stat().st_size for path in directory.glob("*.log")) / books.ok,
        "highest_anonymous_mb": highest,
        "points": points,
        "resume": _resume_in_new_process(directory, records, generations),
    }


def _resume_in_new_process(directory: Path, records: int, generations: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--resume", str(directory)]
    command += ["--records", str(records), "--generations", str(generations)]
    measured: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return measured


def resume(directory: Path, records: int, generations: int) -> dict[str, float]:
    """Scan the ledger, then run again with nothing left to do: every request is planned and looked up."""
    began, cpu = time.monotonic(), time.process_time()
    count = len(load_index(directory))
    scanned, cpu_scanned = time.monotonic(), time.process_time()
    scan_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    config = build_config(64, generations, {"kind": "fake", "options": {"transport": "memory"}})
    documents = MadeDocuments(records // generations)
    books = run_generation(config, "rephrase", documents, directory, lambda _: None, lambda: False)
    assert (books.ok, books.num_sent) == (count, 0)
    return {
        "records": count,
        "scan_seconds": scanned - began,
        "scan_cpu_seconds": cpu_scanned - cpu,
        "scan_peak_rss_mb": scan_peak,
        "empty_run_seconds": time.monotonic() - scanned,
        "empty_run_cpu_seconds": time.process_time() - cpu_scanned,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def bench_http(
    records: int,
    generations: int,
    concurrency: int,
    rounds: int,
    datatrove: str | None,
    modes: Sequence[str],
    directory: Path,
) -> dict[str, Any]:
    """Ours, a bare client and datatrove's runner, one after the other, `rounds` times, against one server process."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, "-m", "megadocs.generate.engines.fake_server"]
    options = json.dumps({"reply_characters": REPLY_CHARACTERS})
    server = subprocess.Popen([*command, "--options", options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    os.sched_setaffinity(server.pid, {cores[-1]})
    os.sched_setaffinity(0, {cores[0]})
    assert server.stdout is not None
    address = json.loads(server.stdout.readline())["address"]
    settings = build_config(concurrency, generations, {"kind": "openai", "base_url": f"{address}/v1"})
    documents = MadeDocuments(records // generations)
    results: dict[str, list[dict[str, float]]] = {"megadocs": [], "bare": []}
    try:
        for number in range(rounds):
            results["megadocs"].append(_ours(settings, documents, directory / f"ours-{number}"))
            results["bare"].append(bench_bare(settings, documents))
            if datatrove is not None:
                for mode in modes:
                    folder = str(directory / f"theirs-{mode}-{number}")
                    arguments = [address, str(records), str(concurrency), str(generations), mode, folder]
                    done = subprocess.run([datatrove, str(PEER), *arguments], stdout=subprocess.PIPE, check=True)
                    line = done.stdout.decode().strip().splitlines()[-1]
                    results.setdefault(f"datatrove_{mode}", []).append(json.loads(line))
    finally:
        os.sched_setaffinity(0, set(cores))
        server.kill()
        server.wait()
    return {"records": records, "concurrency": concurrency, **results}


def _ours(config: GenerateConfig, documents: MadeDocuments, directory: Path) -> dict[str, float]:
    began, cpu = time.monotonic(), time.process_time()
    books = run_generation(config, "rephrase", documents, directory, lambda _: None, lambda: False)
    assert books.ok == books.requested
    return {
        "records_per_second": books.ok / (time.monotonic() - began),
        "records_per_cpu_second": books.ok / (time.process_time() - cpu),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[40_000], help="records of the in-process part")
    parser.add_argument("--generations", type=int, default=4, help="of each document")
    parser.add_argument("--http-records", type=int, default=4000, help="records of each HTTP round; 0: no HTTP part")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--datatrove", default=None, help="interpreter of an environment that has datatrove")
    parser.add_argument(
        "--modes",
        nargs="*",
        choices=MODES,
        default=MODES,
        help="of datatrove; with checkpoints it takes 50 times as long",
    )
    parser.add_argument("--directory", type=Path, default=None, help="where to write (free space is checked first)")
    parser.add_argument("--output", type=Path, default=None, help="file for the JSON, beside standard output")
    parser.add_argument("--resume", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.resume:
        print(json.dumps(resume(arguments.resume, arguments.records[0], arguments.generations)))
        return
    report: dict[str, Any] = {
        "machine": {
            "processor": processor_name(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "load": os.getloadavg()[0],
        },
        "generations": arguments.generations,
        "memory": [],
    }
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        directory = Path(name)
        need = max(arguments.records) * BYTES_PER_RECORD
        free = shutil.disk_usage(directory).free
        if free < 1.2 * need:
            sys.exit(f"{directory}: {free / 1e9:.1f} GB free, {1.2 * need / 1e9:.1f} GB needed; choose --directory")
        for records in arguments.records:
            report["memory"].append(bench_memory(records, arguments.generations, directory / "memory"))
            shutil.rmtree(directory / "memory")
        if arguments.http_records:
            counts = (arguments.http_records, arguments.generations, arguments.concurrency, arguments.rounds)
            report["http"] = bench_http(*counts, arguments.datatrove, arguments.modes, directory)
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
