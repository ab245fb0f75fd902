"""What packages say that they offer is there, and is no module that happens to have the name."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGES = sorted(
    ".".join(path.parent.relative_to(SOURCE).parts)
    for path in SOURCE.rglob("__init__.py")
    if "__all__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_that_a_package_offers_is_there(package: str) -> None:
    module = importlib.import_module(package)
    missing = [name for name in module.__all__ if isinstance(getattr(module, name, module), ModuleType)]
    assert (missing, sorted(set(module.__all__))) == ([], sorted(module.__all__))
