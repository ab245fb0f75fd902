"""Continuous batching: sequences take steps together, one that ends gives its place to the next at once.

    batcher = Batcher([decoder], num_sequences=32)
    batcher.submit(Request(key=7, prompt=ids, max_new_tokens=160, seed=11, stop_ids=frozenset({2})))
    while batcher.has_work:
        for finished in batcher.step():
            finished.key, finished.tokens, finished.reason

A step reads one chunk of a prompt, or takes one token for every running sequence, or both. A prompt is read once: all
requests with the same one start from it, another one starts from the longest beginning it shares with a prompt that is
still in the cache. Memory is a fixed number of pages: prompts that nobody waits for are forgotten, longest unused
first, then the youngest sequence makes room and starts again later from what it had written.

The i-th token of a request is decided by the i-th number of its own generator, so what it draws depends on its seed and
its prompt, and on the company it is computed in only through rounding. For one composition of the batch it repeats to
the bit. Several decoders (of one vocabulary) are averaged at every token.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from megadocs.errors import InputError
from megadocs.model.decoder import Batch, Decoder
from megadocs.model.page_table import PageTable
from megadocs.model.paged_cache import PAGE_POSITIONS
from megadocs.model.prompts import Prompt, PromptCache
from megadocs.model.token_choice import Sampling, choose_tokens, log_probabilities, penalised, uniform_numbers

#: What is averaged of several models before the next token is drawn.
Mix = Literal["logits", "probabilities"]

#: Tokens of a prompt read at once: products of 128 rows are at 96 % of the best rate, and nobody waits longer for it.
CHUNK_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One sequence to be written."""

    key: Hashable  # names it in `Finished`
    prompt: Sequence[int]  # token ids, at least one
    max_new_tokens: int
    seed: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    stop_ids: frozenset[int] = frozenset()  # tokens that end it and are not part of it
    #: told the tokens so far after each, says whether to end (for stop strings).
    stops: Callable[[list[int]], bool] | None = None
    wants_log_probabilities: bool = False  # keep those of the new tokens
    continuation: Sequence[int] = ()  # score these tokens instead of drawing: their log-probabilities, nothing new


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a request."""

    key: Hashable
    tokens: list[int]  # new ones, without the token that ended it
    reason: Literal["stop", "length", "scored"]  # `stop` (a stop token or string), `length`, or `scored`
    cached_tokens: int  # of the prompt, that were not read for this request
    log_probabilities: list[float] | None  # of the new tokens, or of the continuation, where asked for
    #: share of the places that were filled in the steps since its first token; None: there were none.
    occupancy: float | None = None


@dataclass(slots=True)
class Counts:
    """What the batcher did: steps and the sequences in them, prompt tokens read and not read, restarts."""

    num_steps: int = 0
    num_drawn: int = 0
    num_read: int = 0
    num_cached: int = 0
    num_restarts: int = 0


@dataclass(slots=True, eq=False)
class _Sequence:
    """A request under way."""

    request: Request
    uniform: Tensor
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    length: int = 0  # positions in its pages
    cached: int | None = None
    before: tuple[int, int] | None = None  # steps and tokens drawn when it began to write

    def context(self) -> tuple[int, ...]:
        """What must be read before its next token: the prompt, after a restart with what it had written."""
        return (*self.request.prompt, *self.tokens)


def require_room(num_pages: int, context_tokens: int) -> None:
    """Refuse a cache that does not hold one whole context, and the last page of its prompt twice, beside page 0.

    A prompt whose last page is half full stays while a sequence gets a copy of that page: with no page for the copy the
    prompt would be forgotten and read again, for ever.

    Raises:
        InputError: there are fewer pages.
    """
    needed = -(-context_tokens // PAGE_POSITIONS) + 1
    if num_pages - 1 < needed:
        raise InputError(
            f"memory for {num_pages - 1} pages of {PAGE_POSITIONS} positions does not hold one context of "
            f"{context_tokens} tokens ({needed} pages)",
            where="generate.engine.options.cache_megabytes",
            remedy="raise it, or lower generate.engine.context_tokens",
        )


class Batcher:
    """Runs requests on decoders of one shape of pages.

    Args:
        decoders: all with the same number of pages.
        num_sequences: that take steps together at most.
        context_tokens: prompt and new tokens of one request.
        mix: of several decoders: mean logits, or mean probabilities.

    Raises:
        InputError: the pages do not hold one whole context.
    """

    def __init__(
        self,
        decoders: Sequence[Decoder],
        *,
        num_sequences: int,
        context_tokens: int,
        num_pages: int,
        mix: Mix = "logits",
    ) -> None:
        self.counts = Counts()
        self.num_sequences, self._context_tokens, self._mix = num_sequences, context_tokens, mix
        self._decoders = decoders
        self._pages = PageTable(num_pages)
        require_room(num_pages, context_tokens)
        self._prompts = PromptCache(self._pages, self._copy_page)
        self._waiting: collections.deque[_Sequence] = collections.deque()
        self._running: list[_Sequence] = []
        self._batches: list[Batch] | None = None
        self._reading: tuple[Prompt, _Sequence] | None = None

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting or self._running)

    def submit(self, request: Request) -> None:
        """Take a request.

        Raises:
            InputError: no prompt, or no room for a new token behind it.
        """
        room = self._context_tokens - len(request.prompt) - len(request.continuation)
        if not request.prompt or room < (0 if request.continuation else 1):
            raise InputError(
                f"a prompt of {len(request.prompt)} tokens in a context of {self._context_tokens}",
                where="generate.engine.context_tokens",
                remedy="raise it, or shorten the prompt (generate.long_documents)",
            )
        uniform = uniform_numbers(request.seed, min(request.max_new_tokens, max(room, 0)))
        self._waiting.append(_Sequence(request, uniform))

    def cancel(self, key: Hashable) -> None:
        """Forget a request; unknown ones are none of ours any more."""
        for sequence in [*self._waiting, *self._running]:
            if sequence.request.key == key:
                self._drop(sequence)

    @torch.inference_mode()
    def step(self) -> list[Finished]:
        """One chunk of a prompt and one token for every sequence, as far as there is either."""
        finished = self._admit()
        # A step of few sequences costs nearly as much as one of many: fill the places first.
        if self._reading is not None and len(self._running) * 2 < self.num_sequences:
            return finished
        return finished + self._decode()

    def _admit(self) -> list[Finished]:
        """Start whatever has its prompt and a place; read a chunk for the first that has not."""
        finished = self._start_ready()
        if self._reading is None and len(self._running) < self.num_sequences:
            waiting = next((one for one in self._waiting if not self._is_ready(one)), None)
            if waiting is not None:
                self._reading = self._begin_reading(waiting)
        if self._reading is None:
            return finished
        prompt, sequence = self._reading
        scores = self._read_chunk(prompt)
        if scores is not None:
            sequence.log_probabilities += scores
        if not prompt.is_read:
            return finished
        self._reading = None
        if sequence.request.continuation and sequence in self._waiting:
            self._waiting.remove(sequence)
            self._prompts.forget(prompt)
            return [
                *finished,
                Finished(sequence.request.key, [], "scored", prompt.num_shared, sequence.log_probabilities),
            ]
        return finished + self._start_ready()

    def _is_ready(self, sequence: _Sequence) -> bool:
        """Whether its prompt is read: it waits for a place or a page only."""
        return not sequence.request.continuation and self._prompts.find(sequence.context()) is not None

    def _begin_reading(self, sequence: _Sequence) -> tuple[Prompt, _Sequence] | None:
        """A prompt with all its pages; None when sequences must end first."""
        request = sequence.request
        tokens = (*sequence.context(), *request.continuation)
        prompt = self._prompts.begin(tokens, num_unscored=len(request.prompt) if request.continuation else None)
        if prompt is None:
            assert self._running, "the pages do not hold one context"
            return None
        self.counts.num_cached += prompt.num_shared
        sequence.cached = prompt.num_shared if sequence.cached is None else sequence.cached
        return prompt, sequence

    def _read_chunk(self, prompt: Prompt) -> list[float] | None:
        """Read on; log-probabilities of the tokens to be scored whose predecessors were in the chunk."""
        start = prompt.num_read
        stop = min(start + CHUNK_TOKENS, len(prompt.tokens))
        first_scored = prompt.num_unscored
        num_logits = 1 if first_scored is None else min(stop - start, max(1, stop - first_scored + 1))
        logits_KV = self._mixed(
            [
                decoder.read(
                    torch.tensor(prompt.tokens[start:stop], device=decoder.device), prompt.pages, start, num_logits
                )
                for decoder in self._decoders
            ]
        )
        prompt.num_read = stop
        self.counts.num_read += stop - start
        prompt.logits = logits_KV[-1:]
        if first_scored is None or stop < first_scored:
            return None
        targets = torch.tensor(prompt.tokens[stop - num_logits + 1 : stop + 1], dtype=torch.int64)
        scores: list[float] = log_probabilities(logits_KV[: len(targets)], targets).tolist()
        return scores

    def _start_ready(self) -> list[Finished]:
        """Give free places to waiting sequences whose prompt is read, and draw their first token."""
        started: list[tuple[_Sequence, Tensor]] = []
        for sequence in list(self._waiting):
            if len(self._running) + len(started) >= self.num_sequences:
                break
            prompt = None if sequence.request.continuation else self._prompts.find(sequence.context())
            if prompt is None or (fork := self._prompts.fork(prompt)) is None:
                continue
            assert prompt.logits is not None
            sequence.pages, sequence.length = fork, len(prompt.tokens)
            if sequence.cached is None:
                sequence.cached = len(prompt.tokens)
                self.counts.num_cached += len(prompt.tokens)
            sequence.before = sequence.before or (self.counts.num_steps, self.counts.num_drawn)
            self._waiting.remove(sequence)
            started.append((sequence, prompt.logits))
        if not started:
            return []
        self._batches = None
        self._running += [sequence for sequence, _ in started]
        return self._draw([sequence for sequence, _ in started], torch.cat([logits for _, logits in started]))

    def _decode(self) -> list[Finished]:
        for sequence in list(self._running):
            if sequence in self._running:  # not put back meanwhile
                self._make_room(sequence)
        if not self._running:
            return []
        if self._batches is None:
            tables = [sequence.pages for sequence in self._running]
            lengths = [sequence.length for sequence in self._running]
            self._batches = [decoder.batch(tables, lengths) for decoder in self._decoders]
        tokens_B = torch.tensor([sequence.tokens[-1] for sequence in self._running])
        logits_BV = self._mixed(
            [
                decoder.step(tokens_B.to(decoder.device), batch)
                for decoder, batch in zip(self._decoders, self._batches, strict=True)
            ]
        )
        for sequence in self._running:
            sequence.length += 1
        self.counts.num_steps += 1
        self.counts.num_drawn += len(self._running)
        return self._draw(list(self._running), logits_BV)

    def _draw(self, sequences: list[_Sequence], logits_BV: Tensor) -> list[Finished]:
        """The next token of these running sequences, and those that end with it."""
        samplings = [sequence.request.sampling for sequence in sequences]
        uniform_B = torch.stack([sequence.uniform[len(sequence.tokens)] for sequence in sequences])
        here_BV = logits_BV.cpu()
        with penalised(here_BV, samplings, [sequence.tokens for sequence in sequences]):
            chosen_B = choose_tokens(here_BV, samplings, uniform_B)
        scores: list[float] = []
        if any(sequence.request.wants_log_probabilities for sequence in sequences):
            scores = log_probabilities(logits_BV, chosen_B).tolist()
        finished = []
        for line, (sequence, token) in enumerate(zip(sequences, chosen_B.tolist(), strict=True)):
            request = sequence.request
            reason: Literal["stop", "length"] | None = "stop" if token in request.stop_ids else None
            if reason is None:
                sequence.tokens.append(token)
                if request.wants_log_probabilities:
                    sequence.log_probabilities.append(scores[line])
                if request.stops is not None and request.stops(sequence.tokens):
                    reason = "stop"
                elif len(sequence.tokens) == len(sequence.uniform):
                    reason = "length"
            if reason is not None:
                kept = sequence.log_probabilities if request.wants_log_probabilities else None
                cached, occupancy = sequence.cached or 0, self._occupancy(sequence)
                finished.append(Finished(request.key, sequence.tokens, reason, cached, kept, occupancy))
                self._drop(sequence)
        return finished

    def _occupancy(self, sequence: _Sequence) -> float | None:
        assert sequence.before is not None
        num_steps = self.counts.num_steps - sequence.before[0]
        num_drawn = self.counts.num_drawn - sequence.before[1]
        return num_drawn / (num_steps * self.num_sequences) if num_steps else None

    def _make_room(self, sequence: _Sequence) -> None:
        """A page for the next position; the youngest sequence makes room where there is none."""
        if sequence.length < len(sequence.pages) * PAGE_POSITIONS:
            return
        while (page := self._prompts.take_page()) is None:
            youngest = self._running[-1]
            self._drop(youngest)
            self._waiting.appendleft(youngest)
            self.counts.num_restarts += 1
            if youngest is sequence:
                return
        sequence.pages.append(page)
        self._batches = None

    def _drop(self, sequence: _Sequence) -> None:
        """Take a sequence out; its pages lose an owner."""
        if sequence in self._running:
            self._running.remove(sequence)
            self._batches = None
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        self._pages.release(sequence.pages)
        sequence.pages, sequence.length = [], 0
        if self._reading is not None and self._reading[1] is sequence:
            self._prompts.forget(self._reading[0])
            self._reading = None

    def _copy_page(self, source: int, target: int) -> None:
        for decoder in self._decoders:
            decoder.cache.copy_page(source, target)

    def _mixed(self, logits: list[Tensor]) -> Tensor:
        """The mean of the models' logits, or the logarithm of their mean probabilities."""
        if len(logits) == 1:
            return logits[0]
        stacked_MBV = torch.stack(logits)
        if self._mix == "logits":
            return stacked_MBV.mean(dim=0)
        return torch.softmax(stacked_MBV, dim=-1).mean(dim=0).log()
