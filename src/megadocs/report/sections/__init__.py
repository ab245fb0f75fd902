"""The sections of the report, in reading order: the answer, the evidence behind it, where everything came from."""

from megadocs.report.section import Section, shown
from megadocs.report.sections import (
    accounting,
    answer,
    audit,
    benchmarks,
    compute,
    ensembles,
    gate,
    laws,
    losses,
    paper,
    positions,
    samples,
    searches,
    stream_windows,
    training,
)

SECTIONS: tuple[Section, ...] = (
    answer.SECTION,
    losses.SECTION,
    gate.SECTION,
    Section("world", "Over the floor", lambda inputs: shown("world", inputs.results.get("world"))),
    positions.SECTION,
    benchmarks.SECTION,
    ensembles.SECTION,
    compute.SECTION,
    searches.SECTION,
    laws.SECTION,
    training.SECTION,
    paper.SECTION,
    accounting.SECTION,
    audit.SECTION,
    stream_windows.SECTION,
    samples.SECTION,
    Section("provenance", "Provenance", lambda inputs: {}),
)
