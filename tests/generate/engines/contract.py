"""What every engine must do, fake or real: checks that `test_contract`, `test_llamacpp`, `test_vllm_server` share."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from megadocs.generate.engines import Engine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply


def completion(seed: int = 1, **changes: Any) -> Completion:
    values: dict[str, Any] = {
        "messages": [{"role": "user", "content": "say one two three"}],
        "max_new_tokens": 16,
        "temperature": 1.0,
        "top_p": 0.9,
        "seed": seed,
        "timeout_seconds": 5.0,
        "extra": {},
    }
    return Completion(**(values | changes))


async def check_engine(engine: Engine, *, model: str, concurrency: int, timeout_seconds: float = 5.0) -> None:
    """A started engine says what it is, answers many requests at once, by their seeds, and keeps deadlines."""
    assert await engine.is_healthy()
    assert engine.info().identity["model"] == model
    assert engine.info().concurrency == concurrency
    await check_replies(engine, timeout_seconds=timeout_seconds)
    await check_deadline(engine, timeout_seconds=timeout_seconds)


async def check_replies(engine: Engine, *, timeout_seconds: float) -> None:
    seeds = (1, 2, 1, 3)
    wanted = (completion(seed, timeout_seconds=timeout_seconds, lane=lane) for lane, seed in enumerate(seeds))
    replies = await asyncio.gather(*(engine.complete(request) for request in wanted))
    texts = []
    for reply in replies:
        assert isinstance(reply, Reply), reply
        assert reply.finish_reason in ("stop", "length")
        assert reply.new_tokens > 0
        assert reply.prompt_tokens > 0
        assert 0 <= reply.cached_tokens <= reply.prompt_tokens
        texts.append(reply.text)
    assert texts[0] == texts[2]  # same request, same reply
    assert len(set(texts)) == 3  # another seed, another reply


async def check_deadline(engine: Engine, *, timeout_seconds: float) -> None:
    """A reply that does not come in time is a failure, soon, and the engine goes on serving."""
    began = time.monotonic()
    late = await engine.complete(completion(4, timeout_seconds=0.0))
    assert isinstance(late, EngineFailure)
    assert late.kind == "timeout"
    assert time.monotonic() - began < 10
    assert isinstance(await engine.complete(completion(4, timeout_seconds=timeout_seconds)), Reply)


async def check_limits(engine: Engine, *, timeout_seconds: float) -> None:
    """Of engines with a real model: the length limit cuts, a prompt over the context is told from other failures."""
    short = await engine.complete(completion(max_new_tokens=3, timeout_seconds=timeout_seconds))
    assert isinstance(short, Reply)
    assert (short.new_tokens, short.finish_reason) == (3, "length")
    long = [{"role": "user", "content": "poison " * 4000}]
    failure = await engine.complete(completion(messages=long, timeout_seconds=timeout_seconds))
    assert isinstance(failure, EngineFailure)
    assert failure.kind == "context_length"
    assert "poison" not in failure.message  # never the document's text


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):  # it may go between the two
        return False
    return "Z" not in stat.rsplit(")", 1)[1].split()[0]


def wait_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"orphans: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.05)
