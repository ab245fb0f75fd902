"""The gate's measurements as the analysis wants them: with what the run saw, from their records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.analysis import GateFacts, gate_row, json_form
from megadocs.generate.accounting import num_kept_cut
from megadocs.kinds import find_ordering, row_kind
from megadocs.pipeline.stages.run_records import FinishedRun, record_path
from megadocs.store.artifact import Artifact


def gate_rows(
    runs: Mapping[str, FinishedRun], inputs: Mapping[str, Artifact], generations: Sequence[Artifact]
) -> list[dict[str, Any]]:
    """One entry for each run that was measured.

    Args:
        runs: owner -> run.
        inputs: of the report step; the roles `gate <owner>` are read.
        generations: of the training documents, for the share that the length limit cut.
    """
    rows = []
    for owner, run in runs.items():
        gate = inputs.get(f"gate {owner}")
        streams = [stream for stream in run.streams() if stream.stream != "real"]
        if gate is None or not streams:
            continue
        facts, stream, train = run.facts(), streams[0], run.train.record["config"]["train"]
        num_documents = facts.real_documents / run.train.record["config"]["mixture"]["real_multiple"]
        rows.append(
            gate_row(
                GateFacts(
                    arm=run.arm,
                    seed=run.seed,
                    ordering=str(facts.settings["ordering"]),
                    measured=gate.summary,
                    context_length=train["context_length"],
                    batch_size=train["batch_size"],
                    num_steps=facts.num_steps or 0,
                    train_tokens=facts.train_tokens or 0,
                    row_tokens=stream.num_tokens / stream.num_rows,
                    megadoc_tokens=stream.num_tokens / num_documents,
                    truncated_share=_truncated(str(facts.settings["ordering"]), generations),
                    record=record_path(gate),
                )
            )
        )
    found: list[dict[str, Any]] = json_form(rows)
    return found


def _truncated(ordering: str, generations: Sequence[Artifact]) -> float | None:
    """Share of usable generations that were cut, of the largest set that the ordering's rows are made of."""
    tasks = {task for kind in find_ordering(ordering).kinds if (task := row_kind(kind).task) is not None}
    counts = [
        (written.summary["accounting"], written.record["config"]["gates"])
        for written in generations
        if written.record["config"]["task"] in tasks
    ]
    largest = max((found for found in counts if found[0]["ok"]), key=lambda found: found[0]["requested"], default=None)
    return None if largest is None else num_kept_cut(*largest) / largest[0]["ok"]
