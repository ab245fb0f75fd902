"""Generations of a recipe outside a run: status, export, price."""

from __future__ import annotations

from pathlib import Path

import pytest

from megadocs.cli.generate import _status_lines
from megadocs.generate import run_generation
from megadocs.pipeline.generation import export_all, iter_status, open_corpus
from megadocs.pipeline.price.plan import build_plan
from megadocs.recipe import load_recipe
from megadocs.store.artifact import Workspace


def test_status_before_and_after_and_the_plan_s_price(toy_recipe: Path, tmp_path: Path) -> None:
    prices = ["generate.limits.price_per_million_new_tokens=1000", "generate.limits.price_per_server_hour=3600"]
    recipe, workspace = load_recipe(toy_recipe, prices), Workspace(tmp_path / "w")
    documents = open_corpus(recipe, workspace).train_multiple(1)
    before = list(iter_status(recipe, workspace))
    assert [(state.task, state.accounting.pending, state.live) for state in before] == [
        ("rephrase", 2 * len(documents), None),
        ("thought", 2 * len(documents), None),
    ]
    lines = [line for line in build_plan(recipe, workspace.root).lines if line.kind == "generate"]
    assert [line.num_requests for line in lines] == [2 * len(documents)] * 2
    for line in lines:
        assert line.num_prompt_tokens is not None
        assert line.num_tokens is not None
        assert line.num_prompt_tokens > 2 * len(documents) * 120  # instructions and the document
        assert line.cost == pytest.approx(line.num_tokens / 1000 + line.seconds)
    unpriced = [line for line in build_plan(load_recipe(toy_recipe), workspace.root).lines if line.kind == "generate"]
    assert [line.cost for line in unpriced] == [None, None]

    ledger = workspace.root / "ledger" / "rephrase"
    run_generation(recipe.generate, "rephrase", documents, ledger, lambda _: None, lambda: False)
    after = next(iter(iter_status(recipe, workspace)))
    assert (after.accounting.ok, after.accounting.pending) == (2 * len(documents), 0)
    assert after.live is not None
    assert not after.live.is_running
    assert after.to_json()["live"]["done"] == 2 * len(documents)
    books, tokens, last = _status_lines(after)
    assert books == (
        f"rephrase: {2 * len(documents)} requested = {2 * len(documents)} ok + 0 rejected + 0 failed + 0 skipped "
        "+ 0 pending"
    )
    assert tokens.startswith(f"  {len(documents)} documents; ")
    assert "cached)" in tokens
    assert last.startswith(f"  last run: {2 * len(documents)}/{2 * len(documents)} generations, ")
    assert "cost" in last
    counts = export_all(recipe, workspace, tmp_path / "export")
    assert counts["rephrase"]["exported"] == counts["rephrase"]["ok"] == 2 * len(documents)
    assert counts["thought"]["pending"] == 2 * len(documents)
