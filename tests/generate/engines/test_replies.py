"""A server's JSON in every dialect, and JSON that nobody agreed on."""

from __future__ import annotations

import copy
import json
import math
import random
from typing import Any

import pytest

from megadocs.generate.engines.protocol import EngineFailure, Reply
from megadocs.generate.engines.replies import read_reply


def answer(message: Any = None, *, usage: Any = "good", finish: Any = "stop", **changes: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish, "message": {"content": "words"} if message is None else message}
    value: dict[str, Any] = {"model": "m", "choices": [choice]}
    value["usage"] = {"prompt_tokens": 50, "completion_tokens": 20} if usage == "good" else usage
    return value | changes


def read(*args: Any, **kwargs: Any) -> Reply:
    reply = read_reply(answer(*args, **kwargs), 64)
    assert isinstance(reply, Reply), reply
    return reply


@pytest.mark.parametrize(
    "content, text, reasoning",
    [
        ("words", "words", ""),
        ([{"type": "text", "text": "wor"}, {"type": "text", "text": "ds"}], "words", ""),
        ([{"type": "output_text", "text": "words"}], "words", ""),
        ({"type": "text", "text": "words"}, "words", ""),
        (["words"], "words", ""),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "words"}], "words", "hm"),
        ([{"type": "reasoning", "summary": [{"text": "hm"}]}, {"type": "text", "text": "words"}], "words", "hm"),
        (None, "", ""),
        ([], "", ""),
    ],
)
def test_content(content: Any, text: str, reasoning: str) -> None:
    reply = read({"content": content})
    assert (reply.text, reply.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": "plan"},
        {"reasoning": "plan", "reasoning_content": None},
        {"reasoning_content": "plan"},
        {"reasoning": {"text": "plan"}},
        {"reasoning": [{"content": "plan"}]},
        {"thinking": "plan"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "plan"}]},
    ],
)
def test_reasoning_beside_the_text(fields: dict[str, Any]) -> None:
    reply = read({"content": "words", **fields})
    assert (reply.text, reply.reasoning) == ("words", "plan")


@pytest.mark.parametrize(
    "finish, new_tokens, expected",
    [
        ("stop", 20, "stop"),
        ("length", 20, "length"),
        (None, 20, "stop"),
        ("", 20, "stop"),
        (None, 64, "length"),  # all that it was allowed
        (7, 20, "stop"),
        ("MAX_TOKENS", 20, "length"),
        ("end_turn", 20, "stop"),
        ("SAFETY", 20, "content_filter"),
        ("tool_calls", 20, "tool_calls"),
    ],
)
def test_finish_reasons(finish: Any, new_tokens: int, expected: str) -> None:
    assert read(finish=finish, usage={"completion_tokens": new_tokens}).finish_reason == expected


def test_a_choice_without_a_finish_reason() -> None:
    reply = read_reply({"choices": [{"message": {"content": "words"}}]})
    assert isinstance(reply, Reply)
    assert (reply.finish_reason, reply.model) == ("stop", "")


@pytest.mark.parametrize(
    "usage, counts",
    [
        ({"prompt_tokens": 50, "completion_tokens": 20}, (50, 20)),
        ({"prompt_tokens": 50.0, "completion_tokens": 20.0}, (50, 20)),
        ({"input_tokens": 50, "output_tokens": 20}, (50, 20)),
        ({"prompt_tokens": "50", "completion_tokens": True}, (None, None)),
        ({"prompt_tokens": -1, "completion_tokens": 2**40}, (None, None)),
        ({"prompt_tokens": math.nan, "completion_tokens": math.inf}, (None, None)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (None, None)),  # there were words
        ({}, (None, None)),
        (None, (None, None)),
        ([1], (None, None)),
    ],
)
def test_usage(usage: Any, counts: tuple[int | None, int | None]) -> None:
    reply = read(usage=usage)
    given = ("prompt_tokens" not in reply.uncounted, "new_tokens" not in reply.uncounted)
    assert (reply.prompt_tokens if given[0] else None, reply.new_tokens if given[1] else None) == counts


def test_a_refusal_instead_of_content() -> None:
    reply = read({"content": None, "refusal": "I cannot help with that."})
    assert (reply.text, reply.finish_reason) == ("I cannot help with that.", "content_filter")


def test_the_choice_of_index_0() -> None:
    second = {"index": 1, "finish_reason": "stop", "message": {"content": "second"}}
    first = {"index": 0, "finish_reason": "stop", "message": {"content": "first"}}
    assert read(choices=[second, first]).text == "first"


@pytest.mark.parametrize("model, name", [("m", "m"), (None, ""), (3, ""), ("", "")])
def test_a_model_that_is_not_named_has_no_name(model: Any, name: str) -> None:
    assert read(model=model).model == name


@pytest.mark.parametrize(
    "value", [{}, {"choices": None}, {"choices": []}, {"choices": ["x"]}, {"choices": [{}]}, answer({"content": 3})]
)
def test_what_is_no_reply(value: dict[str, Any]) -> None:
    failure = read_reply(value)
    assert isinstance(failure, EngineFailure)
    assert failure.kind == "malformed"


ODD: list[Any] = [None, True, 0, -1, 1e308, math.nan, "", "x", [], {}, [None], [[]], {"text": {"text": []}}, ["x", 3]]


def mutated(value: Any, rng: random.Random) -> Any:
    """A copy with one place replaced, removed or repeated."""
    value = copy.deepcopy(value)
    place = value
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
            action = rng.random()
            if action < 0.7:
                place[key] = rng.choice(ODD)
            elif isinstance(place, dict):
                del place[key]
            else:
                place.append(inner)
            return value
        place = inner
    return value


def test_mutated_answers_never_raise() -> None:
    rng = random.Random(11)
    parts = [{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "words"}]
    seeds = [answer(), answer({"content": parts, "reasoning_details": [{"text": "x"}]}), answer({"refusal": "no"})]
    for number in range(5000):
        value = seeds[number % len(seeds)]
        for _ in range(rng.randrange(1, 5)):
            value = mutated(value, rng)
        reply = read_reply(value, 64)
        assert isinstance(reply, Reply | EngineFailure)
        if isinstance(reply, Reply):
            json.dumps([reply.text, reply.reasoning, reply.finish_reason, reply.model])
            assert all(0 <= count < 2**32 for count in (reply.prompt_tokens, reply.new_tokens))


@pytest.mark.parametrize("finish", ["error", "abort", "ERROR", "insufficient_system_resource"])
def test_half_a_text_is_no_text(finish: str) -> None:
    failure = read_reply(answer({"content": "half a sen"}, finish=finish))
    assert isinstance(failure, EngineFailure)
    assert (failure.kind, failure.code) == ("server_error", finish.lower())
    assert "broke off" in failure.message


def test_cached_tokens_are_a_part_of_the_prompt() -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 500}}
    assert read(usage=usage).cached_tokens == 50
    assert read(usage={**usage, "prompt_tokens": None}).cached_tokens == 0


@pytest.mark.parametrize("key", ["message", "detail", "status"])
def test_a_reply_that_is_none_says_why(key: str) -> None:
    failure = read_reply({key: "model is being loaded\n"})
    assert isinstance(failure, EngineFailure)
    assert failure.message == "the reply has no choices: model is being loaded"
