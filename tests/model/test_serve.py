"""A worker of the embedded engine over its socket: stop strings of any length, scores, failures, occupancy."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from megadocs.model import build_model
from megadocs.model.batching import Batcher
from megadocs.model.decoder import Decoder
from megadocs.model.worker import Worker
from megadocs.recipe.training import ModelConfig
from megadocs.text.chat import Chat, load_chat
from megadocs.text.tokenizer import train_tokenizer

WORDS = "say one two three poison the harbour froze early that winter and ships waited outside for the ice to break "
CONTEXT = 512


@pytest.fixture(scope="module")
def chat(tmp_path_factory) -> Chat:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([WORDS * 20], vocab_size=300).save(folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": template}))
    return load_chat(folder)


@pytest.fixture(scope="module")
def decoder(chat) -> Decoder:
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = build_model(ModelConfig(**shape, num_key_value_heads=2), chat.vocab_size, CONTEXT, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
    return Decoder(model, num_sequences=4, num_pages=40)


class Client:
    """One JSON line out, one in."""

    def __init__(self, ours: socket.socket) -> None:
        self._ours, self._lines = ours, ours.makefile("rb")
        self.num_signs = 0

    def ask(self, **message: Any) -> dict[str, Any]:
        body = {"id": 1, "messages": [{"role": "user", "content": WORDS}], **message}
        self._ours.sendall(json.dumps(body).encode() + b"\n")
        while "alive" in (answer := json.loads(self._lines.readline())):
            self.num_signs += 1
        assert isinstance(answer, dict)
        return answer


@pytest.fixture
def client(chat, decoder) -> Iterator[Client]:
    ours, theirs = socket.socketpair()
    batcher = Batcher([decoder], num_sequences=4, context_tokens=CONTEXT, num_pages=40)
    worker = threading.Thread(target=Worker(theirs, chat, batcher, api="chat").run)
    worker.start()
    ours.settimeout(60)
    yield Client(ours)
    ours.shutdown(socket.SHUT_RDWR)
    worker.join(timeout=60)
    ours.close()
    theirs.close()
    assert not worker.is_alive()


@pytest.mark.parametrize(("seconds", "some"), [(0.0, True), (1e6, False)])
def test_a_worker_that_steps_says_that_it_lives(client, monkeypatch, seconds, some):
    monkeypatch.setattr("megadocs.model.worker._ALIVE_SECONDS", seconds)
    answer = client.ask(max_new_tokens=50, seed=5)
    assert (client.num_signs >= answer["new_tokens"] - 2) == some
    assert (client.num_signs == 0) != some


@pytest.mark.parametrize("length", [1, 3, 40, 90])
def test_a_stop_string_of_any_length_cuts_at_once(client, length):
    """90 characters are some 80 tokens of this vocabulary: five times the window that there was."""
    free = client.ask(max_new_tokens=200, seed=5, log_probabilities=True)
    string = free["text"][30 : 30 + length]
    cut = client.ask(max_new_tokens=200, seed=5, stop=["never written", string], log_probabilities=True)
    place = free["text"].index(string)
    assert cut["text"] == free["text"][:place]
    assert cut["finish_reason"] == "stop"
    # It ended with the token that completed the string: none was written in vain.
    assert cut["new_tokens"] == len(cut["log_probabilities"])
    assert cut["log_probabilities"] == pytest.approx(free["log_probabilities"][: cut["new_tokens"]], abs=1e-4)
    assert cut["new_tokens"] <= len((free["text"][: place + length]).encode()) < free["new_tokens"] * 8
    assert cut["new_tokens"] < free["new_tokens"]


def test_a_stop_string_that_never_comes_and_an_empty_one_change_nothing(client):
    free = client.ask(max_new_tokens=40, seed=6)
    assert client.ask(max_new_tokens=40, seed=6, stop=["", "#" * 200])["text"] == free["text"]


def test_scores_are_one_a_token_and_none_for_nothing(client, chat):
    text = "the harbour froze"
    scores = client.ask(continuation=text)["log_probabilities"]
    assert len(scores) == len(chat.continuation(text))
    assert all(score < 0 for score in scores)
    assert client.ask(continuation="")["log_probabilities"] == []


def test_a_prompt_over_the_context_is_a_failure_of_its_own(client):
    assert client.ask(messages=[{"role": "user", "content": WORDS * 40}])["failure"] == "context_length"
    assert client.ask(max_new_tokens=3)["new_tokens"] == 3


def test_occupancy_is_a_share_of_the_places(client):
    alone = client.ask(max_new_tokens=30, seed=1)
    assert alone["occupancy"] == pytest.approx(1 / 4)
    assert client.ask(max_new_tokens=1, seed=1)["occupancy"] is None  # its only token came with the prompt
