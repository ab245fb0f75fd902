"""What was published without some of its generations, looked at again: by the recipe and the ledger as they are now.

    notes = reopen_generations(steps, workspace, check_ledger=True)

An artifact of generations is final only as far as it is complete. Where a generation that it lacks may be made now (its
server has another address, a `retry` wrote it), the artifact and everything built on it move to `superseded/`, so that
the run makes them anew; nothing is deleted. Records that a damaged ledger lost are taken back from the artifacts that
hold their texts: no generation is paid for twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megadocs.corpus import read_corpus
from megadocs.generate import iter_requests
from megadocs.generate.judgement import iter_judged
from megadocs.generate.ledger import Ledger, LedgerIndex, load_index
from megadocs.generate.records import GenerationRecord
from megadocs.generate.requests import GenerationRequest
from megadocs.pipeline.stages.generate import asked_of
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.store.artifact import RECORD, Artifact, Workspace
from megadocs.store.files import make_directory
from megadocs.store.lock import is_locked


def reopen_generations(steps: Iterable[Step], workspace: Workspace, *, check_ledger: bool) -> list[str]:
    """Set aside published generations that can be completed now; one sentence for each thing done.

    Args:
        steps: of a run; those of the kind `generate` are looked at.
        check_ledger: look for lost records of complete artifacts, too (reads the whole ledger).
    """
    notes: list[str] = []
    for step in steps:
        artifact = find_artifact(step, workspace) if step.kind == "generate" else None
        ledger = workspace.root / "ledger" / str(step.config.get("task"))
        if artifact is None or is_locked(ledger / "ledger.lock"):
            continue
        accounting = artifact.summary["accounting"]
        if not check_ledger and accounting["ok"] == accounting["requested"]:
            continue
        index = load_index(ledger)
        if check_ledger and index.damaged:
            notes.append(_repair(ledger, step.config["task"]))
            index = load_index(ledger)
        pending = _pending(step, workspace, index)
        restored = _restore(pending, artifact, ledger, index) if pending else 0
        if restored:
            name = f"{artifact.step}/{artifact.fingerprint}"
            notes.append(f"{step.name}: {restored} generations that the ledger had lost were taken back from {name}")
        if restored < len(pending):
            set_aside(artifact, workspace)
            notes.append(
                f"{step.name}: {len(pending) - restored} generations are asked for again; what was built without them "
                "moved to superseded/"
            )
    return notes


def set_aside(artifact: Artifact, workspace: Workspace) -> None:
    """Move an artifact and everything built on it to `superseded/`."""
    for other in workspace.artifacts():
        if artifact.fingerprint in other.record["inputs"].values():
            set_aside(other, workspace)
    if not (artifact.path / RECORD).is_file():  # moved already, by way of another of its users
        return
    target = workspace.root / "superseded" / artifact.step
    make_directory(target)
    number = sum(1 for _ in target.glob(f"{artifact.fingerprint}-*"))
    artifact.path.rename(target / f"{artifact.fingerprint}-{number}")


def _repair(ledger: Path, task: str) -> str:
    """Move damaged bytes out of a ledger, as opening it for writing does; says so."""
    with Ledger(ledger) as opened:
        return f"ledger {task}: {opened.num_quarantined} damaged ranges moved to {opened.quarantine}"


def _pending(step: Step, workspace: Workspace, index: LedgerIndex) -> list[GenerationRequest]:
    """The step's requests that would be sent now."""
    corpus = find_artifact(step.inputs["corpus"], workspace)
    if corpus is None:
        return []
    config, documents = asked_of(step.config, read_corpus(corpus.path))
    requests = iter_requests(config, step.config["task"], documents)
    return [judged.request for judged in iter_judged(requests, index) if judged.record is None]


def _restore(pending: list[GenerationRequest], artifact: Artifact, ledger: Path, index: LedgerIndex) -> int:
    """Write records for the texts that an artifact holds of the pending requests; their number.

    A document that was split for its length has its parts joined there: they are asked for again.
    """
    import pyarrow.parquet as pq

    places = index.find([request.identity for request in pending])
    lost = {
        request.identity: request
        for request, place in zip(pending, places.tolist(), strict=True)
        if place < 0 and request.num_parts == 1
    }
    found: list[GenerationRecord] = []
    with pq.ParquetFile(artifact.path / "generations.parquet") as file:
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                if row["status"] == "ok" and row["identity"] in lost:
                    found.append(_record(row, lost[row["identity"]]))
    if found:
        with Ledger(ledger) as opened:
            for record in found:
                opened.append(record)
    return len(found)


def _record(row: dict[str, Any], request: GenerationRequest) -> GenerationRecord:
    copied = ("identity", "style", "status", "text", "finish_reason", "prompt_tokens", "new_tokens", "attempts", "seed")
    return GenerationRecord(
        document_id=request.source_document_id,
        kind=request.kind,
        generation=request.generation,
        num_generations=request.num_generations,
        split_character=request.split_character,
        flags=tuple(flag for flag in row["flags"] if flag not in ("identical", "sibling")),
        spent_tokens=row["prompt_tokens"] + row["new_tokens"],
        **{name: row[name] for name in copied},
    )
