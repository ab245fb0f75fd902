"""What the fake engine answers: a pure function of the request body and of how often it was seen, faults included.

A fault script is the `options` of the fake engine:

    faults: "429:0.1,503:0.05,reset:0.02"   # share of first-seen requests that meet a fault once, by kind
    broken: 0.01                            # share of requests that always fail (HTTP 400), by request hash
    odd: "empty:0.1,echo:0.05"              # share of doubtful replies, by request hash (a new seed heals it)
    latency_seconds: 0.01
    reply_characters: 600

Which requests are hit depends on the hash of the body alone, so a run and its resumption meet the same faults.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from megadocs.errors import RecipeError

#: Faults by name: what the server does instead of answering.
FAULTS = ("429", "429_after", "500", "503", "reset", "html", "truncated", "no_choices", "drip", "hang", "huge")
#: Replies of doubtful quality.
ODDITIES = (
    "empty",
    "truncated",
    "echo",
    "refusal",
    "repetition",
    "preamble",
    "control",
    "filtered",
    "reasoning",
    "surrogate",
)

_OPTIONS = {"faults", "broken", "odd", "latency_seconds", "reply_characters", "model_after", "transport"}
_WORDS = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class FakeScript:
    """A parsed fault script; see the module's docstring."""

    faults: Mapping[str, float]
    broken: float
    odd: Mapping[str, float]
    latency_seconds: float
    reply_characters: int
    model_after: int | None
    transport: str

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> FakeScript:
        """From `generate.engine.options`; unknown names are a `RecipeError`."""
        unknown = sorted(set(options) - _OPTIONS)
        if unknown:
            raise RecipeError(
                f"unknown option {unknown[0]!r}",
                where=f"generate.engine.options.{unknown[0]}",
                remedy=f"known options: {', '.join(sorted(_OPTIONS))}",
            )
        after = options.get("model_after")
        return cls(
            faults=_shares(str(options.get("faults", "")), FAULTS, "faults"),
            broken=float(options.get("broken", 0.0)),
            odd=_shares(str(options.get("odd", "")), ODDITIES, "odd"),
            latency_seconds=float(options.get("latency_seconds", 0.0)),
            reply_characters=int(options.get("reply_characters", 400)),
            model_after=None if after is None else int(after),
            transport=str(options.get("transport", "http")),
        )


def request_digest(body: Mapping[str, Any]) -> bytes:
    """32 bytes that identify a request body, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).digest()


def choose_fault(script: FakeScript, digest: bytes, times_seen: int) -> str | None:
    """The fault this request meets, or None. Every fault but `broken` hits a body once."""
    if _unit(digest, 0) < script.broken:
        return "broken"
    return _choose(script.faults, _unit(digest, 1)) if times_seen == 0 else None


def build_reply(script: FakeScript, body: Mapping[str, Any], digest: bytes, model: str) -> dict[str, Any]:
    """The JSON of a good HTTP reply: words of the prompt in an order drawn from the digest."""
    prompt = body.get("prompt") or "\n\n".join(message["content"] for message in body["messages"])
    words = _WORDS.findall(prompt) or ["nothing"]
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[16:24], "little")))
    count = max(1, script.reply_characters // 6)
    text = " ".join(map(words.__getitem__, rng.integers(0, len(words), count).tolist()))
    finish = "stop"
    message: dict[str, Any] = {"role": "assistant", "content": text}
    oddity = _choose(script.odd, _unit(digest, 2))
    if oddity is not None:
        message["content"], finish = _odd_text(oddity, text, prompt)
        if oddity == "reasoning":
            message["reasoning_content"] = "thinking " * 5
    usage = {
        "prompt_tokens": len(words),
        "completion_tokens": count,
        "total_tokens": len(words) + count,
        "prompt_tokens_details": {"cached_tokens": len(words) // 2},
    }
    choice = {"index": 0, "finish_reason": finish, "message": message, "text": message["content"]}
    return {"id": digest.hex()[:16], "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}


def count_prompt_tokens(prompt: str) -> int:
    """Tokens of a prompt as the fake engine counts them: words and punctuation."""
    return len(_WORDS.findall(prompt))


def _odd_text(oddity: str, text: str, prompt: str) -> tuple[str, str]:
    texts = {
        "empty": "  \n",
        "truncated": text,
        "echo": prompt.split('"""')[1].strip() if '"""' in prompt else prompt,
        "refusal": "I'm sorry, but I can't help with that request.",
        "repetition": text + " and so on and so on" * 40,
        "preamble": "Here is the rewritten passage:\n\n" + text,
        "control": text + "<|im_end|>\n<|im_start|>user",
        "filtered": "",
        "reasoning": f"<think>{'hm ' * 5}</think>{text}",
        "surrogate": text + "\ud800",
    }
    finish = {"truncated": "length", "filtered": "content_filter"}.get(oddity, "stop")
    return texts[oddity], finish


def _shares(text: str, known: tuple[str, ...], name: str) -> dict[str, float]:
    """`a:0.1,b:0.2` as a mapping; names are checked."""
    shares: dict[str, float] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, share = item.partition(":")
        if key not in known:
            raise RecipeError(f"unknown {key!r}", where=f"generate.engine.options.{name}", remedy=", ".join(known))
        shares[key] = float(share or 1.0)
    return shares


def _choose(shares: Mapping[str, float], draw: float) -> str | None:
    for name, share in shares.items():
        if draw < share:
            return name
        draw -= share
    return None


def _unit(digest: bytes, number: int) -> float:
    """One of four independent numbers in [0, 1) from a digest."""
    return int.from_bytes(digest[number * 4 : number * 4 + 4], "little") / 2**32
