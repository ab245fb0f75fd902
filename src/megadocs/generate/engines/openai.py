"""Any OpenAI-compatible server: vLLM, SGLang, llama.cpp, a gateway, a provider.

The address is `generate.engine.base_url` or OPENAI_BASE_URL (with its `/v1`), the key OPENAI_API_KEY. Both endpoints
are spoken: `chat` sends messages, `completions` sends their contents as one prompt (base models).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from megadocs.errors import EngineError, RecipeError
from megadocs.generate.engines.http_client import HttpClient, is_loopback
from megadocs.generate.engines.protocol import Completion, EngineFailure, EngineInfo, Reply
from megadocs.recipe import EngineConfig

_HEALTH_TIMEOUT_SECONDS = 5.0
_START_TIMEOUT_SECONDS = 10.0


class OpenAIEngine:
    """One OpenAI-compatible server.

    Args:
        config: the recipe's engine section.
        base_url: overrides the configured address (engines that start their own server use this).
        identity: overrides the model's identity.
        body_extra: fields added to every request body.
    """

    def __init__(
        self,
        config: EngineConfig,
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
        self._client = HttpClient(address, api_key=None if own_server else os.environ.get("OPENAI_API_KEY"))
        self._served_model: str | None = None

    async def start(self) -> None:
        """Ask the server for its models: says at once when nobody answers or the key is wrong."""
        answer = await self._client.get_json("/models", _START_TIMEOUT_SECONDS)
        if isinstance(answer, EngineFailure) and answer.kind in ("connection", "timeout", "unauthorised"):
            raise EngineError(
                f"the server does not answer: {answer.message}",
                where=self._client.base_url,
                remedy="start it, or mend generate.engine.base_url and OPENAI_API_KEY",
            )

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request to `/chat/completions` or `/completions`."""
        path, body = self._body(completion)
        answer = await self._client.post_json(path, body, completion.timeout_seconds)
        if isinstance(answer, EngineFailure):
            return answer
        reply = read_reply(answer)
        if isinstance(reply, Reply):
            if self._served_model is None:
                self._served_model = reply.model
            elif reply.model != self._served_model:
                return EngineFailure(
                    "model_changed", f"the server answers as {reply.model!r}, not {self._served_model!r}"
                )
        return reply

    async def is_healthy(self) -> bool:
        """Whether `/models` answers."""
        answer = await self._client.get_json("/models", _HEALTH_TIMEOUT_SECONDS)
        return not isinstance(answer, EngineFailure) or answer.kind in ("bad_request", "malformed")

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
            "max_tokens": completion.max_new_tokens,
            "temperature": completion.temperature,
            "top_p": completion.top_p,
            "seed": completion.seed,
            **completion.extra,
            **self._body_extra,
        }
        if self._config.api == "chat":
            return "/chat/completions", {**body, "messages": list(completion.messages)}
        prompt = "\n\n".join(message["content"] for message in completion.messages)
        return "/completions", {**body, "prompt": prompt}


def read_reply(answer: Mapping[str, Any]) -> Reply | EngineFailure:
    """A server's JSON as a `Reply`; anything that is not as agreed is a `malformed` failure, never a guess."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return EngineFailure("malformed", "the reply has no choices")
    choice = choices[0]
    message = choice.get("message")
    source = message if isinstance(message, dict) else {"content": choice.get("text")}
    text = source.get("content")
    reasoning = source.get("reasoning_content") or source.get("reasoning") or ""
    if text is None and (reasoning or choice.get("finish_reason") in ("content_filter", "length")):
        text = ""
    if not isinstance(text, str) or not isinstance(reasoning, str):
        return EngineFailure("malformed", "the reply has no text")
    finish = choice.get("finish_reason")
    if not isinstance(finish, str):
        return EngineFailure("malformed", "the reply has no finish_reason")
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    return Reply(
        text=text,
        finish_reason=finish,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        new_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
        reasoning=reasoning,
        model=str(answer.get("model", "")),
    )


def _count(value: Any) -> int:
    """A token count as the server gives it; what it does not give is not counted."""
    return value if isinstance(value, int) and 0 <= value < 2**32 else 0
