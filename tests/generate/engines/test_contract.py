"""What every engine must do, run against each of them; then what is special to one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import megadocs
from megadocs.errors import EngineError, RecipeError
from megadocs.generate.engines import Engine, build_engine, engine_identity
from megadocs.generate.engines.fake_replies import FakeScript
from megadocs.generate.engines.fake_server import FakeServer
from megadocs.generate.engines.http_client import HttpClient
from megadocs.generate.engines.protocol import EngineFailure, Reply
from megadocs.generate.engines.vllm import serve_arguments
from megadocs.recipe import EngineConfig

from .contract import alive, check_engine, check_replies, completion, wait_gone

STUB = Path(__file__).with_name("stub_vllm.py")
Body = Callable[[Engine], Awaitable[None]]


def run_with(kind: str, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    """Start an engine of a kind, run the body with it, close it."""

    async def main() -> None:
        server: FakeServer | None = None
        values: dict[str, Any] = {"kind": kind, "model": "m", "concurrency": 4}
        if kind in ("openai", "openai-completions"):
            server = FakeServer(FakeScript.parse(more.pop("options", {})), model="m")
            values |= {"kind": "openai", "base_url": await server.start() + "/v1"}
            values["api"] = "completions" if kind.endswith("completions") else "chat"
        elif kind == "vllm":
            monkeypatch.setenv("PYTHONPATH", str(Path(megadocs.__file__).parents[1]))
            values["command"] = [str(write_command(tmp_path))]
            values["options"] = {"pids": str(tmp_path / "pids")}
        elif kind == "memory":
            values |= {"kind": "fake", "options": {"transport": "memory"}}
        engine = build_engine(EngineConfig.model_validate(values | more))
        await engine.start()
        try:
            await body(engine)
        finally:
            await engine.close()
            await engine.close()  # twice is harmless
            if server is not None:
                await server.close()

    asyncio.run(main())


def write_command(directory: Path) -> Path:
    """An executable like `vllm`; it finds this package by itself, since engines get no PYTHONPATH."""
    command, source = directory / "vllm", Path(megadocs.__file__).parents[1]
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" "{STUB}" "$@"\n')
    command.chmod(0o755)
    return command


@pytest.mark.parametrize("kind", ["fake", "memory", "openai", "openai-completions", "vllm"])
def test_every_engine(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(engine: Engine) -> None:
        if kind == "memory":  # answers without waiting: it has no deadline to miss
            await check_replies(engine, timeout_seconds=5)
        else:
            await check_engine(engine, model="m", concurrency=4)

    run_with(kind, body, tmp_path, monkeypatch)


FAULTS = {
    "429": "rate_limited",
    "429_after": "rate_limited",
    "500": "server_error",
    "503": "server_error",
    "html": "malformed",
    "truncated": "malformed",
    "no_choices": "malformed",
    "drip": "timeout",
    "hang": "timeout",
    "huge": "too_large",
}


@pytest.mark.parametrize("fault, kind", FAULTS.items())
def test_every_fault_is_a_value(fault: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(engine: Engine) -> None:
        began = time.monotonic()
        failure = await engine.complete(completion(timeout_seconds=0.5))
        assert isinstance(failure, EngineFailure)
        assert failure.kind == kind
        assert failure.retry_after_seconds == (0.05 if fault == "429_after" else None)
        assert "one two three" not in failure.message  # never the document's text
        assert time.monotonic() - began < 10
        assert isinstance(await engine.complete(completion()), Reply)  # the second time it works

    run_with("openai", body, tmp_path, monkeypatch, options={"faults": f"{fault}:1.0"})


def test_resets(tmp_path: Path) -> None:
    """A connection that is reset is a failure, a kept one too: the retry layer sends again, and counts it."""

    async def main() -> None:
        server = FakeServer(FakeScript.parse({"faults": "reset:1.0"}))
        client = HttpClient(await server.start())
        bodies = [{"messages": [{"role": "user", "content": f"say {number}"}]} for number in range(2)]
        failure = await client.post_json("/v1/chat/completions", bodies[0], 5)
        assert isinstance(failure, EngineFailure)
        assert failure.kind == "connection"
        assert isinstance(await client.post_json("/v1/chat/completions", bodies[0], 5), dict)
        failure = await client.post_json("/v1/chat/completions", bodies[1], 5)
        assert isinstance(failure, EngineFailure)
        assert failure.kind == "connection"
        assert isinstance(await client.post_json("/v1/chat/completions", bodies[1], 5), dict)
        assert server.num_requests == 4
        await client.close()
        await server.close()

    asyncio.run(main())


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async def main() -> None:
        engine = build_engine(EngineConfig(kind="openai", model="m", base_url="http://127.0.0.1:9/v1"))
        with pytest.raises(EngineError, match="does not answer"):
            await engine.start()
        failure = await engine.complete(completion())
        assert isinstance(failure, EngineFailure)
        assert failure.kind == "connection"
        assert not await engine.is_healthy()
        await engine.close()

    asyncio.run(main())


def test_vllm_leaves_no_process_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(engine: Engine) -> None:
        assert alive(int((tmp_path / "pids").read_text()))

    run_with("vllm", body, tmp_path, monkeypatch)
    wait_gone([int((tmp_path / "pids").read_text())])


def test_vllm_dies_with_its_killed_parent(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from megadocs.generate.engines import build_engine\n"
        "from megadocs.recipe import EngineConfig\n"
        "async def main():\n"
        f"    options = {{'pids': {str(tmp_path / 'pids')!r}}}\n"
        f"    command = [{str(write_command(tmp_path))!r}]\n"
        "    engine = build_engine(EngineConfig(kind='vllm', model='m', command=command, options=options))\n"
        "    await engine.start()\n"
        "    print('started', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(megadocs.__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"started\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_gone([int((tmp_path / "pids").read_text())])


def test_a_vllm_that_does_not_start_says_why(tmp_path: Path) -> None:
    def start(**values: Any) -> None:
        engine = build_engine(EngineConfig.model_validate({"kind": "vllm", "model": "m", **values}))
        asyncio.run(engine.start())

    with pytest.raises(EngineError, match="no such model on this planet"):
        start(command=[str(write_command(tmp_path))], options={"fail": True})
    with pytest.raises(EngineError, match="no command"):
        start(command=["/nowhere/vllm"])


def test_vllm_arguments() -> None:
    config = EngineConfig(kind="vllm", model="org/m", revision="r", context_tokens=4096, concurrency=64)
    options = {
        "gpu_memory_utilization": 0.9,
        "enforce_eager": True,
        "off": False,
        "override_generation_config": {"a": [1]},
    }
    config = config.model_copy(update={"options": options})
    common = ["serve", "org/m", "--host", "127.0.0.1", "--port", "8000", "--max-model-len", "4096"]
    assert serve_arguments(config, 8000, True) == [
        *[*common, "--max-num-seqs", "64", "--enable-prompt-tokens-details", "--revision=r"],
        *["--enforce-eager", "--gpu-memory-utilization=0.9", '--override-generation-config={"a": [1]}'],
    ]


def test_vllm_on_a_cpu_never_splits_a_prompt() -> None:
    config = EngineConfig(kind="vllm", model="m", context_tokens=1024)
    arguments = serve_arguments(config, 8000, False)
    assert "--no-enable-chunked-prefill" in arguments
    assert arguments[arguments.index("--max-num-batched-tokens") + 1] == "4096"
    longer = serve_arguments(config.model_copy(update={"context_tokens": 32768}), 8000, False)
    assert longer[longer.index("--max-num-batched-tokens") + 1] == "32768"  # a step holds the longest prompt
    own = config.model_copy(update={"options": {"max_num_batched_tokens": 512}})
    assert "--no-enable-chunked-prefill" not in serve_arguments(own, 8000, False)


def test_a_home_folder_in_command_and_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(engine: Engine) -> None:
        assert isinstance(await engine.complete(completion()), Reply)
        assert engine.info().identity["model"] == "~/m"

    monkeypatch.setenv("HOME", str(tmp_path))
    write_command(tmp_path)
    options = {"pids": str(tmp_path / "pids")}
    run_with("vllm", body, tmp_path, monkeypatch, command=["~/vllm"], model="~/m", options=options)
    arguments = serve_arguments(EngineConfig(kind="vllm", model="~/m"), 1, True)
    assert arguments[1] == str(tmp_path / "m")
    assert arguments[arguments.index("--served-model-name") + 1] == "~/m"


def test_identities() -> None:
    assert engine_identity(EngineConfig(kind="openai", model="m", revision="r")) == {"model": "m", "revision": "r"}
    with pytest.raises(RecipeError, match="no engine"):
        build_engine(EngineConfig(kind="own"))
    with pytest.raises(RecipeError, match="unknown option"):
        build_engine(EngineConfig(kind="fake", options={"fualts": "503:1"}))
    with pytest.raises(RecipeError, match="unknown option"):
        build_engine(EngineConfig(kind="llamacpp", options={"temprature": 1}))
