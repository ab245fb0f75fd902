"""The task `sample`: unconditional text from a model, without a source document and without a prompt.

    config.sample                      # how many, how long, at which temperature
    for request in iter_samples(config, info): ...

Requests, ledger, retries and accounting are those of the other tasks. A record's `document_id` is null; the request
stands for a document of its own, named by its identity. The identity covers the teacher through the engine's model
and revision.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from megadocs.documents import Document
from megadocs.errors import RecipeError
from megadocs.generate.engines import EngineInfo
from megadocs.generate.judgement import Judge
from megadocs.generate.requests import GenerationRequest, RequestTemplate, Sampling, build_request
from megadocs.generate.styles import Style
from megadocs.kinds import SAMPLE
from megadocs.recipe import GenerateConfig
from megadocs.seeding import text_digest

#: What stands for a prompt style where there is no prompt.
UNCONDITIONAL = Style(
    name="unconditional",
    task=SAMPLE,
    version=1,
    language="same",
    description="No prompt: the model's own text from the start of a document.",
    system=None,
    user="",
    digest=hashlib.sha256(b"megadocs unconditional sample 1").hexdigest(),
)


def iter_samples(config: GenerateConfig, info: EngineInfo) -> Iterator[GenerationRequest]:
    """The requests of the task `sample`, one for each sample; the first N of more samples are the same requests.

    Raises:
        RecipeError: the task is not configured, or its length limit was left open.
    """
    section = config.sample
    if section is None or section.max_new_tokens is None:
        raise RecipeError(
            "the recipe asks for no samples",
            where="generate.sample",
            remedy="add generate.sample with its max_new_tokens",
        )
    template = RequestTemplate(
        kind=SAMPLE,
        style=UNCONDITIONAL,
        language="same",
        sampling=Sampling(section.temperature, 1.0, section.max_new_tokens, {}),
        model=info.identity,
        api="completions",
        seed=config.seed,
        judge=Judge.of(config),
    )
    digest, nothing = text_digest(""), Document("", "")
    for generation in range(section.num_samples):
        request = build_request(template, nothing, digest, generation=generation, num_generations=section.num_samples)
        yield replace(request, document=Document(request.identity, ""))
