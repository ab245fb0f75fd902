"""A toy experiment for one kind: made-up documents, the fake engine, the steps up to a stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from megadocs.corpus import read_corpus
from megadocs.kinds import OrderingOptions, find_ordering
from megadocs.pipeline.run import ExperimentOutcome, run_experiment
from megadocs.recipe import Recipe, load_recipe
from megadocs.rows import RowsManifest, RowStore, open_rows
from megadocs.store.artifact import Workspace
from pipeline.corpora import write_texts
from pipeline.inline import InlineExecutor

_RECIPE: dict[str, Any] = {
    "name": "toy",
    "tokenizer": {"kind": "train", "vocab_size": 300},
    "model": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    "train": {"context_length": 64, "batch_size": 4, "real_epochs": 1},
    "mixture": {"block_windows": 16, "synthetic_fraction": 0.5},
    "analysis": {"num_bootstrap": 100},
}


@dataclass(frozen=True)
class Toy:
    """What a run left.

    Attributes:
        recipe: as it ran.
        root: the workspace.
        outcome: of `run_experiment`.
    """

    recipe: Recipe
    root: Path
    outcome: ExperimentOutcome

    @property
    def documents(self) -> dict[str, str]:
        """Id -> text of the training documents."""
        (corpus,) = Workspace(self.root).artifacts("corpus")
        return {document.id: document.text for document in read_corpus(corpus.path).train_multiple(1)}

    def generations(self, task: str) -> list[dict[str, Any]]:
        """Records that a task exported."""
        (artifact,) = [a for a in Workspace(self.root).artifacts("generate") if a.record["config"]["task"] == task]
        return list(pq.read_table(artifact.path / "generations.parquet").to_pylist())

    def texts(self, kind: str) -> dict[tuple[str, int], str]:
        """(document, generation) -> text of the rows of one kind."""
        rows = [
            row for path in sorted(self.root.glob("segments/*/rows.parquet")) for row in pq.read_table(path).to_pylist()
        ]
        return {(row["document_id"], row["generation"]): row["text"] for row in rows if row["kind"] == kind}

    def store(self) -> RowStore:
        """All rows, opened."""
        artifacts = Workspace(self.root).artifacts("rows")
        return open_rows(
            [RowsManifest.load(artifact.path / "rows.json") for artifact in artifacts], self.root / "segments"
        )

    def stream(self, ordering: str, **options: Any) -> list[tuple[str, str, int]]:
        """(document, kind, generation) of every row of the kinds that an ordering takes, in its order."""
        from megadocs.kinds import row_kind, row_kind_of_code

        spec, table = find_ordering(ordering), self.store().table
        codes = [row_kind(kind).code for kind in spec.rows(options.get("real_document", "last"))]
        wanted = set(self.documents)
        rows = [
            row
            for row in range(len(table))
            if table.kind[row] in codes and table.document_ids[table.document_index[row]] in wanted
        ]
        import numpy as np

        order = spec.order(table, np.array(rows), seed=0, epoch=0, options=OrderingOptions(**options))
        return [
            (
                table.document_ids[table.document_index[row]],
                row_kind_of_code(int(table.kind[row])).name,
                int(table.generation[row]),
            )
            for row in order.tolist()
        ]


def run_toy(root: Path, generate: dict[str, Any], arms: dict[str, Any], *, stage: str = "rows") -> Toy:
    """Forty made-up documents up to a stage.

    Args:
        root: for texts, recipe and workspace.
        generate: the recipe's section without its engine.
        arms: name -> overrides.
        stage: see `pipeline.run.STAGES`.
    """
    recipe = {
        **_RECIPE,
        "corpus": {"source": str(write_texts(root / "texts", 40)), "split": "auto"},
        "generate": {"engine": {"kind": "fake", "model": "fake", "concurrency": 8}, **generate},
        "arms": arms,
    }
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    loaded = load_recipe(path)
    outcome = run_experiment(loaded, root / "ws", stage=stage, executor=InlineExecutor(root / "ws"))
    assert outcome.errors == []
    return Toy(loaded, root / "ws", outcome)
