"""What a generation counts as, by the recipe as it is now: computed, never looked up.

    judge = Judge.of(config)                       # policies, limits and the server of one recipe
    for judged in iter_judged(requests, index):    # each request with its record, judged in order
        judged.record                              # None: pending; else status, text and flags by this recipe

The ledger holds what engines said: every reply of a generation with its attempt, or the failure. Whether that counts is
a function of (replies, recipe):

- a request that the recipe would not send (`request.skip`) is skipped, whatever the ledger holds of it;
- of its replies the first that the policies accept counts, whatever was sent back before it;
- with none: rejected when a policy says `reject` or no attempt is left, else pending: the next attempt is sent;
- a failure stands while the request would be sent the same way to the same server (`circumstances`), else it is
  pending.

So a recipe whose gates were changed gives the text that it would have given from the start, and asks the engine only
for what a stricter policy sends back. A record's head keeps flags and the digest of what found them (`findings`): as
long as that is the same, policies are applied to the flags and no text is read.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from megadocs.generate.engines.protocol import Reply
from megadocs.generate.findings import remembered
from megadocs.generate.gates import FINDINGS_VERSION, Judgement, judge_reply, verdict_of
from megadocs.generate.ledger import LedgerIndex
from megadocs.generate.records import EarlierReply, GenerationRecord, Status, flag_names
from megadocs.generate.siblings import SiblingTexts
from megadocs.kinds import engine_spec
from megadocs.recipe import GatesConfig, GenerateConfig, canonical_json
from megadocs.recipe.consent import engine_address

if TYPE_CHECKING:
    from megadocs.generate.requests import GenerationRequest

#: What the gates did to a reply when it came; judging its stored text again does not find it any more.
_DONE_TO_THE_TEXT = frozenset({"reasoning", "preamble", "control_tokens", "invalid_unicode"})
#: Flags that depend on other generations: found when a document's generations are judged together.
_OF_SIBLINGS = frozenset({"sibling", "identical"})
_REQUESTS_PER_LOOKUP = 1024


@dataclass(frozen=True, slots=True)
class Judge:
    """One recipe's judgement."""

    gates: GatesConfig  # policies and thresholds
    max_attempts: int  # replies after which a generation that is sent back each time is rejected
    findings: int  # digest of what decides the flags of a text (thresholds and the gates' version), 63 bits, not 0
    #: digest of where and how requests are sent, 63 bits, not 0; None where that is not known now.
    circumstances: int | None

    @classmethod
    def of(cls, config: GenerateConfig) -> Judge:
        """The judgement of a recipe's section `generate`."""
        policies = {name for name, value in config.gates if value in ("accept", "retry", "reject")}
        thresholds = config.gates.model_dump(mode="json", exclude=policies)
        return cls(
            gates=config.gates,
            max_attempts=config.max_attempts,
            findings=_digest([FINDINGS_VERSION, thresholds]),
            circumstances=_circumstances(config),
        )

    @property
    def watches_siblings(self) -> bool:
        """Whether near copies of earlier generations are sent back or rejected: documents are judged as a whole."""
        return self.gates.sibling != "accept"

    def failure_stands(self, basis: int) -> bool:
        """Whether a failure met under `basis` would be met again (records of older ledgers do not say: 0)."""
        return basis == 0 or self.circumstances is None or basis == self.circumstances

    def found_anew(self, stored: GenerationRecord, record: GenerationRecord) -> bool:
        """Whether a judged record's flags may stand for the stored one's: found now, in the very text that it holds."""
        return (
            stored.basis != self.findings
            and stored.num_replies == 1
            and stored.status in ("ok", "rejected")
            and (stored.text, stored.reasoning) == (record.text, record.reasoning)
        )

    def judge(
        self,
        request: GenerationRequest,
        record: GenerationRecord | None,
        is_like_sibling: Callable[[str], bool] | None = None,
    ) -> GenerationRecord | None:
        """The record as it counts under this recipe, or None when the generation is still to be made.

        Args:
            record: what the ledger holds of it.
            is_like_sibling: tells whether a text is nearly the same as an accepted one of a lower generation.
        """
        if request.skip is not None:
            return build_record(request, "skipped", error="too_long", message=request.skip)
        if record is None:
            return None
        verdicts: set[str] = set()
        last: tuple[int, Reply, Judgement] | None = None
        for attempt, reply in stored_replies(record):
            judgement = self._judged(record, attempt, reply, request, is_like_sibling)
            if judgement.verdict == "accept":
                return self._counting(request, record, attempt, reply, judgement, "ok")
            verdicts.add(judgement.verdict)
            last = (attempt, reply, judgement)
        if record.status == "failed":
            return record if self.failure_stands(record.basis) else None
        if last is None or ("reject" not in verdicts and record.attempts < self.max_attempts):
            return None
        return self._counting(request, record, *last, "rejected")

    def _judged(
        self,
        record: GenerationRecord,
        attempt: int,
        reply: Reply,
        request: GenerationRequest,
        is_like_sibling: Callable[[str], bool] | None,
    ) -> Judgement:
        """One stored reply after the gates; the final reply's own flags are used again where they are still right."""
        is_final = attempt == record.attempts - 1 and record.status != "failed"
        if is_final and record.basis == self.findings:
            flags = tuple(flag for flag in record.flags if flag not in _OF_SIBLINGS)
            if record.text and is_like_sibling is not None and is_like_sibling(record.text):
                flags = (*flags, "sibling")
            return Judgement(record.text, record.reasoning, flags, verdict_of(flags, self.gates))
        judgement = judge_reply(reply, request.source, self.gates, is_like_sibling)
        if is_final and record.reply is None:  # its text was cleaned before it was stored
            done = sorted(_DONE_TO_THE_TEXT & set(record.flags) - set(judgement.flags))
            flags = (*judgement.flags, *done)
            judgement = replace(judgement, flags=flags, verdict=verdict_of(flags, self.gates))
        return judgement

    def _counting(
        self,
        request: GenerationRequest,
        record: GenerationRecord,
        attempt: int,
        reply: Reply,
        judgement: Judgement,
        status: Status,
    ) -> GenerationRecord:
        """The record with one of its replies as the one that counts."""
        if attempt == record.attempts - 1 and record.status != "failed":
            flags = {*judgement.flags, *(flag for flag in record.flags if flag.startswith("source_"))}
            return replace(
                record,
                status=status,
                text=judgement.text,
                reasoning=judgement.reasoning,
                flags=tuple(sorted(flags)),
                error=None if status == "ok" else "quality",
            )
        return build_record(
            request, status, reply=reply, judgement=judgement, attempts=attempt + 1, spent_tokens=record.spent_tokens
        )


def _circumstances(config: GenerateConfig) -> int | None:
    engine = config.engine
    address = engine_address(engine)
    if engine_spec(engine.kind).works_by == "address" and address is None:
        return None
    sent = {"kind": engine.kind, "address": address, "api": engine.api, "options": dict(engine.options)}
    return _digest([sent, engine.context_tokens, config.attempt_timeout_seconds])


def _digest(value: Any) -> int:
    """63 bits of a JSON value's hash; never 0, which stands for a basis that is not known."""
    number = int.from_bytes(hashlib.sha256(canonical_json(value).encode("utf-8")).digest()[:8], "little")
    return (number >> 1) or 1


def stored_replies(record: GenerationRecord) -> Iterator[tuple[int, Reply]]:
    """Every reply of a generation that the ledger holds, as the engine sent it, with its attempt, in order."""
    for earlier in record.earlier:
        yield (
            earlier.attempt,
            Reply(
                earlier.text,
                earlier.finish_reason,
                earlier.prompt_tokens,
                earlier.new_tokens,
                earlier.cached_tokens,
                earlier.reasoning,
            ),
        )
    if record.status in ("ok", "rejected"):
        text, reasoning = record.reply if record.reply is not None else (record.text, record.reasoning)
        counts = (record.prompt_tokens, record.new_tokens, record.cached_tokens)
        yield record.attempts - 1, Reply(text, record.finish_reason or "stop", *counts, reasoning)


def as_earlier(attempt: int, reply: Reply) -> EarlierReply:
    """A reply that does not count (now), as it is kept in the record of the one that does."""
    return EarlierReply(
        attempt,
        reply.text,
        reply.reasoning,
        reply.finish_reason,
        reply.prompt_tokens,
        reply.new_tokens,
        reply.cached_tokens,
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """A request, what the ledger holds of it, and the record as it counts now (None: pending)."""

    request: GenerationRequest
    stored: GenerationRecord | None
    record: GenerationRecord | None


def iter_judged(requests: Iterable[GenerationRequest], index: LedgerIndex) -> Iterator[Judged]:
    """Each request judged, in order; all of a document stand together, lower generations first.

    A document's texts are compared with each other where the recipe watches siblings.
    """
    stream = iter(requests)
    first = next(stream, None)
    if first is None:
        return
    siblings: SiblingTexts | None = None
    with remembered(index, first.template.judge.findings):
        for request, stored in iter_records(itertools.chain([first], stream), index):
            judge = request.template.judge
            if not judge.watches_siblings:
                yield Judged(request, stored, judge.judge(request, stored))
                continue
            if siblings is None or siblings.document_id != request.document_id:
                siblings = SiblingTexts(request.document_id)
            yield Judged(request, stored, judge_among(request, stored, siblings))


def judge_among(
    request: GenerationRequest, stored: GenerationRecord | None, siblings: SiblingTexts
) -> GenerationRecord | None:
    """Judge a request beside the accepted texts of its document, and note its text there when it is accepted."""
    record = request.template.judge.judge(request, stored, lambda text: siblings.is_near_copy(request, text))
    if record is not None and record.status == "ok":
        siblings.add(request, record.text)
    return record


def iter_records(
    requests: Iterable[GenerationRequest], index: LedgerIndex
) -> Iterator[tuple[GenerationRequest, GenerationRecord | None]]:
    """Each request with what the ledger holds of it, or None."""
    stream = iter(requests)
    while chunk := list(itertools.islice(stream, _REQUESTS_PER_LOOKUP)):
        positions = index.find([request.identity for request in chunk])
        yield from zip(chunk, index.read(positions), strict=True)


def verdict_of_bits(bits: int, gates: GatesConfig) -> str:
    """The strictest verdict over the flags of a record's head, those of siblings left out."""
    return verdict_of([flag for flag in flag_names(bits) if flag not in _OF_SIBLINGS], gates)


def build_record(
    request: GenerationRequest,
    status: Status,
    *,
    reply: Reply | None = None,
    judgement: Judgement | None = None,
    earlier: tuple[EarlierReply, ...] = (),
    attempts: int = 0,
    spent_tokens: int = 0,
    error: str | None = None,
    message: str | None = None,
) -> GenerationRecord:
    """The record of a request."""
    flags = set(judgement.flags if judgement else ())
    if request.truncated_source:
        flags.add("source_truncated")
    if request.num_parts > 1:
        flags.add("source_split")
    style, judge = request.template.style, request.template.judge
    text, reasoning = (judgement.text, judgement.reasoning) if judgement else ("", "")
    as_sent = None if reply is None else (reply.text, reply.reasoning)
    return GenerationRecord(
        identity=request.identity,
        document_id=request.source_document_id,
        kind=request.kind,
        generation=request.generation,
        num_generations=request.num_generations,
        style=f"{style.name}@{style.version}",
        status=status,
        split_character=request.split_character,
        part=request.part,
        num_parts=request.num_parts,
        text=text,
        reasoning=reasoning,
        finish_reason=reply.finish_reason if reply else None,
        flags=tuple(sorted(flags)),
        prompt_tokens=reply.prompt_tokens if reply else 0,
        new_tokens=reply.new_tokens if reply else 0,
        cached_tokens=reply.cached_tokens if reply else 0,
        spent_tokens=spent_tokens,
        attempts=attempts,
        seed=request.seed(attempts - 1) if attempts else 0,
        error=error or ("quality" if status == "rejected" else None),
        message=message,
        reply=None if as_sent == (text, reasoning) else as_sent,
        earlier=earlier,
        basis=judge.findings if reply is not None else judge.circumstances or 0 if status == "failed" else 0,
    )
