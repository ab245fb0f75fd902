"""The engine `own`: models trained here write text, batch by batch, through the key-value cache of `model.sampling`.

    engine = OwnEngine(models, tokenizer, info, mix="logits")
    run_generation(config, "sample", [], ledger, report, should_stop, engine=engine)

Requests that wait together are sampled together, in a thread, so that the ledger goes on writing. Each sample draws
from its request's seed: on one machine its text depends on the others of its batch only through rounding.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Literal

from megadocs.errors import EngineError
from megadocs.generate.engines import EngineInfo
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.model.llama import Llama
from megadocs.model.sampling import Sample, sample
from megadocs.text.tokenizer import Tokenizer

#: How long the first request of a batch waits for others.
_GATHER_SECONDS = 0.02

_Waiting = tuple[Completion, "asyncio.Future[Reply]"]


class OwnEngine:
    """Unconditional samples of one model, or of several.

    Args:
        models: of one vocabulary, on one device.
        tokenizer: theirs; its BOS (or EOS, where there is none) begins every sample, its EOS ends it.
        info: identity of the models; `concurrency` is the batch size.
        mix: of several models: mean of `logits` or of `probabilities` at every token, or `members`: each sample from
            the model that its seed names.
    """

    def __init__(
        self,
        models: Sequence[Llama],
        tokenizer: Tokenizer,
        info: EngineInfo,
        *,
        mix: Literal["logits", "probabilities", "members"] = "logits",
    ) -> None:
        self._models, self._tokenizer, self._info, self._mix = models, tokenizer, info, mix
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._server: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve."""
        self._server = asyncio.create_task(self._serve())

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One sample; the prompt is the start token, whatever the messages say."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((completion, reply))
        return await reply

    async def is_healthy(self) -> bool:
        """Always: it lives in this process."""
        return True

    def info(self) -> EngineInfo:
        """Identity and batch size."""
        return self._info

    async def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._server
            self._server = None

    async def _serve(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            await asyncio.sleep(_GATHER_SECONDS)
            while not self._waiting.empty() and len(batch) < self._info.concurrency:
                batch.append(self._waiting.get_nowait())
            try:
                replies = await asyncio.to_thread(self._sample, [completion for completion, _ in batch])
            except Exception as error:
                failure = EngineError(f"sampling failed: {type(error).__name__}: {error}", where="generate.sample")
                for _, future in batch:
                    if not future.done():
                        future.set_exception(failure)
                continue
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)

    def _sample(self, completions: list[Completion]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        groups: dict[tuple[int, int, float], list[int]] = {}
        for index, completion in enumerate(completions):
            member = completion.seed % len(self._models) if self._mix == "members" else 0
            groups.setdefault((member, completion.max_new_tokens, completion.temperature), []).append(index)
        for (member, max_new_tokens, temperature), indices in groups.items():
            samples = sample(
                [self._models[member]] if self._mix == "members" else self._models,
                [[self._start_id]] * len(indices),
                max_new_tokens=max_new_tokens,
                seeds=[completions[index].seed for index in indices],
                temperature=temperature,
                eos_id=self._tokenizer.eos_id,
                mix="probabilities" if self._mix == "probabilities" else "logits",
            )
            replies.update(zip(indices, map(self._reply, samples), strict=True))
        return [replies[index] for index in range(len(completions))]

    def _reply(self, drawn: Sample) -> Reply:
        tokens, finished = drawn.tokens, drawn.finished
        if self._tokenizer.bos_id in tokens:  # another document begins there: this one ended without its EOS
            tokens, finished = tokens[: tokens.index(self._tokenizer.bos_id)], True
        return Reply(
            text=self._tokenizer.decode(tokens),
            finish_reason="stop" if finished else "length",
            prompt_tokens=1,
            new_tokens=len(drawn.tokens) + drawn.finished,
        )

    @property
    def _start_id(self) -> int:
        return self._tokenizer.eos_id if self._tokenizer.bos_id is None else self._tokenizer.bos_id
