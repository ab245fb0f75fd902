"""Home folders in what a user wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from megadocs.recipe.paths import user_path


def test_home_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x") == tmp_path / "x"
    assert user_path("x/~") == Path("x/~")
    assert user_path("~nosuchuser/x") == Path("~nosuchuser/x")  # no such file, not a traceback
