"""Where tests stand: in the folder of what they test. The rule of CONTRIBUTING, checked without running anything."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "megadocs"
#: Started with `python -m megadocs`.
STARTED = {"megadocs.__main__"}
#: Modules that import others by a name made at run time -> the package of these.
BY_NAME = {
    "cli/__init__.py": "megadocs.cli.",
    "pipeline/stages/stage.py": "megadocs.pipeline.stages.",
    "kinds/registry.py": "megadocs.kinds.built_in.",
    "kinds/engine.py": "megadocs.kinds.engines.",
}
#: Modules that serve one step or verb, which the tests of that step or verb reach: of a package further up.
FROM_ABOVE = {
    "megadocs.corpus.held_out",
    "megadocs.text.vocab_size",
}


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the package."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules of the package that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            names |= {node.module[:end] for end, letter in enumerate(node.module) if letter == "."}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("megadocs."):
            module = node.value.partition(":")[0]  # patched, started with -m, or the place of a function
            names |= {module, module.rpartition(".")[0]}
    for file, package in BY_NAME.items():
        if path == SOURCE / file:
            names |= {name for name in modules() if name.startswith(package)}
    return frozenset(names & modules().keys())


def reached(start: set[str]) -> set[str]:
    """The modules, and what they import, and so on."""
    seen: set[str] = set()
    while start:
        name = start.pop()
        if name not in seen:
            seen.add(name)
            start |= imports(modules()[name]) - seen
    return seen


def test_files():
    return sorted(TESTS.rglob("test_*.py"))


test_files.__test__ = False


@pytest.mark.parametrize("folder", sorted({path.parent for path in test_files()} - {TESTS}), ids=str)
def test_a_folder_of_tests_mirrors_a_package(folder):
    assert (SOURCE / folder.relative_to(TESTS)).is_dir()


@pytest.mark.parametrize(
    "path", [p for p in test_files() if p.parent != TESTS], ids=lambda p: str(p.relative_to(TESTS))
)
def test_a_test_stands_with_what_it_tests(path):
    """A file is named after a module of its folder, or it imports from that folder, or it starts a process."""
    package = ".".join(("megadocs", *path.parent.relative_to(TESTS).parts))
    is_named = f"{package}.{path.stem.removeprefix('test_')}" in modules()
    helpers = [other for other in path.parent.glob("*.py") if not other.name.startswith("test_")]
    found = set().union(*(imports(file) for file in (path, *helpers)))
    text = path.read_text(encoding="utf-8")
    starts = any(word in text for word in ("subprocess", "CliRunner", "spec_from_file_location"))
    assert is_named or starts or any(name == package or name.startswith(f"{package}.") for name in found)


def imported_in(package: Path) -> set[str]:
    """What the files of a folder of tests import."""
    files = [file for file in package.rglob("*.py") if package != TESTS or file.parent == TESTS]
    return set().union(*(imports(file) for file in files)) if files else set()


def test_every_module_is_reached_by_a_test_of_its_package():
    """Directly, or through modules that such a test imports."""
    missing = set()
    for name in modules().keys() - STARTED:
        parts = name.split(".")[1:]
        folders = [TESTS.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
        package = next((folder for folder in reversed(folders) if folder.is_dir()), TESTS)
        if name not in reached(imported_in(package)):
            missing.add(name)
    assert missing == FROM_ABOVE
    assert missing <= reached(
        imported_in(TESTS / "pipeline") | imported_in(TESTS / "cli") | imported_in(TESTS / "world")
    )
