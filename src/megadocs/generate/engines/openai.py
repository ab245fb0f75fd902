"""Any OpenAI-compatible server: vLLM, SGLang, llama.cpp, a gateway, a provider.

The address is `generate.engine.base_url` or OPENAI_BASE_URL (with its `/v1`), the key the one that the person gave for
that address (`recipe.consent.key_for`: OPENAI_API_KEY goes to OPENAI_BASE_URL and nowhere else). Both endpoints are
spoken: `chat` sends messages, `completions` sends their contents as one prompt (base models).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megadocs.errors import EngineError, RecipeError
from megadocs.generate.engines.failures import without_quotes
from megadocs.generate.engines.http_client import HttpClient
from megadocs.generate.engines.protocol import Completion, EngineFailure, EngineInfo, Reply
from megadocs.generate.engines.replies import read_reply
from megadocs.recipe import EngineConfig
from megadocs.recipe.addresses import is_loopback
from megadocs.recipe.consent import key_for

_HEALTH_TIMEOUT_SECONDS = 5.0
_START_TIMEOUT_SECONDS = 10.0


class OpenAIEngine:
    """One OpenAI-compatible server.

    Args:
        log_dir: not used: the server is not ours.
        base_url: overrides the configured address (engines that start their own server use this).
        identity: overrides the model's identity.
        body_extra: fields added to every request body.
    """

    def __init__(
        self,
        config: EngineConfig,
        log_dir: Path | None = None,
        *,
        base_url: str | None = None,
        identity: Mapping[str, Any] | None = None,
        body_extra: Mapping[str, Any] | None = None,
    ) -> None:
        address = base_url or config.base_url or os.environ.get("OPENAI_BASE_URL")
        if not address:
            raise RecipeError(
                "no server address", where="generate.engine.base_url", remedy="set it, or OPENAI_BASE_URL"
            )
        self._config = config
        self._identity = (
            dict(identity) if identity is not None else {"model": config.model, "revision": config.revision}
        )
        self._body_extra = dict(body_extra or {})
        own_server = base_url is not None
        self._client = HttpClient(address, api_key=None if own_server else key_for(address))
        self._served_model: str | None = None
        self._limit_field = "max_tokens"
        self._lists_models = False

    async def start(self) -> None:
        """Ask the server for its models: says at once when nobody is there.

        A list that is refused, slow or absent says nothing about completions (keys without the right to list models
        are common); only the completions decide.
        """
        answer = await self._client.get_json("/models", _START_TIMEOUT_SECONDS)
        if isinstance(answer, EngineFailure) and answer.kind == "connection":
            raise EngineError(
                f"the server does not answer: {answer.message}",
                where=self._client.base_url,
                remedy="start it, or correct generate.engine.base_url",
            )
        self._lists_models = not isinstance(answer, EngineFailure)

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request to `/chat/completions` or `/completions`."""
        path, body = self._body(completion)
        answer = await self._client.post_json(path, body, completion.timeout_seconds)
        if isinstance(answer, EngineFailure) and _wants_other_limit_field(answer) and "max_tokens" in body:
            self._limit_field = "max_completion_tokens"  # learnt once, for all requests
            path, body = self._body(completion)
            answer = await self._client.post_json(path, body, completion.timeout_seconds)
        if isinstance(answer, EngineFailure):
            return without_quotes(answer, (message["content"] for message in completion.messages))
        reply = read_reply(answer, completion.max_new_tokens)
        if isinstance(reply, Reply) and reply.model:  # a reply that names no model is no other model
            if self._served_model is None:
                self._served_model = reply.model
            elif reply.model != self._served_model:
                return EngineFailure(
                    "model_changed", f"the server answers as {reply.model!r}, not {self._served_model!r}"
                )
        return reply

    async def is_healthy(self) -> bool:
        """Whether the server answers; a list of models that never came counts neither way."""
        answer = await self._client.get_json("/models", _HEALTH_TIMEOUT_SECONDS)
        if not isinstance(answer, EngineFailure):
            return True
        if answer.kind in ("timeout", "server_error"):
            return not self._lists_models
        return answer.kind != "connection"

    def info(self) -> EngineInfo:
        """The configured model and address."""
        return EngineInfo(
            identity=self._identity,
            context_tokens=self._config.context_tokens,
            concurrency=self._config.concurrency * self._config.num_servers,
            address=self._client.base_url,
            is_remote=not is_loopback(self._client.base_url),
        )

    async def close(self) -> None:
        """Close the connections; the server is not ours."""
        await self._client.close()

    def _body(self, completion: Completion) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self._config.model,
            self._limit_field: completion.max_new_tokens,
            "temperature": completion.temperature,
            "top_p": completion.top_p,
            "seed": completion.seed,
            **({"stop": list(completion.stop)} if completion.stop else {}),
            **completion.extra,
            **self._body_extra,
        }
        if self._config.api == "chat":
            return "/chat/completions", {**body, "messages": list(completion.messages)}
        prompt = "\n\n".join(message["content"] for message in completion.messages)
        return "/completions", {**body, "prompt": prompt}


def _wants_other_limit_field(failure: EngineFailure) -> bool:
    """Whether a server refuses `max_tokens` in favour of `max_completion_tokens`."""
    if failure.kind != "bad_request" or failure.status not in (400, 422):
        return False
    return failure.param == "max_tokens" or "max_completion_tokens" in failure.message
