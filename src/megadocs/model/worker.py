"""One worker of the embedded engine: requests come over a socket, one JSON object a line, and go into its batcher.

    {"id": 3, "messages": [...], "max_new_tokens": 160, "seed": 11, "temperature": 1.0, "top_p": 0.95}
    {"id": 3, "text": "...", "finish_reason": "stop", "prompt_tokens": 220, "new_tokens": 131, ...}
    {"id": 4, "failure": "context_length", "message": "a prompt of 3000 tokens in a context of 2048"}

`{"cancel": 3}` forgets a request, `{"ping": 1}` is answered between two steps. While it works the worker says
`{"alive": true}` once a second: how long a reply takes is the batch's business, and no sign that anything is wrong.
With `continuation` a given text is scored instead: the log-probabilities of its tokens behind the prompt. The worker
ends when the socket closes.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megadocs.errors import InputError
from megadocs.model.batching import Batcher, Finished, Request
from megadocs.model.token_choice import Sampling
from megadocs.text.chat import Chat

_RECEIVE_BYTES = 1 << 16
#: Tokens beyond those that can hold a stop string: the first one of a window may lose its blank or half a character.
_STOP_TOKENS_BEFORE = 4
_ALIVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is remembered of a request until it is answered."""

    prompt_tokens: int
    stop: tuple[str, ...]


class Worker:
    """Serves one socket.

    Args:
        connection: to the engine.
        chat: the model's template and tokenizer.
        api: `chat`: messages go through the template; `completions`: their contents are one text to be continued.
    """

    def __init__(self, connection: socket.socket, chat: Chat, batcher: Batcher, *, api: str) -> None:
        self._socket, self._chat, self._batcher, self._api = connection, chat, batcher, api
        self._asked: dict[int, _Asked] = {}
        self._received = b""
        self._last_sign = 0.0

    def run(self) -> None:
        """Until the socket closes."""
        while self._receive():
            if self._batcher.has_work:
                for finished in self._batcher.step():
                    self._reply(finished)
                if time.monotonic() >= self._last_sign + _ALIVE_SECONDS:
                    self._send({"alive": True})

    def _receive(self) -> bool:
        """Take in what has come, waiting for it when there is nothing else to do; False at the end."""
        while True:
            wait = 0.0 if self._batcher.has_work else None
            if not select.select([self._socket], [], [], wait)[0]:
                return True
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                return False
            *lines, self._received = (self._received + data).split(b"\n")
            for line in lines:
                self._handle(json.loads(line))

    def _handle(self, message: Mapping[str, Any]) -> None:
        if "ping" in message:
            self._send({"pong": message["ping"]})
        elif "cancel" in message:
            self._asked.pop(message["cancel"], None)
            self._batcher.cancel(message["cancel"])
        else:
            self._submit(message)

    def _submit(self, message: Mapping[str, Any]) -> None:
        key = message["id"]
        try:
            prompt = self._prompt(message["messages"])
        except InputError as error:
            self._send({"id": key, "failure": "bad_request", "message": error.what})
            return
        stop = tuple(string for string in message.get("stop", ()) if string)  # the empty one is everywhere
        scored = None if "continuation" not in message else self._chat.continuation(message["continuation"])
        if scored == []:
            self._send({"id": key, "log_probabilities": []})
            return
        request = Request(
            key=key,
            prompt=prompt,
            max_new_tokens=message.get("max_new_tokens", 1),
            seed=message.get("seed", 0),
            sampling=Sampling(
                temperature=message.get("temperature", 1.0),
                top_k=message.get("top_k", 0),
                top_p=message.get("top_p", 1.0),
                min_p=message.get("min_p", 0.0),
                frequency_penalty=message.get("frequency_penalty", 0.0),
            ),
            stop_ids=self._chat.stop_ids,
            stops=self._stop_function(stop) if stop else None,
            wants_log_probabilities=bool(message.get("log_probabilities")),
            continuation=scored or (),
        )
        try:
            self._batcher.submit(request)
        except InputError as error:
            self._send({"id": key, "failure": "context_length", "message": error.what})
            return
        self._asked[key] = _Asked(len(prompt), stop)

    def _prompt(self, messages: list[dict[str, str]]) -> list[int]:
        if self._api == "chat":
            return self._chat.prompt(messages)
        return self._chat.plain_prompt("\n\n".join(message["content"] for message in messages))

    def _stop_function(self, stop: tuple[str, ...]) -> Callable[[list[int]], bool]:
        """Whether the last tokens hold a stop string: a token that shows anything shows a byte at least."""
        window = max(len(string.encode("utf-8", "surrogatepass")) for string in stop) + _STOP_TOKENS_BEFORE
        return lambda tokens: self._cut(tokens[-window:], stop) is not None

    def _cut(self, tokens: list[int], stop: tuple[str, ...]) -> str | None:
        """The text before the first stop string in it; None: there is none."""
        text = self._chat.decode(tokens)
        places = [place for place in (text.find(string) for string in stop) if place >= 0]
        return text[: min(places)] if places else None

    def _reply(self, finished: Finished) -> None:
        asked = self._asked.pop(int(str(finished.key)), None)
        if asked is None:
            return
        cut = self._cut(finished.tokens, asked.stop) if asked.stop else None
        ended = finished.reason == "stop" and cut is None  # by a token, which was drawn, too
        self._send(
            {
                "id": finished.key,
                "text": self._chat.decode(finished.tokens) if cut is None else cut,
                "finish_reason": finished.reason if cut is None else "stop",
                "prompt_tokens": asked.prompt_tokens,
                "new_tokens": len(finished.tokens) + ended,
                "cached_tokens": finished.cached_tokens,
                "log_probabilities": finished.log_probabilities,
                "occupancy": finished.occupancy,
            }
        )

    def _send(self, message: Mapping[str, Any]) -> None:
        self._last_sign = time.monotonic()
        self._socket.sendall(json.dumps(message).encode() + b"\n")
