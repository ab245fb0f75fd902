"""Batched sampling: text from models in this process.

    samples = sample(model, prompts, max_new_tokens=256, temperature=1.0, seeds=[7, 8], eos_id=1)

All prompts at once, through the one decoder of the project (`batching`, `decoder`); the engines, which serve requests
as they come, drive the same `Batcher`. Greedy at temperature 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from megadocs.errors import InputError
from megadocs.model.batching import Batcher, Mix, Request
from megadocs.model.decoder import Decoder
from megadocs.model.llama import Llama
from megadocs.model.paged_cache import PAGE_POSITIONS
from megadocs.model.token_choice import Sampling


@dataclass(frozen=True)
class Sample:
    """New tokens of one sequence, without the end token, and whether it ended by itself."""

    tokens: list[int]
    finished: bool


def build_batcher(
    models: Llama | Sequence[Llama], *, num_sequences: int, context_tokens: int, mix: Mix = "logits"
) -> Batcher:
    """A batcher with memory for as many whole contexts as sequences, and one for the prompt that is being read.

    Args:
        models: one, or several of one vocabulary and device that are averaged at every token; their compute dtype is
            used.
        num_sequences: that take steps together.
        context_tokens: of one sequence, prompt and new tokens.
        mix: of several models the mean logits (one softmax), or the mean probabilities.

    Raises:
        InputError: no model, models of different vocabularies, or a context beyond a model's positions.
    """
    members = [models] if isinstance(models, Llama) else list(models)
    sizes = sorted({model.config.vocab_size for model in members})
    if len(sizes) != 1:
        raise InputError(
            f"the models have different vocabularies: {sizes}" if sizes else "no model to sample from",
            remedy="mix models that were trained with one tokenizer",
        )
    limit = min(model.config.max_position_embeddings for model in members)
    if context_tokens > limit:
        raise InputError(
            f"a context of {context_tokens} tokens does not fit the model's {limit} positions",
            remedy="shorten the prompt or ask for fewer tokens",
        )
    num_pages = (num_sequences + 1) * -(-context_tokens // PAGE_POSITIONS) + 2  # page 0, a prompt's copied last one
    decoders = [Decoder(model, num_sequences=num_sequences, num_pages=num_pages) for model in members]
    return Batcher(decoders, num_sequences=num_sequences, context_tokens=context_tokens, num_pages=num_pages, mix=mix)


def sample(
    models: Llama | Sequence[Llama],
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    seeds: Sequence[int],
    temperature: float = 1.0,
    eos_id: int | None = None,
    mix: Mix = "logits",
) -> list[Sample]:
    """Continue every prompt.

    Args:
        models: as for `build_batcher`.
        prompts: token ids, at least one each.
        max_new_tokens: cut there; prompt and new tokens together must fit the models' positions.
        seeds: one a prompt.
        temperature: divides the logits; 0 takes the likeliest token.
        eos_id: ends a sequence; none: all run to the cut.
        mix: as for `build_batcher`.

    Raises:
        InputError: an empty prompt, another number of seeds, more positions than a model has, or models of different
            vocabularies.
    """
    if len(seeds) != len(prompts) or not prompts or not all(len(prompt) for prompt in prompts):
        raise InputError(f"{len(prompts)} prompts (each of at least one token) need as many seeds, got {len(seeds)}")
    context = max(len(prompt) for prompt in prompts) + max_new_tokens
    batcher = build_batcher(models, num_sequences=len(prompts), context_tokens=context, mix=mix)
    stop_ids = frozenset() if eos_id is None else frozenset({eos_id})
    for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        request = Request(
            key=index,
            prompt=prompt,
            max_new_tokens=max_new_tokens,
            seed=seed,
            sampling=Sampling(temperature),
            stop_ids=stop_ids,
        )
        batcher.submit(request)
    samples: dict[object, Sample] = {}
    while batcher.has_work:
        samples |= {done.key: Sample(done.tokens, done.reason == "stop") for done in batcher.step()}
    return [samples[index] for index in range(len(prompts))]
