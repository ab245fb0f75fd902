"""Running a generation task: lanes, ledger, retry layer, progress, stopping gracefully.

    accounting = run_generation(config, "rephrase", documents, Path("ledger/rephrase"), print, lambda: False)

Each of `info.concurrency` lanes takes a request, sends it, judges the reply, and appends the final record. Records go
to the kernel at once and to the disk at most half a second later; the accounting counts only what is on disk. Stopping
(`should_stop`, a ceiling) takes no new request, lets those in flight finish and keeps them. What was in flight when the
process was killed is sent again by the next run: requests are at-least-once, records exactly once.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from megadocs.documents import Document
from megadocs.generate.accounting import Accounting, GenerationProgress
from megadocs.generate.dispatch import Dispatcher, Tally, Todo, is_reopened, sort_requests
from megadocs.generate.engines import Engine, EngineInfo, build_engine
from megadocs.generate.engines.protocol import EngineFailure
from megadocs.generate.gates import judge_reply
from megadocs.generate.judgement import as_earlier, build_record, judge_among, stored_replies
from megadocs.generate.ledger import Ledger
from megadocs.generate.plan import iter_requests
from megadocs.generate.progress import write_progress
from megadocs.generate.records import GenerationRecord
from megadocs.generate.sender import Sender, require_consent
from megadocs.generate.served_model import ServedModel
from megadocs.generate.siblings import SiblingTexts
from megadocs.generate.speed import SpeedMeter
from megadocs.kinds import SAMPLE
from megadocs.recipe import GenerateConfig

SYNC_SECONDS = 0.5
#: Silence after which the engine is looked at, and the progress says so.
WATCHDOG_SECONDS = 60.0
_PROGRESS_SECONDS = 1.0
_STOP_POLL_SECONDS = 0.1
_RECORD_DEADLINE_SECONDS = 1800.0


def run_generation(
    config: GenerateConfig,
    task: str,
    documents: Sequence[Document],
    ledger_dir: Path,
    progress: Callable[[GenerationProgress], None],
    should_stop: Callable[[], bool],
    *,
    reopened: frozenset[str] = frozenset(),
    engine: Engine | None = None,
    log_dir: Path | None = None,
) -> Accounting:
    """Make every generation of a task that has no final record yet.

    Args:
        task: name of a task kind, or `sample`.
        documents: the training documents, in any order.
        ledger_dir: the task's ledger; one writer at a time.
        progress: called about once a second and at the end.
        should_stop: polled ten times a second; True ends the run gracefully.
        reopened: statuses, error classes and flags whose failed or rejected generations are asked for again, with
            fresh seeds (`{"failed"}` for a retry).
        engine: one built by the caller; it is started and closed here all the same.
        log_dir: where the engine's own servers write what they print; None: nothing of it is kept.

    Returns:
        The accounting; `stopped` says why work is left, if any.

    Raises:
        LockedError: another process writes this ledger.
        StoreError: the disk is full or failing; nothing unsynced is counted.
        EngineError: the engine is missing, keeps dying, refuses everything or the key, has no credit left, or answers
            as another model; what was in flight is kept, and nothing is recorded as failed for it.
        UsageError: the server is not on this machine and `generate.allow_remote` is not set.
    """
    with Ledger(ledger_dir) as ledger:
        engine = engine or build_engine(config.engine, log_dir)
        run = _Run(config, task, documents, ledger, progress, should_stop, reopened, engine)
        return asyncio.run(run.run())


class _Run:
    """The state of one invocation."""

    def __init__(
        self,
        config: GenerateConfig,
        task: str,
        documents: Sequence[Document],
        ledger: Ledger,
        progress: Callable[[GenerationProgress], None],
        should_stop: Callable[[], bool],
        reopened: frozenset[str],
        engine: Engine,
    ) -> None:
        self.config, self.task, self.documents = config, task, documents
        self.ledger, self.engine, self.reopened = ledger, engine, reopened
        self.progress, self.should_stop = progress, should_stop
        self.durable, self.written = Tally(), Tally()  # on disk; appended since the last sync
        self.held: list[GenerationRecord] = []  # failed before the first good reply: their fault, or the run's?
        self.requested = 0
        self.began = time.monotonic()
        self.speed = SpeedMeter()

    async def run(self) -> Accounting:
        """Count, start, work, sync, close."""
        info = self.engine.info()
        self.served = ServedModel(self.ledger.directory, info.identity)
        require_consent(info, self.config, len(self.documents))
        num_todo = 0
        requests = iter_requests(self.config, self.task, self.documents, info)
        for todo, standing in sort_requests(requests, self.ledger.index, self.reopened):
            self.requested += len(todo) + standing.done
            num_todo += len(todo)
            self.durable.merge(standing)
        self.sender = Sender(self.engine, self.config, info, has_served=self.durable.counts["ok"] > 0)
        if num_todo:
            try:
                if await self._start():
                    await self._work(info)
            finally:
                await self.engine.close()
        if self.sender.error is not None:
            self._show("stopped", self.sender.error.what)
            raise self.sender.error
        self._show("stopped" if self.sender.is_stopping() else "finished")
        return self._accounting()

    async def _start(self) -> bool:
        """Start the engine, which may take minutes; False when the run is to stop meanwhile."""
        starting = asyncio.create_task(self.engine.start())
        shown = began = time.monotonic()
        while not starting.done():
            if self.should_stop():
                self.sender.stop_reason = "interrupted"
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return False
            await asyncio.wait([starting], timeout=_STOP_POLL_SECONDS)
            if (now := time.monotonic()) - shown >= _PROGRESS_SECONDS:
                self._show("starting the engine", f"{now - began:.0f} s")
                shown = now
        starting.result()
        self.sender.last_reply = time.monotonic()  # silence counts from here: a start is shown as one
        return True

    async def _work(self, info: EngineInfo) -> None:
        """All lanes, with the sync and progress loop beside them; the first exception ends everything."""
        requests = iter_requests(self.config, self.task, self.documents, info)
        # With a policy for near copies each text waits for those before it: a document stays with its lane.
        self.watches_siblings = self.config.gates.sibling != "accept" and self.task != SAMPLE
        self.dispatcher = Dispatcher(
            requests,
            self.ledger.index,
            self.reopened,
            steal=not self.watches_siblings,
            num_batches=None if self.watches_siblings else info.num_batches,
        )
        keeper = asyncio.create_task(self._keep())
        lanes = [asyncio.create_task(self._lane(number)) for number in range(info.concurrency)]
        try:
            await _all_or_first_error(lanes, keeper)
            if not self.sender.is_stopping():
                self.sender.error = self.sender.trouble.conclude()
                self._release_held()
        finally:
            for task in (keeper, *lanes):
                task.cancel()
            await asyncio.gather(keeper, *lanes, return_exceptions=True)
            await self.sender.breaker.close()
            await self._sync()

    async def _lane(self, lane: int) -> None:
        siblings: SiblingTexts | None = None
        while not self.sender.is_stopping() and (item := self.dispatcher.next(lane)) is not None:
            if self.watches_siblings and (siblings is None or siblings.document_id != item.request.document_id):
                siblings = SiblingTexts(item.request.document_id)
            record = self._standing(item, siblings) or await self._make(item, lane, siblings)
            if record is not None:
                self.written.add(record)
            self._release_held()

    def _release_held(self) -> None:
        """Record the failures from before the first good reply, once it is clear that not everything fails alike."""
        if self.held and not self.sender.trouble.is_deciding:
            held, self.held = self.held, []
            for record in held:
                self.ledger.append(record)
                self.written.add(record)

    def _standing(self, item: Todo, siblings: SiblingTexts | None) -> GenerationRecord | None:
        """What stands beside the texts that its document has by now; None where the engine is to be asked."""
        if siblings is None:
            return None
        record = judge_among(item.request, item.stored, siblings)
        return None if record is not None and is_reopened(record, self.reopened) else record

    async def _make(self, item: Todo, lane: int, siblings: SiblingTexts | None) -> GenerationRecord | None:
        """The final record of one request, appended; None when the run stops before there is one."""
        request, stored = item.request, item.stored
        is_near_copy = functools.partial(siblings.is_near_copy, request) if siblings is not None else None
        first = stored.attempts if stored is not None else 0
        spent = stored.spent_tokens if stored is not None else 0
        earlier = tuple(as_earlier(*reply) for reply in stored_replies(stored)) if stored is not None else ()
        # One that was begun goes on to the limit; one that is asked for again gets as many attempts once more.
        limit = self.config.max_attempts
        for attempt in range(first, limit if first < limit else first + limit):
            result = await self.sender.send(request, attempt, lane)
            if result is None:
                return None
            attempts = attempt + 1
            if isinstance(result, EngineFailure):
                record = build_record(
                    request,
                    "failed",
                    earlier=earlier,
                    attempts=attempts,
                    spent_tokens=spent,
                    error=result.kind,
                    message=result.message,
                )
                if self.sender.trouble.holds_back(result.kind, result.status):
                    self.held.append(record)
                    return None
                break
            self.served.check(result.model)
            spent += result.prompt_tokens + result.new_tokens
            judgement = judge_reply(result, request.source, self.config.gates, is_near_copy)
            record = build_record(
                request,
                "ok" if judgement.verdict == "accept" else "rejected",
                reply=result,
                judgement=judgement,
                earlier=earlier,
                attempts=attempts,
                spent_tokens=spent,
            )
            if judgement.verdict != "retry":
                break
            earlier = (*earlier, as_earlier(attempt, result))
        self.ledger.append(record)
        if siblings is not None and record.status == "ok":
            siblings.add(request, record.text)
        return record

    async def _keep(self) -> None:
        """Poll for stopping, sync, show progress, until cancelled."""
        next_sync = next_progress = time.monotonic()
        next_watch = next_sync + WATCHDOG_SECONDS
        while True:
            if not self.sender.is_stopping() and self.should_stop():
                self.sender.stop_reason = "interrupted"
            now = time.monotonic()
            if now >= next_sync:
                await self._sync()
                next_sync = time.monotonic() + SYNC_SECONDS
            if now >= next_progress:
                self._show(*self._state(now))
                next_progress = now + _PROGRESS_SECONDS
            if now >= next_watch:
                next_watch = now + WATCHDOG_SECONDS
                if now - self.sender.last_reply > WATCHDOG_SECONDS and not self.sender.breaker.is_open:
                    await self.engine.is_healthy()  # restarts a server that died without a word
            await asyncio.sleep(_STOP_POLL_SECONDS)

    def _state(self, now: float) -> tuple[str, str]:
        """What goes on, and since when and why where nothing comes."""
        silent = now - self.sender.last_reply
        failure = self.sender.trouble.last
        reason = failure.message if failure is not None else ""
        if self.sender.breaker.is_open:
            return "waiting for the engine", f"{silent:.0f} s since its last reply: {reason}"
        return (f"no reply for {silent:.0f} s" if silent > WATCHDOG_SECONDS else "running"), reason

    async def _sync(self) -> None:
        batch, self.written = self.written, Tally()
        if not batch.done:
            return
        try:
            await asyncio.to_thread(self.ledger.sync)
        except BaseException:  # cancelled or failed: these are not durable yet
            batch.merge(self.written)
            self.written = batch
            raise
        self.durable.merge(batch)

    def _show(self, state: str, reason: str = "") -> None:
        self.speed.add(self.sender.spent_new, self.durable.done)
        counts = self.durable.counts
        left = self.requested - self.durable.done
        progress = GenerationProgress(
            task=self.task,
            requested=self.requested,
            done=self.durable.done,
            ok=counts["ok"],
            rejected=counts["rejected"],
            failed=counts["failed"],
            skipped=counts["skipped"],
            errors=dict(sorted(self.durable.errors.items())),
            num_documents=len(self.documents),
            in_flight=self.sender.limit.in_flight,
            tokens_per_second=self.speed.tokens_per_second,
            seconds_left=self.speed.seconds_for(left),
            cached_share=self.sender.spent_cached / self.sender.spent_prompt if self.sender.spent_prompt else 0.0,
            occupancy=self.sender.occupancy,
            server_hours=self.sender.server_hours,
            cost=self.sender.cost,
            state="stopping" if self.sender.stop_reason and state == "running" else state,
            reason=reason,
            num_counted_here=self.sender.num_counted_here,
        )
        write_progress(self.ledger.directory, progress)
        self.progress(progress)

    def _accounting(self) -> Accounting:
        accounting = self.durable.accounting(
            self.requested,
            num_sent=self.sender.num_sent,
            spent_prompt_tokens=self.sender.spent_prompt,
            spent_new_tokens=self.sender.spent_new,
            cost=self.sender.cost,
            seconds=time.monotonic() - self.began,
            stopped=self.sender.stop_reason,
        )
        assert accounting.pending >= 0, "more records than requests"
        return accounting


async def _all_or_first_error(lanes: Sequence[asyncio.Task[None]], keeper: asyncio.Task[None]) -> None:
    """Return when all lanes are done; raise the first exception of a lane or of the keeper at once."""
    waiting: set[asyncio.Task[None]] = {keeper, *lanes}
    while any(not lane.done() for lane in lanes):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    for lane in lanes:
        lane.result()
