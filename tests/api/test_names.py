"""The promise of docs/api.md: these names, lazily imported, typed."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import megadocs
import megadocs.api

ROOT = Path(__file__).parents[2]
NAMES = {
    "MegadocsError", "OpenWorkspace", "Plan", "Recipe", "Results", "Streams", "__version__", "load_recipe",
    "open_workspace", "plan", "recipe_names", "run",
}  # fmt: skip


def test_the_names_are_those_that_were_promised():
    assert set(megadocs.__all__) == NAMES
    assert set(megadocs.api.__all__) == NAMES - {"__version__"}
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    promised = set(re.findall(r"^### `(\w+)", page, re.M))
    assert promised == NAMES - {"__version__"}


def test_type_checkers_see_the_same_names():
    tree = ast.parse((ROOT / "src" / "megadocs" / "__init__.pyi").read_text(encoding="utf-8"))
    typed = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed == NAMES - {"__version__"}


def test_each_is_documented_and_annotated():
    for name in NAMES - {"__version__"}:
        value = getattr(megadocs, name)
        assert inspect.getdoc(value), name
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            assert signature.return_annotation is not inspect.Signature.empty
            assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values()), name


def test_what_the_page_says_of_methods_is_there():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for owner, member in re.findall(r"^- `(\w+)\.(\w+)", page, re.M):
        cls = getattr(megadocs, owner)
        source = inspect.getsource(cls)
        assert hasattr(cls, member) or f"self.{member}" in source or f"{member}:" in source, f"{owner}.{member}"


def test_import_is_lazy_and_names_no_unknown():
    code = "import sys, megadocs; assert not {'torch', 'numpy', 'pydantic', 'megadocs.api'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        megadocs.nothing  # noqa: B018
    assert set(dir(megadocs)) >= NAMES


def test_the_driver_of_a_run_needs_no_torch():
    code = "import sys, megadocs, megadocs.cli.run; megadocs.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
