"""The registry as a whole: permanent codes, names that fit together, and no second list of kinds anywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import megadocs
from megadocs.errors import RecipeError
from megadocs.generate.styles import load_style
from megadocs.kinds import (
    REAL,
    SAMPLE,
    Kind,
    RowKind,
    Tags,
    Written,
    find_ordering,
    ordering_names,
    ordering_spec,
    orderings_of_role,
    row_kind,
    row_kind_of_code,
    row_kinds,
    task_kind,
    task_names,
)
from megadocs.kinds.registry import Registry

SOURCE = Path(megadocs.__file__).parent
#: Codes are in row keys of every workspace there is.
CODES = {"real": 0, "rephrase": 1, "latent_thoughts": 2, "self_distilled": 3, "thoughts_appended": 4}


def test_codes_are_permanent() -> None:
    assert {name: row_kind(name).code for name in CODES} == CODES
    assert all(row_kind_of_code(kind.code) is kind and kind.code < 128 for kind in row_kinds())


@pytest.mark.parametrize("name", task_names())
def test_a_task_has_a_default_style_with_its_placeholders(name: str) -> None:
    kind = task_kind(name)
    style = load_style(kind.style, task=name)
    shown = kind.show("one two", None if kind.cut is None else 3)
    assert set(shown) == kind.placeholders
    assert all(text.strip() in style.render(shown)[-1]["content"] for text in shown.values())


@pytest.mark.parametrize("kind", row_kinds(), ids=lambda kind: kind.name)
def test_a_row_is_made_of_a_task_that_there_is(kind: RowKind) -> None:
    if kind.name == REAL:
        assert kind.task is None and kind.text is None
        return
    assert kind.task in (*task_names(), SAMPLE)
    assert kind.text is not None
    assert "word" in kind.text("a text of words", [Written(2, "word")], Tags("<", ">"))


@pytest.mark.parametrize("name", ordering_names())
def test_an_ordering_takes_rows_that_there_are(name: str) -> None:
    spec = ordering_spec(name)
    assert all(row_kind(kind) for kind in spec.rows("last"))
    assert spec.rows("none") == spec.kinds
    assert spec.contrast is None or ordering_spec(spec.contrast.method).role == "method"
    assert (spec.contrast is None) or spec.role == "control"
    assert spec.role == "control" or not spec.is_null


def test_methods_stand_from_the_plainest_on() -> None:
    methods = [spec.name for spec in orderings_of_role("method")]
    assert methods[:4] == ["simple", "stitched", "latent_thoughts", "merged"]


def test_a_name_or_code_is_given_once() -> None:
    registry = Registry()
    registry.add(Kind(rows=(RowKind("haiku", 200),)), "one")
    with pytest.raises(RecipeError, match="'haiku' is the name or code of another kind"):
        registry.add(Kind(rows=(RowKind("haiku", 201),)), "two")
    with pytest.raises(RecipeError, match="200 is the name or code of another kind"):
        registry.add(Kind(rows=(RowKind("sonnet", 200),)), "three")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"unknown ordering 'stiched'") as refused:
        find_ordering("stiched")
    assert "stitched" in str(refused.value) and "module:attribute" in str(refused.value)
    with pytest.raises(RecipeError, match="unknown kind of row"):
        row_kind("haiku")


#: Modules that may spell a kind's name, and why.
SPELLED = {
    "analysis/gate.py": "the gate asks about two orders of the same rows",
    "pipeline/budget.py": "arms and tasks of recipes/own.yaml, which it shortens",
    "analysis/paper_arms.py": "figures of one paper, whose arms they name",
    "analysis/paper_series.py": "figures of one paper, whose arms they name",
    "analysis/published.py": "keys of the published record",
    "generate/engines/embedded.py": "a key of its messages, for scoring a continuation",
    "model/worker.py": "a key of its messages, for scoring a continuation",
    "recipe/published.py": "forms of published datasets, which are no row kinds",
    "rows/published.py": "forms of published datasets, and the rows that each holds",
    "rows/build.py": "the default of a keyword",
    "pipeline/tune/start.py": "where untuned orderings begin",
    "kinds/registry.py": "what a function without `kinds` gets",
}


def test_names_of_kinds_are_spelled_in_their_own_files_only() -> None:
    names = {*task_names(), *ordering_names(), *(kind.name for kind in row_kinds())} - {REAL}
    found = set()
    for path in SOURCE.rglob("*.py"):
        if path.name == "__init__.py":  # they list names of functions
            continue
        module = path.relative_to(SOURCE).as_posix()
        strings = (
            node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)
        )
        if not module.startswith("kinds/built_in/") and names & {text for text in strings if isinstance(text, str)}:
            found.add(module)
    assert found == set(SPELLED)
