"""What a report is built from: plain values, no paths opened, no clock read.

The pipeline fills these from the records of a workspace. Whatever is not there stays empty and the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from megadocs.streams import WindowPiece


@dataclass(frozen=True, slots=True)
class Curve:
    """Training curve of one run."""

    arm: str
    seed: int
    steps: Sequence[float]  # optimiser steps of the logged points, ascending
    losses: Sequence[float]  # training loss in nats per token at each of them
    tokens_per_step: float | None = None  # tokens of one step; with it the x-axis shows tokens
    validation_steps: Sequence[float] = ()  # steps at which validation loss was measured during the run
    validation_losses: Sequence[float] = ()  # validation loss in nats per token at each of them


@dataclass(frozen=True, slots=True)
class Generated:
    """One generation shown beside its document."""

    kind: str  # name of its task
    generation: int
    text: str
    split_character: int | None = None  # thoughts: where in the document it stands
    flags: Sequence[str] = ()  # flags of the record ("truncated" ...)
    num_tokens: int | None = None  # new tokens in the generator's tokens


@dataclass(frozen=True, slots=True)
class Sample:
    """A real document with its generations."""

    document_id: str
    text: str
    generations: Sequence[Generated]


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """Token accounting of one stream of one arm (one seed stands for all; counts do not depend on it)."""

    arm: str
    stream: str  # "real", or the synthetic stream's ordering
    num_rows: int  # rows in the stream
    num_tokens: int  # their tokens, separators included
    num_windows: int  # windows cut from them
    num_dropped_tokens: int  # tokens of the tail that fills no window
    num_missing: int = 0  # generations that the stream had to do without
    planned_epochs: float | None = None  # passes the recipe asked for
    actual_epochs: float | None = None  # passes made
    num_window_reads: int | None = None  # windows of this stream that were trained on, repeats counted
    record: str | None = None  # path of the run's record, relative to the report


@dataclass(frozen=True, slots=True)
class GenerationAccount:
    """Accounting of one generation task: requested = ok + rejected + failed + skipped + pending."""

    task: str
    requested: int
    ok: int
    rejected: int = 0
    failed: int = 0
    skipped: int = 0
    pending: int = 0
    truncated: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    seconds: float | None = None
    record: str | None = None

    @property
    def adds_up(self) -> bool:
        """Every request has exactly one state."""
        return self.requested == self.ok + self.rejected + self.failed + self.skipped + self.pending


@dataclass(frozen=True, slots=True)
class StreamWindow:
    """A sample window of one stream."""

    arms: Sequence[str]  # the arms whose streams begin so
    stream: str
    window: int  # number of the window, in stream order
    summary: Sequence[str] = ()  # counts of the stream and of who shares windows, a line each
    pieces: Sequence[WindowPiece] = ()
    absent: str | None = None  # why there is no window to show; else None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One published artifact behind the report."""

    step: str
    label: str  # what it is about (an arm and seed, a task); may be empty
    fingerprint: str  # its fingerprint
    record: str | None = None  # path of its record, relative to the report
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything on the page."""

    #: the dictionary of `analysis.analyze_experiment`, and what the pipeline added to it: `ensembles`, `benchmarks`,
    #: `searches`, `audit` (docs/report.md).
    results: Mapping[str, Any]
    description: str = ""  # the recipe's paragraph about the experiment
    curves: Sequence[Curve] = ()
    samples: Sequence[Sample] = ()
    #: counts of the corpus step, name -> number or text, printed in this order.
    corpus: Mapping[str, Any] = field(default_factory=dict)
    streams: Sequence[StreamAccount] = ()
    generations: Sequence[GenerationAccount] = ()
    steps: Sequence[StepRecord] = ()  # artifacts behind the numbers
    windows: Sequence[StreamWindow] = ()
    recipe_yaml: str = ""  # the resolved recipe
    environment: Mapping[str, str] = field(default_factory=dict)  # versions and machine, name -> text
