"""Batched sampling with a key-value cache: text from a model trained here, fast enough on a CPU.

    texts = sample(model, prompts, max_new_tokens=256, temperature=1.0, seeds=[7, 8], eos_id=1)

One forward pass a new token for the whole batch, over caches filled in place; prompts of different lengths are padded
on the left and masked. Each sequence draws from a generator of its own, seeded by its entry in `seeds`, so that on
one machine its text depends on its prompt and seed, and on the company it is computed in only through rounding.
Greedy at temperature 0. transformers' `generate` spends most of its time, for students of this size, in bookkeeping
between small products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from megadocs.errors import InputError
from megadocs.model.decoder import Decoder
from megadocs.model.llama import Llama

#: What is averaged of several models before the next token is drawn.
Mix = Literal["logits", "probabilities"]

#: Ended sequences leave the batch when no more than this share is still going: leaving costs a copy of the cache.
_DROP_BELOW = 0.75

#: Tokens a block of the vocabulary in which a draw is looked up.
_BLOCK = 64


@dataclass(frozen=True)
class Sample:
    """New tokens of one sequence, without the end token, and whether it ended by itself."""

    tokens: list[int]
    finished: bool


@torch.inference_mode()
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
        models: one, or several of one vocabulary and device that are averaged at every token; their compute dtype is
            used.
        prompts: token ids, at least one each.
        max_new_tokens: cut there; prompt and new tokens together must fit the models' positions.
        seeds: one a prompt.
        temperature: divides the logits; 0 takes the likeliest token.
        eos_id: ends a sequence; none: all run to the cut.
        mix: of several models the mean logits (one softmax), or the mean probabilities.

    Raises:
        InputError: an empty prompt, another number of seeds, more positions than a model has, or models of different
            vocabularies.
    """
    members = [models] if isinstance(models, Llama) else list(models)
    longest = _check(members, prompts, seeds, max_new_tokens)
    length = longest + max_new_tokens
    decoders = [Decoder(model, num_sequences=len(prompts), length=length) for model in members]
    tokens_BT, padding_B = _left_pad(prompts, longest, decoders[0].device)
    uniform_BN = torch.stack([_uniform(seed, max_new_tokens) for seed in seeds])
    new_tokens: list[list[int]] = [[] for _ in prompts]
    finished = [False] * len(prompts)
    active = list(range(len(prompts)))  # sequence of each line of the batch; ended ones stay until `_drop_ended`
    for position in range(max_new_tokens):
        logits_BV = _mixed([decoder.feed(tokens_BT, padding_B) for decoder in decoders], mix)
        chosen_B = _choose(logits_BV, temperature, uniform_BN[:, position])
        for index, token in zip(active, chosen_B.tolist(), strict=True):
            if finished[index]:
                continue
            if token == eos_id:
                finished[index] = True
            else:
                new_tokens[index].append(token)
        if all(finished):
            break
        tokens_BT = chosen_B.to(decoders[0].device).unsqueeze(1)
        lines = [line for line, index in enumerate(active) if not finished[index]]
        if len(lines) <= _DROP_BELOW * len(active):
            active = [active[line] for line in lines]
            kept = torch.tensor(lines, device=decoders[0].device)
            uniform_BN = uniform_BN[kept.cpu()]
            tokens_BT, padding_B = tokens_BT[kept], None if padding_B is None else padding_B[kept]
            for decoder in decoders:
                decoder.keep(kept)
    return [Sample(tokens, done) for tokens, done in zip(new_tokens, finished, strict=True)]


def _mixed(logits: list[Tensor], mix: Mix) -> Tensor:
    """The mean of the models' logits, or the logarithm of their mean probabilities."""
    if len(logits) == 1:
        return logits[0]
    stacked_KBV = torch.stack(logits)
    return stacked_KBV.mean(dim=0) if mix == "logits" else torch.softmax(stacked_KBV, dim=-1).mean(dim=0).log()


def _uniform(seed: int, count: int) -> Tensor:
    """`count` numbers in [0, 1), float64, of a sequence's own generator."""
    generator = torch.Generator().manual_seed(seed & (2**63 - 1))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _choose(logits_BV: Tensor, temperature: float, uniform_B: Tensor) -> Tensor:
    """One token a sequence: where its uniform number falls among the cumulated probabilities (float64).

    Cumulated over blocks, then inside the block it falls into: one by one over the vocabulary takes four times as long.
    """
    if temperature == 0:
        return logits_BV.argmax(dim=-1).cpu()
    probabilities_BV = torch.softmax(logits_BV.cpu() / temperature, dim=-1)
    if missing := -logits_BV.shape[1] % _BLOCK:
        probabilities_BV = F.pad(probabilities_BV, (0, missing))
    blocks_BKC = probabilities_BV.view(len(uniform_B), -1, _BLOCK)
    ends_BK = blocks_BKC.sum(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    thresholds_B1 = uniform_B[:, None] * ends_BK[:, -1:]
    block_B1 = torch.searchsorted(ends_BK, thresholds_B1, right=True).clamp_max_(ends_BK.shape[1] - 1)
    inside_BC = blocks_BKC[torch.arange(len(uniform_B)), block_B1[:, 0]].cumsum(dim=-1, dtype=torch.float64)
    # From the block's end backwards: sums of single and of added up probabilities differ by rounding.
    thresholds_B1 += inside_BC[:, -1:] - ends_BK.gather(1, block_B1)
    place_B1 = torch.searchsorted(inside_BC, thresholds_B1, right=True).clamp_max_(_BLOCK - 1)
    return (block_B1 * _BLOCK + place_B1).squeeze(1).clamp_max_(logits_BV.shape[1] - 1)


def _check(models: Sequence[Llama], prompts: Sequence[Sequence[int]], seeds: Sequence[int], max_new_tokens: int) -> int:
    if len(seeds) != len(prompts) or not prompts or not all(len(prompt) for prompt in prompts):
        raise InputError(f"{len(prompts)} prompts (each of at least one token) need as many seeds, got {len(seeds)}")
    sizes = sorted({model.config.vocab_size for model in models})
    if len(sizes) != 1:
        raise InputError(
            f"the models have different vocabularies: {sizes}" if sizes else "no model to sample from",
            remedy="mix models that were trained with one tokenizer",
        )
    longest, limit = max(len(prompt) for prompt in prompts), min(m.config.max_position_embeddings for m in models)
    if longest + max_new_tokens > limit:
        raise InputError(
            f"{longest} prompt tokens and {max_new_tokens} new ones do not fit the model's {limit} positions",
            remedy="shorten the prompt or ask for fewer tokens",
        )
    return longest


def _left_pad(prompts: Sequence[Sequence[int]], longest: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Tokens (B, T), and how many of each line are padding; None where all prompts are of one length."""
    rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    padding = [longest - len(prompt) for prompt in prompts]
    return torch.tensor(rows, device=device), torch.tensor(padding, device=device) if any(padding) else None
