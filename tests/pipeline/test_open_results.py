"""The results file is read only when a published report vouches for it, and refused when it is not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megadocs.analysis import dump_results
from megadocs.errors import DamagedError, InputError
from megadocs.pipeline.open_results import open_results
from megadocs.pipeline.run import copy_to_top
from megadocs.store.artifact import Workspace

BLOCK: dict[str, Any] = {"set": "test", "mode": "windowed", "losses": [], "differences": [], "pairs": []}
RESULTS: dict[str, Any] = {
    "schema": "megadocs.results",
    "schema_version": 1,
    "answer": ["It was worth 2.03x."],
    "warnings": [],
    "sets": [{**BLOCK, "curve": [], "data_efficiency": []}],
    "arms": [{"arm": "real_only", "kind": "real", "seeds": [0]}],
    "runs": [{"arm": "real_only", "seed": 0, "losses": []}],
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    with Workspace(tmp_path).build("report", "aa", config={}, inputs={}) as build:
        (build.path / "results.json").write_bytes(dump_results(RESULTS))
    copy_to_top(Workspace(tmp_path).artifacts("report")[0], tmp_path)
    return tmp_path


def test_a_copy_of_a_published_report_is_read(workspace: Path) -> None:
    assert open_results(workspace) == (RESULTS, None)


def test_an_edited_number_is_refused(workspace: Path) -> None:
    path = workspace / "results.json"
    path.write_text(path.read_text().replace("2.03x", "2.30x"))
    with pytest.raises(DamagedError, match="no copy of a published report") as caught:
        open_results(workspace)
    assert caught.value.where == str(path)
    assert "megadocs report" in str(caught.value.remedy)


def test_an_edited_report_is_not_copied_to_the_top(workspace: Path) -> None:
    report = Workspace(workspace).artifacts("report")[0]
    (report.path / "results.json").write_bytes(dump_results({**RESULTS, "answer": ["It was worth 2.30x."]}))
    with pytest.raises(DamagedError, match="SHA-256") as caught:
        copy_to_top(report, workspace)
    assert str(report.path) in str(caught.value.remedy)


def test_results_passed_on_by_themselves_are_read_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(dump_results(RESULTS))
    results, note = open_results(tmp_path)
    assert results == RESULTS
    assert note is not None and "was not checked" in note


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"sets": []}, "'set'"),
        ({"sets": ["x"]}, "'set'"),
        ({"sets": [BLOCK]}, "'curve'"),
        ({"arms": [{"arm": "a"}]}, "'kind'"),
        ({"runs": [3]}, "'arm'"),
        ({"answer": [1, None]}, "a sentence is no text"),
        ({"schema_version": 2}, "this version reads 1"),
    ],
)
def test_results_that_are_not_whole_are_refused(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    (tmp_path / "results.json").write_text(json.dumps({**RESULTS, **change}))
    with pytest.raises(InputError, match=what) as caught:
        open_results(tmp_path)
    assert caught.value.where == str(tmp_path / "results.json")


def test_no_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results there"):
        open_results(tmp_path)
