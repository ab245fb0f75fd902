"""Looking at a workspace: of another user, read-only, of another version or program; odd terminals and names."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.command import Command
from megadocs.errors import StoreError
from megadocs.store.files import read_json, store_error, write_json_atomic
from megadocs.store.lock import hold_lock, is_locked


@pytest.fixture
def workspace(base: Path, tmp_path: Path) -> Path:
    """A workspace with a partial artifact, made in a process of its own."""
    root = tmp_path / "w"
    command = [sys.executable, "-m", "megadocs", "corpus", str(base), "--workspace", str(root)]
    subprocess.run(command, check=True, capture_output=True)
    (root / "rows" / "0123456789abcdef0123.partial").mkdir(parents=True)
    with hold_lock(root / "locks" / "rows-0123456789abcdef0123.lock", purpose="a test"):
        pass
    return root


def test_a_lock_is_looked_at_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "a.lock"
    real, flags = os.open, []

    def watched(path: object, how: int, *more: int) -> int:
        flags.append(how)
        return real(path, how, *more)  # type: ignore[arg-type]

    with hold_lock(lock, purpose="a test"):
        monkeypatch.setattr(os, "open", watched)
        assert is_locked(lock)
        monkeypatch.undo()
    assert not is_locked(lock)
    assert not flags[0] & (os.O_WRONLY | os.O_RDWR)
    with lock.open() as other:  # looking disturbs nobody
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not is_locked(lock)


def test_status_needs_no_right_to_write(
    megadocs: Command, base: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every opening for writing fails, as on read-only media (permissions do not bind the tests' own user)."""
    real = os.open

    def read_only(path: object, how: int, *more: int, **named: int) -> int:
        if how & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(workspace)):
            raise OSError(30, "Read-only file system", str(path))
        return real(path, how, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", read_only)
    found = megadocs("status", workspace)
    assert (found.code, "unfinished: rows 0123456789abcdef0123" in found.stdout) == (0, True), found.text
    assert megadocs("generate", "status", base, "--workspace", workspace).code == 0
    assert megadocs("verify", workspace).code == 0


def test_an_export_from_a_workspace_that_may_only_be_read(
    megadocs: Command, base: Path, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.mkdir

    def refuse(path: Path, *more: object, **named: object) -> None:
        if str(path).startswith(str(workspace)):
            raise OSError(30, "Read-only file system", str(path))
        real(path, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", refuse)
    found = megadocs("generate", "export", base, "--workspace", workspace)
    assert (found.code, "name another folder with --output" in found.text) == (1, True), found.text
    found = megadocs("generate", "export", base, "--workspace", workspace, "--output", tmp_path / "out")
    assert found.code in (0, 3), found.text
    assert list((tmp_path / "out").glob("*.parquet"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"from_the_future": 1}, "the recipe was written by another version: unknown key from_the_future"),
        (
            {"corpus": {"source": "x", "of_old": 2}},
            "the recipe was written by another version: unknown key corpus.of_old",
        ),
        ([], "another version"),
        ("recipe", "another version"),
    ],
)
def test_a_recipe_of_another_version_is_named(megadocs: Command, workspace: Path, content: object, words: str) -> None:
    recipe = json.loads((workspace / "recipe.json").read_text())
    if isinstance(content, dict):
        content = {**recipe, **content}
    for path in (workspace / "recipe.json", workspace / "recipes" / "t.json"):
        path.write_text(json.dumps(content))
    found = megadocs("status", workspace)
    assert found.code == 0
    assert words in found.stdout


@pytest.mark.parametrize("content", ['{"a": 1}', "[]", "nothing", "\udcff"])
@pytest.mark.parametrize("name", ["recipe.json", "search.json", "corpus/x/record.json"])
def test_a_foreign_folder_is_no_crash(megadocs: Command, tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / "foreign" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    found = megadocs("status", tmp_path / "foreign")
    assert found.code in (0, 1)
    assert "Traceback" not in found.text
    assert str(path) in found.text


def test_names_that_are_no_utf8(tmp_path: Path, base: Path) -> None:
    """Sources are read; a workspace is refused, as the libraries that write Parquet take no such paths."""
    odd, source = Path(os.fsdecode(bytes(tmp_path) + b"/w\xff")), tmp_path / "in"
    table = pa.table({"text": [f"text number {number} of a few words" for number in range(40)]})
    with (source / os.fsdecode(b"b\xfe.parquet")).open("wb") as file:
        pq.write_table(table, file)
    command = [sys.executable, "-m", "megadocs"]
    for arguments, code in (
        (("corpus", base, "--workspace", tmp_path / "w"), 0),
        (("corpus", base, "--workspace", odd), 2),
        (("status", odd), 2),
    ):
        for encoding in ("utf-8", "latin-1", "ascii"):
            result = subprocess.run(
                [*command, *map(str, arguments)],
                capture_output=True,
                env={**os.environ, "PYTHONIOENCODING": encoding},
                check=False,
            )
            assert result.returncode == code, result.stderr
            assert b"Traceback" not in result.stderr
    write_json_atomic(tmp_path / "x.json", {"argv": [str(odd)]})
    assert read_json(tmp_path / "x.json") == {"argv": [str(odd)]}


def test_a_full_standard_output_is_a_message(workspace: Path) -> None:
    for arguments in (["status", str(workspace)], ["status", "--json", str(workspace)], ["--help"]):
        with Path("/dev/full").open("w") as full:
            result = subprocess.run(
                [sys.executable, "-m", "megadocs", *arguments], stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert result.returncode == 1
        assert b"cannot write the output: No space left on device" in result.stderr
        assert b"Traceback" not in result.stderr


def test_a_refused_file_is_no_full_disk(tmp_path: Path) -> None:
    error = store_error("cannot read the log", tmp_path, PermissionError(13, "Permission denied"))
    assert isinstance(error, StoreError)
    assert "permission" in (error.remedy or "")
    assert "free" not in (error.remedy or "")


@pytest.mark.parametrize("key", ["corpus.source", "tokenizer.source"])
def test_the_home_of_nobody(megadocs: Command, base: Path, tmp_path: Path, key: str) -> None:
    section = key.split(".")[0]
    value = "{kind: load, source: ~nosuchuser/x}" if section == "tokenizer" else "~nosuchuser/x"
    name = section if section == "tokenizer" else key
    found = megadocs("plan", base, f"{name}={value}", "--workspace", tmp_path / "w")
    assert "Traceback" not in found.text
    if section == "corpus":  # a plan reads no tokenizer that is not there
        assert (found.code, "~nosuchuser/x" in found.stderr) == (2, True)
