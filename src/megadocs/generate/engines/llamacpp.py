"""llama.cpp (`xllamacpp`) in child processes on this machine's CPU: other model families, quantised memory.

`num_servers` processes with `num_threads` each run side by side; every lane of the runner is bound to one server and
one of its slots, so that the generations of a document meet the slot that still holds their prompt. A server that dies
is started again; requests it held come back as `connection` failures and are sent anew by the retry layer.

Measured on two shared cores (SmolLM2-135M, 4-bit): two single-thread servers of 4 slots give 60 new tokens/s each, one
two-thread server 106-130; transformers in bfloat16 gives 130 at batch 8 and 162 at batch 32, but loads for 17 s.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from megadocs.errors import EngineError, RecipeError
from megadocs.generate.engines.child_server import ChildServer, ServerEngine
from megadocs.generate.engines.model_files import find_model
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.recipe import EngineConfig

#: Sampling options of `generate.engine.options`. llama.cpp's own defaults (top_k 40, min_p 0.05) are turned off, so
#: that the recipe says everything about the distribution.
SAMPLING_DEFAULTS: Mapping[str, int | float] = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}

_START_TIMEOUT_SECONDS = 120.0


class LlamaCppEngine(ServerEngine):
    """One or more llama.cpp servers in child processes."""

    def __init__(self, config: EngineConfig, log_dir: Path | None = None) -> None:
        model = find_model(config.model, allow_folder=False)
        servers = [_LlamaCppServer(config, number, log_dir, model) for number in range(config.num_servers)]
        super().__init__(config, servers)

    async def start(self) -> None:
        """Start all servers; a few seconds each for a small model."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError("llama.cpp is not installed", remedy="pip install 'megadocs[demo]'")
        await super().start()

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request, to the server and the slot of its lane."""
        slot = completion.lane // len(self._servers) % self._config.concurrency
        extra = {**SAMPLING_DEFAULTS, **completion.extra, "id_slot": slot}
        return await super().complete(replace(completion, extra=extra))

    @property
    def addresses(self) -> list[str]:
        """Addresses of the servers that run."""
        return [server.address for server in self._servers if server.address is not None]


class _LlamaCppServer(ChildServer):
    """One child process that hosts llama.cpp's server."""

    def __init__(self, config: EngineConfig, number: int, log_dir: Path | None, model: Path) -> None:
        super().__init__(config, number, log_dir, body_extra={"cache_prompt": True})
        self._model = model

    async def launch(self) -> str:
        """Start the process and read its address from its first line."""
        config = self.config
        arguments = ["-m", "megadocs.generate.engines.llamacpp_server", "--model", str(self._model)]
        arguments += ["--slots", str(config.concurrency), "--context-tokens", str(config.context_tokens)]
        await self.spawn([*arguments, "--threads", str(config.num_threads or os.cpu_count() or 1)])
        assert self.process is not None
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                line = await self.process.stdout.readline()
            return str(json.loads(line)["address"])
        except (TimeoutError, ValueError, KeyError) as error:
            raise self.failure("llama.cpp did not start", remedy="is the file a GGUF model?") from error


def checked_options(config: EngineConfig) -> dict[str, Any]:
    """`generate.engine.options` of llamacpp: sampling options only."""
    unknown = sorted(set(config.options) - set(SAMPLING_DEFAULTS))
    if unknown:
        raise RecipeError(
            f"unknown option {unknown[0]!r}",
            where=f"generate.engine.options.{unknown[0]}",
            remedy=f"known options: {', '.join(SAMPLING_DEFAULTS)}",
        )
    return dict(config.options)
