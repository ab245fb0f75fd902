"""The engine `own`: models trained here write text, through the same batches as the embedded engine, in this process.

    engine = OwnEngine(models, tokenizer, info, mix="logits")
    run_generation(config, "sample", [], ledger, report, should_stop, engine=engine)

A thread takes the steps, so that the ledger goes on writing; a sample that ends gives its place to the next. Each draws
from its request's seed: on one machine its text depends on the others of its batch only through rounding.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from typing import Literal

from megadocs.errors import EngineError
from megadocs.generate.engines import EngineInfo
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.model.batching import Batcher, Finished, Request
from megadocs.model.llama import Llama
from megadocs.model.sampling import build_batcher
from megadocs.model.token_choice import Sampling
from megadocs.text.tokenizer import Tokenizer


class OwnEngine:
    """Unconditional samples of one model, or of several.

    Args:
        models: of one vocabulary, on one device.
        tokenizer: theirs; its BOS (or EOS, where there is none) begins every sample, its EOS ends it.
        info: identity of the models and their context; `concurrency` is the batch size.
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
        self._numbers = itertools.count()
        self._batchers: list[Batcher] = []
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._new: list[tuple[Batcher, Request]] = []
        self._has_new = asyncio.Event()
        self._server: asyncio.Task[None] | None = None
        self._failure: EngineError | None = None

    async def start(self) -> None:
        """Lay out the models and begin to serve."""
        apart = self._mix == "members"
        self._batchers = [
            build_batcher(
                models,
                num_sequences=self._info.concurrency,
                context_tokens=self._info.context_tokens,
                mix="probabilities" if self._mix == "probabilities" else "logits",
            )
            for models in ([[model] for model in self._models] if apart else [self._models])
        ]
        self._server = asyncio.create_task(self._serve())

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One sample; the prompt is the start token, whatever the messages say.

        Raises:
            EngineError: sampling has failed: nothing more is served.
        """
        if self._failure is not None:
            raise self._failure
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        number, batcher = next(self._numbers), self._batchers[completion.seed % len(self._batchers)]
        request = Request(
            key=number,
            prompt=[self._start_id],
            max_new_tokens=completion.max_new_tokens,
            seed=completion.seed,
            sampling=Sampling(completion.temperature, top_p=completion.top_p),
            stop_ids=frozenset({self._tokenizer.eos_id, self._start_id}),  # the latter begins another document
        )
        self._waiting[number] = reply
        self._new.append((batcher, request))
        self._has_new.set()
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
            if not any(batcher.has_work for batcher in self._batchers):
                await self._has_new.wait()
            self._has_new.clear()
            try:
                finished = await asyncio.to_thread(self._step, self._take_new())
            except Exception as error:
                what = f"sampling failed: {type(error).__name__}: {error}"
                self._failure = EngineError(what, where="generate.sample")
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(self._failure)
                return
            for one in finished:
                future = self._waiting.pop(int(str(one.key)))
                if not future.done():
                    future.set_result(self._reply(one))

    def _take_new(self) -> list[tuple[Batcher, Request]]:
        new, self._new = self._new, []
        return new

    def _step(self, new: list[tuple[Batcher, Request]]) -> list[Finished]:
        for batcher, request in new:
            batcher.submit(request)
        return [one for batcher in self._batchers if batcher.has_work for one in batcher.step()]

    def _reply(self, finished: Finished) -> Reply:
        ended = finished.reason == "stop"
        return Reply(
            text=self._tokenizer.decode(finished.tokens),
            finish_reason=finished.reason,
            prompt_tokens=1,
            new_tokens=len(finished.tokens) + ended,
            cached_tokens=finished.cached_tokens,
            occupancy=finished.occupancy,
        )

    @property
    def _start_id(self) -> int:
        return self._tokenizer.eos_id if self._tokenizer.bos_id is None else self._tokenizer.bos_id
