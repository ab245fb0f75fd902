"""The child process of the embedded engine: loads a model once, then one worker a socket, each with its own batch.

    python -m megadocs.model.serve --model PATH --sockets 5 6 --sequences 32 --context-tokens 2048

The first process reads the weights, tries in which precision this machine multiplies them fastest, lays them out, then
forks the workers: they share that memory, and come up at once; each makes a cache of its own. It prints one line of
JSON, `{"ready": 2, "precision": "float32"}` or `{"error": {...}}`, ends when its standard input closes or a worker
ends, and the kernel ends the workers with it. On a GPU the workers lay the weights out themselves, since its memory is
not shared by a fork.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import torch

from megadocs.errors import InputError, MegadocsError
from megadocs.machine import die_with_parent, has_nvidia_driver
from megadocs.model.batching import Batcher, require_room
from megadocs.model.config import LlamaConfig
from megadocs.model.decoder import Decoder
from megadocs.model.gguf_import import import_gguf
from megadocs.model.hf_import import import_hf
from megadocs.model.llama import Llama
from megadocs.model.memory import freed_memory_kept, return_freed_memory
from megadocs.model.paged_cache import PAGE_POSITIONS, PagedCache
from megadocs.model.precision import PRECISIONS, Choice, fastest_precision
from megadocs.model.worker import Worker
from megadocs.text.chat import load_chat


def main() -> None:
    """Load, fork, wait."""
    parent = os.getppid()
    arguments = _parse()
    die_with_parent(parent=parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent drains first
    torch.set_num_threads(1)  # nothing may start threads before the fork: the workers would not have them
    try:
        loaded = _Loaded(arguments)
        chat = load_chat(arguments.model)
        if arguments.api == "chat":
            chat.prompt([{"role": "user", "content": "?"}])  # a template that does not render says so now
    except MegadocsError as error:
        print(json.dumps({"error": error.to_json()}), flush=True)
        sys.exit(1)
    return_freed_memory()
    mother = os.getpid()
    sockets = [socket.socket(fileno=number) for number in arguments.sockets]
    for own in sockets:
        if os.fork() == 0:
            die_with_parent(parent=mother)
            for other in sockets:
                if other is not own:
                    other.close()
            torch.set_num_threads(arguments.threads)
            with freed_memory_kept():
                Worker(own, chat, loaded.build_batcher(), api=arguments.api).run()
            os._exit(0)
    for own in sockets:
        own.close()
    print(f"weights: {loaded.precision}", file=sys.stderr, flush=True)
    print(json.dumps({"ready": len(sockets), "precision": loaded.precision.name}), flush=True)
    threading.Thread(target=_exit_on_end_of_input, daemon=True).start()
    os.wait()
    os._exit(1)  # one is gone: the others go too, and all are started again


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="embedded engine of megadocs")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sockets", type=int, nargs="+", required=True)
    parser.add_argument("--sequences", type=int, required=True)
    parser.add_argument("--context-tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--api", choices=["chat", "completions"], default="chat")
    parser.add_argument("--precision", choices=["auto", *PRECISIONS], default="auto")
    parser.add_argument("--cache-megabytes", type=int, default=512)
    return parser.parse_args()


class _Loaded:
    """What the workers share: on a CPU the weights as they are multiplied, on a GPU the model to be taken there."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        path: Path = arguments.model
        load = import_hf if path.is_dir() else import_gguf
        model = load(path)
        if arguments.context_tokens > model.config.max_position_embeddings:
            raise InputError(
                f"the model has {model.config.max_position_embeddings} positions, fewer than a context of "
                f"{arguments.context_tokens} tokens",
                where="generate.engine.context_tokens",
                remedy=f"use at most {model.config.max_position_embeddings}",
            )
        self._on_gpu = has_nvidia_driver() and torch.version.cuda is not None
        self._num_sequences, self._context_tokens = arguments.sequences, arguments.context_tokens
        self.precision = self._choose_precision(arguments.precision, model.config)
        self._dtype = self.precision.dtype
        page_bytes = PagedCache.page_bytes(model.config, self._dtype)
        whole = 2 * arguments.sequences * -(-arguments.context_tokens // PAGE_POSITIONS)
        self._num_pages = min(whole + 1, (arguments.cache_megabytes << 20) // page_bytes) + 1
        require_room(self._num_pages, arguments.context_tokens)
        self._laid_out: Llama | Decoder = model if self._on_gpu else self._lay_out(model)

    def _choose_precision(self, wanted: str, config: LlamaConfig) -> Choice:
        if wanted in PRECISIONS:
            return Choice(PRECISIONS[wanted], {}, self._num_sequences)
        return fastest_precision(config, num_rows=self._num_sequences, on_gpu=self._on_gpu)

    def _lay_out(self, model: Llama) -> Decoder:
        return Decoder(model, num_sequences=self._num_sequences, num_pages=1, dtype=self._dtype, consume=True)

    def build_batcher(self) -> Batcher:
        """One worker's."""
        shared = self._laid_out
        decoder = shared if isinstance(shared, Decoder) else self._lay_out(shared.to("cuda"))
        decoder.open_cache(self._num_pages)
        return Batcher(
            [decoder],
            num_sequences=self._num_sequences,
            context_tokens=self._context_tokens,
            num_pages=self._num_pages,
        )


def _exit_on_end_of_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
