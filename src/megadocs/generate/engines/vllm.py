"""vLLM servers, started from an environment of their own and watched: one per GPU.

`generate.engine.command` is what stands before `serve`: `[/path/to/venv/bin/vllm]`, an interpreter with
`-m vllm.entrypoints.cli.main`, or a container command that passes the port through. vLLM pins its own torch, so it is
never imported here. Options of the recipe become command-line options: `{"gpu_memory_utilization": 0.9}` is
`--gpu-memory-utilization 0.9`.

vLLM's sampling is not reproducible from the seed alone: a generation that is sent again may come back different.
Records are still exactly one each.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from megadocs.errors import EngineError
from megadocs.generate.engines import supervise
from megadocs.generate.engines.child_server import ChildServer, ServerEngine
from megadocs.generate.engines.http_client import HttpClient
from megadocs.generate.engines.protocol import EngineFailure
from megadocs.recipe import EngineConfig
from megadocs.recipe.consent import check_options
from megadocs.recipe.paths import user_path

_START_TIMEOUT_SECONDS = 1800.0
_POLL_SECONDS = 0.5
_DEFAULT_COMMAND = ["vllm"]
#: Device files of NVIDIA, AMD, TPU, Gaudi and Ascend; Intel's GPUs share theirs with displays and name their options.
_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel", "/dev/davinci_manager", "/dev/hl0")
#: Options of the recipe that say how prompts are scheduled.
_SCHEDULING = {"enable_chunked_prefill", "no_enable_chunked_prefill", "max_num_batched_tokens"}
#: Tokens that a step reads on a CPU, at least (a step must hold the longest prompt).
_CPU_STEP_TOKENS = 4096


class VllmEngine(ServerEngine):
    """`num_servers` vLLM servers; with more than one, server i sees GPU i only."""

    def __init__(self, config: EngineConfig, log_dir: Path | None = None) -> None:
        super().__init__(config, [_VllmServer(config, number, log_dir) for number in range(config.num_servers)])


class _VllmServer(ChildServer):
    """One `vllm serve` under a supervisor that ends with us."""

    async def launch(self) -> str:
        """Start the command and wait until `/health` answers."""
        first, *rest = self.config.command or _DEFAULT_COMMAND
        command = [str(user_path(first)), *rest]
        if shutil.which(command[0]) is None:
            raise EngineError(
                f"no command {command[0]!r}",
                where="generate.engine.command",
                remedy="name the vllm executable of its own environment (docs/generation.md)",
            )
        port = _free_port()
        arguments = [supervise.__file__, *command, *serve_arguments(self.config, port, _has_accelerator())]
        await self.spawn(arguments, self._environment(), keeps_output=True)
        address = f"http://127.0.0.1:{port}"
        client = HttpClient(address)
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        try:
            while time.monotonic() < deadline:
                assert self.process is not None
                if self.process.returncode is not None:
                    break
                answer = await client.get_json("/v1/models", 5.0)
                if not isinstance(answer, EngineFailure):
                    return address
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            await client.close()
        raise self.failure("vLLM did not start", remedy="run the command by hand; see docs/generation.md")

    def _environment(self) -> Mapping[str, str]:
        """Ours without our module path (vLLM has its own), with the GPU of this server when there are several."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if self.config.num_servers > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(self.number)
        return environment


def serve_arguments(config: EngineConfig, port: int, has_accelerator: bool) -> list[str]:
    """The command line after the command: `serve MODEL --host ... --option value`.

    On a CPU no prompt is read in two steps: vLLM's CPU worker cannot go on with the random numbers of a seeded request
    whose prefill was split ("CPU Generator does not use offset") and dies. Options of the recipe go before this.
    """
    arguments = ["serve", str(user_path(config.model)) if config.model.startswith("~") else config.model]
    arguments += ["--host", "127.0.0.1", "--port", str(port)]
    if config.model.startswith("~"):
        arguments += ["--served-model-name", config.model]
    arguments += ["--max-model-len", str(config.context_tokens), "--max-num-seqs", str(config.concurrency)]
    if not has_accelerator and not _SCHEDULING & set(config.options):
        tokens = max(config.context_tokens, _CPU_STEP_TOKENS)
        arguments += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(tokens)]
    arguments.append("--enable-prompt-tokens-details")  # says how much of a prompt its prefix cache had
    if config.revision is not None:
        arguments.append(f"--revision={config.revision}")
    check_options(config)
    for name, value in sorted(config.options.items()):
        flag = "--" + name.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif value is not False:
            text = json.dumps(value) if isinstance(value, dict | list) else str(value)
            arguments.append(f"{flag}={text}")  # one word: a value is never read as another option
    return arguments


def _has_accelerator() -> bool:
    return any(Path(device).exists() for device in _ACCELERATORS)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
