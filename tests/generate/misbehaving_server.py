"""A real server on loopback whose behaviour is a name: what engines meet in the wild, one function a behaviour.

    async with Misbehaving("quota") as server:       # server.address + "/v1"; server.num_posts

A behaviour is a function (body, number of the request) -> answer; an answer is a reply's JSON, a `(status, JSON)` pair
or an aiohttp response.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

Answer = dict[str, Any] | tuple[int, Any] | web.Response
Behaviour = Callable[[dict[str, Any], int], Answer]

#: What a good reply is made of: two sentences that are no copy, differ by seed, and pass every gate.
TEXT = "A rewritten passage on the harbour, the ice and the boats of that winter, number {seed}. It has a second line."


def good(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A whole reply; `changes` go into its message."""
    message = {"role": "assistant", "content": TEXT.format(seed=body.get("seed")), **changes}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70}
    return {"id": "x", "object": "chat.completion", "model": body.get("model"), "choices": [choice], "usage": usage}


def without(body: dict[str, Any], *path: str | int) -> dict[str, Any]:
    """A good reply that lacks one place."""
    reply = good(body)
    place: Any = reply
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    return reply


def wrapped(before: str, between: str, behind: str = "") -> Behaviour:
    """Replies with reasoning (the word PLAN) inside their text."""
    return lambda body, _: good(body, content=f"{before}We PLAN this.{between}{TEXT.format(seed=body['seed'])}{behind}")


def error(status: int, message: str, **fields: Any) -> tuple[int, Any]:
    return status, {"error": {"message": message, **fields}}


def page(status: int) -> web.Response:
    return web.Response(status=status, text="<html>hello</html>", content_type="text/html")


def echoed(body: dict[str, Any], _: int) -> Answer:
    return good(body, content=body["messages"][-1]["content"].split('"""')[1].strip() + f" {body['seed']}")


def wants_other_limit(body: dict[str, Any], _: int) -> Answer:
    if "max_tokens" in body:
        message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        return error(400, message, param="max_tokens", code="unsupported_parameter")
    return good(body)


def first(count: int, answer: Callable[[], Answer]) -> Behaviour:
    """Something else for the first requests, then good replies."""
    return lambda body, number: answer() if number <= count else good(body)


def after(count: int, answer: Callable[[], Answer]) -> Behaviour:
    """Good replies, then something else."""
    return lambda body, number: good(body) if number <= count else answer()


def only(place: int, answer: Callable[[], Answer]) -> Behaviour:
    return lambda body, number: answer() if number == place else good(body)


def always(answer: Callable[[], Answer]) -> Behaviour:
    return lambda body, number: answer()


def event_stream(body: dict[str, Any]) -> web.Response:
    return web.Response(text=f"data: {json.dumps(good(body))}\n\ndata: [DONE]\n\n", content_type="text/event-stream")


def changed(body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return good(body) | fields


#: Every document gets its text; nothing of the reasoning.
SERVES: dict[str, Behaviour] = {
    "plain": lambda body, _: good(body),
    "parts": lambda body, _: good(body, content=[{"type": "text", "text": TEXT.format(seed=body["seed"])}]),
    "no usage": lambda body, _: without(body, "usage"),
    "null usage": lambda body, _: changed(body, usage=None),
    "usage as floats": lambda body, _: changed(body, usage={"prompt_tokens": 50.0, "completion_tokens": 20.0}),
    "no finish reason": lambda body, _: without(body, "choices", 0, "finish_reason"),
    "no model": lambda body, _: without(body, "model"),
    "null model": lambda body, _: changed(body, model=None),
    "model now and then": lambda body, number: good(body) if number % 3 else without(body, "model"),
    "status 201": lambda body, _: (201, good(body)),
    "text content type": lambda body, _: web.Response(text=json.dumps(good(body))),
    "byte order mark": lambda body, _: web.Response(
        body=b"\xef\xbb\xbf" + json.dumps(good(body)).encode(), content_type="application/json"
    ),
    "reversed choices": lambda body, _: changed(
        body, choices=[good(body, content="second")["choices"][0] | {"index": 1}, *good(body)["choices"]]
    ),
    "reasoning as an object": lambda body, _: good(body, reasoning={"text": "PLAN"}),
    "reasoning details": lambda body, _: good(body, reasoning_details=[{"type": "reasoning.text", "text": "PLAN"}]),
    "closing tag only": wrapped("", "\n</think>\n\n"),
    "tag behind text": wrapped("Sure. <think>", "</think>"),
    "channels": wrapped("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "bare channels": wrapped("analysis", "assistantfinal"),
    "other limit field": wants_other_limit,
    "loading": first(6, lambda: error(503, "Loading model", type="unavailable_error")),
    "busy": first(3, lambda: error(409, "busy")),
    "overloaded": first(3, lambda: error(529, "overloaded", type="overloaded_error")),
    "bad gateway": first(3, lambda: page(502)),
    "limited within a 200": lambda body, number: (
        {"error": {"message": "slow down", "code": 429}} if number % 2 else good(body)
    ),
}

#: Nothing can be served: the run stops early and says why. Name -> (behaviour, words of the message).
REFUSES: dict[str, tuple[Behaviour, str]] = {
    "wrong path": (always(lambda: (404, {"detail": "Not Found"})), "HTTP 404"),
    "unknown model": (always(lambda: error(404, "The model `x` does not exist.", code="model_not_found")), "does not"),
    "no money": (always(lambda: error(402, "Insufficient Balance")), "Insufficient Balance"),
    "no money later": (after(5, lambda: error(402, "Insufficient Balance")), "Insufficient Balance"),
    "quota": (always(lambda: error(429, "over your quota", code="insufficient_quota")), "insufficient_quota"),
    "wrong key": (always(lambda: error(401, "Incorrect API key")), "Incorrect API key"),
    "forbidden": (always(lambda: error(403, "Missing scopes: api.model.request")), "Missing scopes"),
    "extra field": (
        always(lambda: (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra"}]})),
        "extra_forbidden (seed)",
    ),
    "login page": (always(lambda: page(200)), "bytes of text/html"),
    "redirect": (
        always(lambda: web.Response(status=308, headers={"Location": "http://127.0.0.1:1/v1"})),
        "redirect to http://127.0.0.1:1/v1",
    ),
    "accepted for later": (always(lambda: (202, {"id": "job"})), "no choices"),
    "no content": (always(lambda: web.Response(status=204)), "not JSON"),
    "event stream": (lambda body, _: event_stream(body), "text/event-stream"),
    "null choices": (lambda body, _: changed(body, choices=None), "no choices"),
    "small context": (always(lambda: (400, {"message": "maximum context length is 9 tokens"})), "9 tokens"),
    "everything filtered": (always(lambda: error(400, "no", code="content_filter")), "content_filter"),
    "another model": (
        lambda body, number: changed(body, model=body["model"] + ("-b" if number > 5 else "")),
        "answers as",
    ),
}

#: One document is refused, the others get their text. Name -> (behaviour, error class).
REFUSES_ONE: dict[str, tuple[Behaviour, str]] = {
    "filtered 403": (only(4, lambda: error(403, "no", code="content_filter")), "refused"),
    "filtered 400": (only(1, lambda: error(400, "no", type="content_policy_violation")), "refused"),
    "too long": (only(3, lambda: error(400, "the request exceeds the available context size")), "context_length"),
    "too large": (only(2, lambda: page(413)), "context_length"),
    "bad request": (only(2, lambda: error(400, "odd")), "bad_request"),
}

#: Replies whose text does not count.
DOUBTFUL: dict[str, tuple[Behaviour, str]] = {
    "null content": (lambda body, _: good(body, content=None), "empty"),
    "reasoning to the limit": (
        lambda body, _: changed(
            body,
            choices=[{**good(body, content=None, reasoning="PLAN")["choices"][0], "finish_reason": "length"}],
        ),
        "empty",
    ),
    "a thought cut off": (lambda body, _: good(body, content="<think>We PLAN"), "empty"),
    "tool calls": (lambda body, _: good(body, content=None, tool_calls=[{"id": "1", "type": "function"}]), "empty"),
    "a refusal": (lambda body, _: good(body, content=None, refusal="I cannot help with that."), "filtered"),
    "a copy": (echoed, "echo"),
}

#: What `/models` may answer while completions are served.
MODEL_LISTS: dict[str, Callable[[], Answer]] = {
    "401": lambda: error(401, "bad key"),
    "403": lambda: error(403, "Missing scopes: api.model.read"),
    "404": lambda: (404, {"error": "no"}),
    "500": lambda: (500, {"error": "x"}),
    "a bare list": lambda: web.json_response(["a"]),
    "a page": lambda: page(200),
    "a redirect": lambda: web.Response(status=301, headers={"Location": "http://127.0.0.1:1/"}),
}


class Misbehaving:
    """The server, while its block lasts."""

    def __init__(self, behaviour: Behaviour, models: Callable[[], Answer] | None = None) -> None:
        self.num_posts = 0
        self.bodies: list[dict[str, Any]] = []
        self.address = ""
        self._behaviour, self._models = behaviour, models
        self.models_seconds = 0.0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._post)
        app.router.add_get("/v1/models", self._get)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.num_posts += 1
        self.bodies.append(copy.deepcopy(body))
        return _response(self._behaviour(body, self.num_posts))

    async def _get(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.models_seconds)
        return _response(self._models() if self._models is not None else {"data": [{"id": "the-model"}]})


def _response(answer: Answer) -> web.Response:
    if isinstance(answer, web.Response):
        return answer
    status, value = answer if isinstance(answer, tuple) else (200, answer)
    return web.json_response(value, status=status)
