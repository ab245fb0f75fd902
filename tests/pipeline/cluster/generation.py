"""Documents and a configuration for the fake engine with two servers."""

from __future__ import annotations

import random

from megadocs.documents import Document
from megadocs.recipe import GenerateConfig
from pipeline.corpora import WORDS


def make_documents(count):
    draw = random.Random(0)
    return [Document(f"doc-{number}", " ".join(draw.choices(WORDS, k=60))) for number in range(count)]


def make_config(*, options=None, engine=None):
    data = {"kind": "fake", "model": "fake-1", "num_servers": 2, "concurrency": 4}
    data |= {"options": {"transport": "memory", **(options or {})}} | (engine or {})
    if data["kind"] != "fake":
        data["options"] = {}
    return GenerateConfig.model_validate({"engine": data, "rephrase": {"num_generations": 2, "max_new_tokens": 60}})
