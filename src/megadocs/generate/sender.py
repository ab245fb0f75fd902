"""Sending one attempt until it is answered: breaker, adaptive concurrency, back-off, ceilings, what was spent.

The sender knows nothing of records or gates: it turns a request and an attempt number into a `Reply`, an
`EngineFailure` that is final, or None when the run stops first.
"""

from __future__ import annotations

import time
from dataclasses import replace

from megadocs.errors import ConsentError, EngineError
from megadocs.generate.concurrency import AdaptiveLimit
from megadocs.generate.engines import Engine, EngineInfo
from megadocs.generate.engines.protocol import ENGINE_DOWN, FATAL, PERMANENT, Completion, EngineFailure, Reply
from megadocs.generate.plan import token_counter
from megadocs.generate.requests import GenerationRequest
from megadocs.generate.retry import MAX_SENDS, MAX_SENDS_ALONE, CircuitBreaker, backoff_seconds, interruptible_sleep
from megadocs.generate.trouble import Trouble, fatal_error
from megadocs.recipe import GenerateConfig, LimitsConfig

#: After this long with nothing but failures (the engine's own down time not counted) a request fails.
RECORD_DEADLINE_SECONDS = 1800.0
#: Of `generate.limits`: what may be spent before the run stops.
_CEILINGS = ("max_requests", "max_tokens", "max_cost")


class Sender:
    """Shared by all lanes of a run; made inside its event loop.

    Args:
        engine: started by the caller.
        has_served: whether the ledger holds good replies to this recipe.

    Attributes:
        stop_reason: set to stop the run gracefully; the sender sets it itself when a ceiling is reached.
        error: why nothing more may be sent; those in flight finish, then the run ends with it.
        num_counted_here: replies whose tokens the server did not count: we did.
    """

    def __init__(self, engine: Engine, config: GenerateConfig, info: EngineInfo, *, has_served: bool = False) -> None:
        self.stop_reason: str | None = None
        self.error: EngineError | None = None
        self.trouble = Trouble(info, has_served)
        self.breaker = CircuitBreaker(engine.is_healthy, self.is_stopping)
        self.limit = AdaptiveLimit(info.concurrency)
        self.began = self.last_reply = time.monotonic()
        self.num_sent = self.num_replies = 0
        self.spent_prompt = self.spent_new = self.spent_cached = 0
        self.num_counted_here = 0
        self._count = token_counter(config)
        self._has_ceiling = any(getattr(config.limits, name) is not None for name in _CEILINGS)
        self._filled = self._filled_weight = 0.0
        self._engine = engine
        self._config = config
        self._info = info

    def is_stopping(self) -> bool:
        """Whether nothing new may be sent."""
        return self.stop_reason is not None

    @property
    def server_hours(self) -> float:
        """Hours that the engine's servers have been held, all of them together."""
        return (time.monotonic() - self.began) / 3600 * self._config.engine.num_servers

    @property
    def occupancy(self) -> float | None:
        """Mean of the replies' occupancies, weighted by their new tokens; None: the engine does not say."""
        return self._filled / self._filled_weight if self._filled_weight else None

    @property
    def cost(self) -> float:
        """Of all replies and server hours so far, at the recipe's prices."""
        return total_cost(self._config.limits, self.spent_prompt, self.spent_new, self.server_hours)

    async def send(self, request: GenerationRequest, attempt: int, lane: int) -> Reply | EngineFailure | None:
        """One attempt (one seed): sent until it is answered, fails for good, or the run stops (None).

        Raises:
            EngineError: the engine cannot be brought back.
        """
        completion = self._completion(request, attempt, lane)
        num_waits = num_failures = num_counted = 0
        first_failure: float | None = None
        open_before = 0.0
        while True:
            await self.breaker.wait()
            async with self.limit:
                if self.is_stopping() or self._ceiling_reached():
                    return None
                replies_before, was_alone = self.num_replies, self.limit.in_flight == 1
                result = await self._complete(completion)
            if isinstance(result, Reply) or result.kind in PERMANENT:
                return result
            if self.error is not None:
                return None
            if self.trouble.is_fault_of(request, result, was_alone):
                return result
            now = time.monotonic()
            if first_failure is None:
                first_failure, open_before = now, self.breaker.seconds_open
            # A server that is down says nothing about the request: the failure counts only when others got through.
            others_got_through = self.num_replies > replies_before and result.kind != "rate_limited"
            num_counted += result.kind not in ENGINE_DOWN or others_got_through
            tried = now - first_failure - (self.breaker.seconds_open - open_before)
            num_failures += result.kind != "rate_limited"
            if num_counted >= MAX_SENDS or num_failures >= MAX_SENDS_ALONE or tried > RECORD_DEADLINE_SECONDS:
                return result
            await interruptible_sleep(backoff_seconds(num_waits, result.retry_after_seconds), self.is_stopping)
            num_waits += 1

    def _completion(self, request: GenerationRequest, attempt: int, lane: int) -> Completion:
        sampling = request.template.sampling
        return Completion(
            messages=request.messages(),
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=request.seed(attempt),
            timeout_seconds=self._config.attempt_timeout_seconds,
            extra=sampling.extra,
            lane=lane,
        )

    async def _complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request over the wire, with its consequences for breaker, limit and accounting."""
        self.num_sent += 1
        result = await self._engine.complete(completion)
        if isinstance(result, Reply):
            self.num_replies += 1
            self.last_reply = time.monotonic()
            self.breaker.report_reply()
            self.trouble.report_reply()
            self.limit.report_reply()
            if result.uncounted:
                result = self._counted(result, completion)
            self.spent_prompt += result.prompt_tokens
            self.spent_new += result.new_tokens
            self.spent_cached += result.cached_tokens
            if result.occupancy is not None:
                self._filled += result.occupancy * result.new_tokens
                self._filled_weight += result.new_tokens
            return result
        if result.kind in FATAL:
            self._stop(fatal_error(result, self._info))
        elif (error := self.trouble.report_failure(result, self.breaker.seconds_down)) is not None:
            self._stop(error)
        self.breaker.report_failure(result)
        if result.kind in ("rate_limited", "server_error"):
            self.limit.report_overload()
        elif result.death is not None:
            self.limit.report_death()
        return result

    def _stop(self, error: EngineError) -> None:
        """Send nothing more; the first reason counts."""
        if self.error is None:
            self.error, self.stop_reason = error, "engine"

    def _counted(self, reply: Reply, completion: Completion) -> Reply:
        """The reply with our own count where the server gives none, so that ceilings always bind."""
        self.num_counted_here += 1
        prompt, new = reply.prompt_tokens, reply.new_tokens
        if "prompt_tokens" in reply.uncounted:
            prompt = self._count("\n".join(message["content"] for message in completion.messages))
        if "new_tokens" in reply.uncounted:
            new = min(self._count(reply.text + reply.reasoning), completion.max_new_tokens)
        return replace(reply, prompt_tokens=prompt, new_tokens=new, uncounted=())

    def _ceiling_reached(self) -> bool:
        if not self._has_ceiling:  # asked for every request
            return self.is_stopping()
        spent = dict(zip(_CEILINGS, (self.num_sent, self.spent_prompt + self.spent_new, self.cost), strict=True))
        for name, value in spent.items():
            ceiling = getattr(self._config.limits, name)
            if ceiling is not None and value >= ceiling:
                self.stop_reason = name
        return self.is_stopping()


def total_cost(limits: LimitsConfig, prompt_tokens: int, new_tokens: int, server_hours: float) -> float:
    """Money at the recipe's prices."""
    prompt = prompt_tokens * limits.price_per_million_prompt_tokens
    new = new_tokens * limits.price_per_million_new_tokens
    return (prompt + new) / 1e6 + server_hours * limits.price_per_server_hour


def require_consent(info: EngineInfo, config: GenerateConfig, num_documents: int) -> None:
    """Refuse to send documents to another machine unless the person allows it (`recipe.consent`)."""
    if info.is_remote and not config.allow_remote:
        raise ConsentError(
            f"{num_documents} documents would be sent to {info.address}, which is not on this machine",
            where="generate.engine.base_url",
            remedy="if they may leave it: generate.allow_remote=true on the command line (a recipe file cannot say so)",
        )
