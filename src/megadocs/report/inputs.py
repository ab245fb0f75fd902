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
    """Training curve of one run.

    Attributes:
        steps: optimiser steps of the logged points, ascending.
        losses: training loss in nats per token at each of them.
        tokens_per_step: tokens of one step; with it the x-axis shows tokens.
        validation_steps: steps at which validation loss was measured during the run.
        validation_losses: validation loss in nats per token at each of them.
    """

    arm: str
    seed: int
    steps: Sequence[float]
    losses: Sequence[float]
    tokens_per_step: float | None = None
    validation_steps: Sequence[float] = ()
    validation_losses: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Generated:
    """One generation shown beside its document.

    Attributes:
        kind: name of its task.
        split_character: thoughts: where in the document it stands.
        flags: flags of the record ("truncated" ...).
        num_tokens: new tokens in the generator's tokens.
    """

    kind: str
    generation: int
    text: str
    split_character: int | None = None
    flags: Sequence[str] = ()
    num_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A real document with its generations."""

    document_id: str
    text: str
    generations: Sequence[Generated]


@dataclass(frozen=True, slots=True)
class StreamAccount:
    """Token accounting of one stream of one arm (one seed stands for all; counts do not depend on it).

    Attributes:
        stream: "real", or the synthetic stream's ordering.
        num_rows: rows in the stream.
        num_tokens: their tokens, separators included.
        num_windows: windows cut from them.
        num_dropped_tokens: tokens of the tail that fills no window.
        num_missing: generations that the stream had to do without.
        planned_epochs: passes the recipe asked for.
        actual_epochs: passes made.
        num_window_reads: windows of this stream that were trained on, repeats counted.
        record: path of the run's record, relative to the report.
    """

    arm: str
    stream: str
    num_rows: int
    num_tokens: int
    num_windows: int
    num_dropped_tokens: int
    num_missing: int = 0
    planned_epochs: float | None = None
    actual_epochs: float | None = None
    num_window_reads: int | None = None
    record: str | None = None


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
    """A sample window of one stream.

    Attributes:
        arms: the arms whose streams begin so.
        window: number of the window, in stream order.
        summary: counts of the stream and of who shares windows, a line each.
        absent: why there is no window to show; else None.
    """

    arms: Sequence[str]
    stream: str
    window: int
    summary: Sequence[str] = ()
    pieces: Sequence[WindowPiece] = ()
    absent: str | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One published artifact behind the report.

    Attributes:
        label: what it is about (an arm and seed, a task); may be empty.
        fingerprint: its fingerprint.
        record: path of its record, relative to the report.
    """

    step: str
    label: str
    fingerprint: str
    record: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """Everything on the page.

    Attributes:
        results: the dictionary of `analysis.analyze_experiment`, and what the pipeline added to it: `ensembles`,
            `benchmarks`, `searches`, `audit` (docs/report.md).
        description: the recipe's paragraph about the experiment.
        corpus: counts of the corpus step, name -> number or text, printed in this order.
        steps: artifacts behind the numbers.
        recipe_yaml: the resolved recipe.
        environment: versions and machine, name -> text.
    """

    results: Mapping[str, Any]
    description: str = ""
    curves: Sequence[Curve] = ()
    samples: Sequence[Sample] = ()
    corpus: Mapping[str, Any] = field(default_factory=dict)
    streams: Sequence[StreamAccount] = ()
    generations: Sequence[GenerationAccount] = ()
    steps: Sequence[StepRecord] = ()
    windows: Sequence[StreamWindow] = ()
    recipe_yaml: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
