"""Can order act here? Whether the students use what stands before a row."""

from __future__ import annotations

from megadocs.analysis.gate import gate_sentences
from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Section, View


def _view(inputs: ReportInputs) -> View:
    gate = inputs.results.get("gate")
    return {"gate": gate, "gate_sentence": gate_sentences(gate, inputs.results)[0]} if gate else None


SECTION = Section("gate", "Can order act here?", _view)
