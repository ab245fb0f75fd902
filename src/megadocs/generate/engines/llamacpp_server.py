"""The child process of the embedded engine: llama.cpp's HTTP server on a loopback port.

    python -m megadocs.generate.engines.llamacpp_server --model FILE --slots 4 --context-tokens 2048 --threads 1

Prints one line of JSON (`{"address": "http://127.0.0.1:PORT"}`) when it serves. It never outlives its parent: the
kernel kills it when the parent dies (PR_SET_PDEATHSIG), and it leaves when its standard input closes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

from megadocs.machine import die_with_parent


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description="llama.cpp server for megadocs")
    parser.add_argument("--model", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(parent=os.getppid())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent drains first
    server = _start_server(arguments)
    print(json.dumps({"address": server.listening_address}), flush=True)
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)  # llama.cpp's own shutdown waits for running requests


def _start_server(arguments: argparse.Namespace) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.hostnames = ["127.0.0.1"]
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.context_tokens * arguments.slots  # shared out evenly among the slots
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    params.n_gpu_layers = 0
    params.verbosity = 0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
