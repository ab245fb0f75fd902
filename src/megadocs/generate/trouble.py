"""When a run stops instead of going on: a server that refuses everything, one that is sick, one that keeps dying.

Most failures are transient: a server that is down comes back, and no generation fails for it (`retry`). These are not:

- **Uniform failure.** Before the first good reply of an invocation the answers are compared. When the first eight, or
  all that there are, are the same refusal (one status and code, or something that is no reply), the address, the
  model's name or the account is wrong: the run stops, and no generation is recorded as failed.
- **A sick server.** It answers the probe, but not one request for two minutes (after good replies: for twenty), with
  errors that waiting does not cure.
- **Deaths.** The engine's own server dies three times (after good replies: five) without a reply between.

Refusals that concern one document (a content filter, a prompt too long, a 400 in a ledger that has good replies) are
that document's own.
"""

from __future__ import annotations

import time

from megadocs.errors import EngineError
from megadocs.generate.engines.protocol import PROXY, EngineFailure, EngineInfo
from megadocs.recipe.consent import why_no_key

NUM_SAME_ANSWERS = 8
SICK_SECONDS = 120.0
SICK_SECONDS_AFTER_REPLIES = 1200.0
MAX_DEATHS = 3
MAX_DEATHS_AFTER_REPLIES = 5
#: Deaths of the server with only this request in flight after which it is the request's fault.
DEATHS_OF_ONE_REQUEST = 2

#: Answers that are not transient; all of them are about the request or the address.
_REFUSALS = frozenset({"bad_request", "malformed", "too_large", "context_length", "refused"})
#: Of those, the ones that may be one document's own.
_OF_A_DOCUMENT = frozenset({"context_length", "refused", "too_large"})
_STATUSES_OF_A_DOCUMENT = frozenset({400, 413, 422, None})
#: Statuses that say "later": overload, start-up, a gateway whose server is restarted.
_LATER = frozenset({408, 409, 423, 425, 429, 502, 503, 504, *range(520, 530)})

_REMEDIES = {
    "payment": "add credit with the provider, then run again: nothing was recorded as failed",
    "unauthorised": "check OPENAI_API_KEY, and what the key may do",
    "model_changed": "start the model the recipe names, or name the new one: its generations are another set",
    "malformed": "something else than a model's server answers there: check generate.engine.base_url",
    "too_large": "something else than a model's server answers there: check generate.engine.base_url",
    "context_length": "lower generate.engine.context_tokens to what the server has, then run again",
    "refused": "the server's filter refuses these documents: ask another server",
    "server_error": "look at the server's log, fix the cause, then run again: nothing was recorded as failed",
    "connection": "look at the server's log, fix the cause, then run again: nothing was recorded as failed",
}
_ANY_OTHER = "look at what the server said, correct it, then run again: nothing was recorded as failed"
_NOT_FOUND = "check generate.engine.base_url (is its /v1 missing?) and generate.engine.model, then run again"
_BAD_REQUEST = "correct what the message names (generate.engine.options, .model, .api), then run again"
_OF_PROXY = "check HTTP_PROXY and HTTPS_PROXY (user and password), or list the server's host in NO_PROXY"
_REDIRECT = "write the address that it points to into generate.engine.base_url"


def fatal_error(failure: EngineFailure, info: EngineInfo, what: str | None = None) -> EngineError:
    """The error that ends a run for a failure: what the server said, its address, what to do."""
    remedy = _remedy(failure)
    if failure.kind == "unauthorised" and failure.code != PROXY and info.address:
        remedy = why_no_key(info.address) or remedy
    return EngineError(what or failure.message, where=info.address or "generate.engine", remedy=remedy)


def _signature(failure: EngineFailure) -> tuple[str, int | None, str]:
    """What makes two refusals the same one."""
    return failure.kind, failure.status, failure.code


def _remedy(failure: EngineFailure) -> str:
    if failure.code == PROXY:
        return _OF_PROXY
    if failure.kind != "bad_request":
        return _REMEDIES.get(failure.kind, _ANY_OTHER)
    if failure.status is not None and 300 <= failure.status < 400:
        return _REDIRECT
    return _NOT_FOUND if failure.status in (404, 405, 410, 501) else _BAD_REQUEST


class Trouble:
    """What has gone wrong since the last good reply, and whether it is time to stop.

    Args:
        has_served: whether the ledger holds good replies to this recipe: the address and the model were right once.

    Attributes:
        last: the last failure, for the progress line; None after a good reply.
        is_deciding: whether no good reply has come and the answers are still compared: failures are then not recorded.
    """

    def __init__(self, info: EngineInfo, has_served: bool) -> None:
        self.last: EngineFailure | None = None
        self.is_deciding = True
        self._info = info
        self._has_served = has_served
        self._num_answers = 0
        self._refusal: EngineFailure | None = None  # the first of those that are counted as alike
        self._sick_since: float | None = None
        self._down_before = 0.0
        self._deaths: dict[tuple[int, int], object] = {}

    def report_reply(self) -> None:
        """The engine answered well: everything is forgotten."""
        self.last = None
        self.is_deciding = False
        self._has_served = True
        self._sick_since = None
        self._deaths.clear()

    def report_failure(self, failure: EngineFailure, seconds_down: float) -> EngineError | None:
        """Note a failure; the error that ends the run when it is not transient any more.

        Args:
            seconds_down: time so far in which the probe found nobody at all.
        """
        self.last = failure
        return self._uniform(failure) or self._sick(failure, seconds_down) or self._dying(failure)

    def holds_back(self, kind: str, status: int | None) -> bool:
        """Whether a failed generation is not to be recorded yet: it may be one of a uniform failure."""
        return self.is_deciding and not self._is_of_one_document(kind, status)

    def is_fault_of(self, request: object, failure: EngineFailure, was_alone: bool) -> bool:
        """Whether a request that was alone in flight has killed a server that serves others, twice."""
        if failure.death is None or not was_alone or not self._has_served:
            return False
        self._deaths[failure.death] = request
        own = [death for death, culprit in self._deaths.items() if culprit is request]
        if len(own) < DEATHS_OF_ONE_REQUEST:
            return False
        for death in own:
            del self._deaths[death]
        return True

    def conclude(self) -> EngineError | None:
        """At the end of the work: the error where every answer was the same refusal and nothing was ever served."""
        if self.is_deciding and self._refusal is not None and not self._has_served:
            return self._refuses_everything(self._refusal)
        self.is_deciding = False
        return None

    def _uniform(self, failure: EngineFailure) -> EngineError | None:
        if (
            not self.is_deciding
            or failure.kind not in _REFUSALS
            or self._is_of_one_document(failure.kind, failure.status)
        ):
            return None
        if self._refusal is not None and _signature(self._refusal) != _signature(failure):
            self.is_deciding = False  # of several kinds: each stands for its request
            return None
        self._refusal = self._refusal or failure
        self._num_answers += 1
        return self._refuses_everything(self._refusal) if self._num_answers >= NUM_SAME_ANSWERS else None

    def _is_of_one_document(self, kind: str, status: int | None) -> bool:
        """Whether a failure says nothing about the next document, in a ledger that has good replies."""
        if not self._has_served:
            return False
        return kind in _OF_A_DOCUMENT or (kind == "bad_request" and status in _STATUSES_OF_A_DOCUMENT)

    def _refuses_everything(self, failure: EngineFailure) -> EngineError:
        number = f"the first {self._num_answers} answers" if self._num_answers > 1 else "the only answer"
        return fatal_error(failure, self._info, f"{number} refused alike: {failure.message}")

    def _sick(self, failure: EngineFailure, seconds_down: float) -> EngineError | None:
        if failure.kind not in ("server_error", "connection") or failure.status in _LATER or failure.death is not None:
            return None
        now = time.monotonic()
        if self._sick_since is None:
            self._sick_since, self._down_before = now, seconds_down
        seconds = now - self._sick_since - (seconds_down - self._down_before)
        if seconds <= (SICK_SECONDS_AFTER_REPLIES if self._has_served else SICK_SECONDS):
            return None
        what = f"the server is up but has served no request for {seconds:.0f} s: {failure.message}"
        return fatal_error(failure, self._info, what)

    def _dying(self, failure: EngineFailure) -> EngineError | None:
        if failure.death is None:
            return None
        self._deaths.setdefault(failure.death, None)
        if len(self._deaths) < (MAX_DEATHS_AFTER_REPLIES if self._has_served else MAX_DEATHS):
            return None
        what = f"the server died {len(self._deaths)} times without one reply between: {failure.message}"
        return fatal_error(failure, self._info, what)
