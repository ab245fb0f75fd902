"""Small documents and recipes for generation tests; the engine is the fake one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from megadocs.documents import Document
from megadocs.recipe import GenerateConfig


def make_documents(count: int, *, start: int = 0) -> list[Document]:
    words = ["river", "stone", "cloud", "winter", "letter", "garden"]
    words += ["music", "silver", "morning", "harbour", "window", "candle"]
    documents = []
    for number in range(start, start + count):
        text = " ".join(f"{words[(number * 7 + place * place) % 12]}{(number + place) % 10}" for place in range(60))
        documents.append(Document(f"doc-{number}", text))
    return documents


def make_config(**changes: Any) -> GenerateConfig:
    options = changes.pop("options", {})
    engine = {"kind": "fake", "model": "fake-1", "concurrency": 4, "options": {"transport": "memory", **options}}
    engine |= changes.pop("engine", {})
    data: dict[str, Any] = {
        "engine": engine,
        "rephrase": {"num_generations": 2, "max_new_tokens": 64},
        "thought": {"num_generations": 3, "max_new_tokens": 32},
        "attempt_timeout_seconds": 5,
    }
    return GenerateConfig.model_validate(data | changes)


@pytest.fixture
def documents() -> Callable[..., list[Document]]:
    return make_documents


@pytest.fixture
def config() -> Callable[..., GenerateConfig]:
    return make_config
