"""Artifacts: published whole or not at all, found by content, damage named."""

import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from megadocs.errors import DamagedError, InputError, LockedError, MegadocsError, StoreError
from megadocs.store import artifact as module
from megadocs.store.artifact import RECORD, Artifact, Problem, Workspace, environment, iter_problems
from megadocs.store.verify import verify_top_files, verify_workspace

BUILDER = textwrap.dedent(
    """
    import os, signal, sys
    from megadocs.store import artifact, files
    calls = 0
    target = int(sys.argv[2])
    def counted(name):
        real = getattr(os, name)
        def call(*args, **kwargs):
            global calls
            calls += 1
            if calls == target:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        setattr(os, name, call)
    for name in ("write", "fsync", "rename", "replace", "mkdir", "open"):
        counted(name)
    workspace = artifact.Workspace(sys.argv[1])
    with workspace.build("step", "f00", config={"a": 1}, inputs={}) as build:
        files.write_bytes_atomic(build.path / "data.bin", b"x" * 1000)
        build.summary["n"] = 3
    print(calls)
    """
)


def build(workspace, fingerprint="f00", content=b"abc"):
    with workspace.build("step", fingerprint, config={"a": 1}, inputs={"in": "e0"}) as build:
        (build.path / "sub").mkdir()
        (build.path / "sub" / "data.bin").write_bytes(content)
        build.summary["n"] = 3


def test_publish_and_find(tmp_path):
    workspace = Workspace(tmp_path)
    assert workspace.find("step", "f00") is None
    build(workspace)
    artifact = workspace.find("step", "f00")
    assert artifact.summary == {"n": 3}
    assert artifact.record["inputs"] == {"in": "e0"}
    assert list(artifact.record["files"]) == ["sub/data.bin"]
    artifact.check()
    assert [found.fingerprint for found in workspace.artifacts()] == ["f00"]


def test_failed_build_publishes_nothing(tmp_path):
    workspace = Workspace(tmp_path)
    with pytest.raises(ZeroDivisionError):
        with workspace.build("step", "f00", config={}, inputs={}) as failed:
            (failed.path / "left.txt").write_text("x")
            _ = 1 / 0
    assert workspace.find("step", "f00") is None
    with workspace.build("step", "f00", config={}, inputs={}, resumable=True) as again:
        assert (again.path / "left.txt").exists()
    build(workspace, "f01")
    assert workspace.find("step", "f00").record["files"].keys() == {"left.txt"}


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "surplus"])
def test_damage_is_named(tmp_path, damage):
    workspace = Workspace(tmp_path)
    build(workspace)
    path = tmp_path / "step" / "f00" / "sub" / "data.bin"
    match damage:
        case "truncate":
            path.write_bytes(b"ab")
        case "flip":
            path.write_bytes(b"abd")
        case "delete":
            path.unlink()
        case "surplus":
            (path.parent / "more.bin").write_bytes(b"")
    problems = verify_workspace(tmp_path).problems
    assert len(problems) == 1
    assert "data.bin" in problems[0].path or "more.bin" in problems[0].path
    with pytest.raises(DamagedError) as caught:
        (workspace.find("step", "f00") or pytest.fail("not found")).check()
    assert "run again" in caught.value.remedy


def test_top_files_are_copies_of_a_report(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.build("report", "f00", config={}, inputs={}) as report:
        (report.path / "report.html").write_text("<p>1.7x</p>")
    (tmp_path / "report.html").write_text("<p>1.7x</p>")
    assert list(verify_top_files(tmp_path)) == []
    (tmp_path / "report.html").write_text("<p>9.9x</p>")
    assert [problem.path for problem in verify_top_files(tmp_path)] == [str(tmp_path / "report.html")]


def test_second_builder_is_told_who_holds_it(tmp_path):
    workspace = Workspace(tmp_path)
    with workspace.build("step", "f00", config={}, inputs={}):
        with pytest.raises(LockedError, match=str(os.getpid())):
            build(workspace)


def test_kill_at_every_call_leaves_nothing_or_everything(tmp_path):
    total = int(_run_builder(tmp_path / "count", 10**9).stdout)
    assert total > 8
    for target in range(1, total + 1):
        root = tmp_path / str(target)
        killed = _run_builder(root, target)
        assert killed.returncode == -signal.SIGKILL
        found = Workspace(root).find("step", "f00")
        if found is not None:
            found.check()
        else:
            assert _run_builder(root, 10**9).returncode == 0  # a dead holder never blocks
        assert Workspace(root).find("step", "f00").summary == {"n": 3}
        assert json.loads((root / "step" / "f00" / RECORD).read_text())["files"]["data.bin"]["bytes"] == 1000


def _run_builder(root, target):
    return subprocess.run(
        [sys.executable, "-c", BUILDER, str(root), str(target)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"config": {}, "inputs": {}, "summary": 1, "files": {}}'])
def test_a_damaged_record_is_named_with_the_directory_to_delete(tmp_path, text):
    workspace = Workspace(tmp_path)
    with workspace.build("step", "f00", config={}, inputs={}):
        pass
    (tmp_path / "step" / "f00" / RECORD).write_text(text)
    for look in (lambda: workspace.find("step", "f00"), lambda: workspace.artifacts("step")):
        with pytest.raises(DamagedError, match=r"record|JSON") as error:
            look()
        assert f"delete {tmp_path / 'step' / 'f00'} and run again" in error.value.remedy


def parts(error: pytest.ExceptionInfo[MegadocsError]) -> tuple[str, str | None, str | None]:
    return error.value.what, error.value.where, error.value.remedy


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_whole_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["megadocs", "run"])
    before = time.time()
    with Workspace(tmp_path).build("step", "f00", config={"a": 1}, inputs={"in": "e0"}, version=4) as build:
        assert build.path == tmp_path / "step" / "f00.partial"
        assert build.summary == {}
        (build.path / "one.bin").write_bytes(b"abc")
        (build.path / "sub" / "deeper").mkdir(parents=True)
        (build.path / "sub" / "deeper" / RECORD).write_bytes(b"{}")  # the step's own: only the one at the top is ours
        build.summary["n"] = 3
    record = json.loads((tmp_path / "step" / "f00" / RECORD).read_bytes())
    assert before - 0.001 <= record.pop("started_unix") <= time.time()
    assert 0 <= record.pop("seconds") <= time.time() - before + 0.001
    assert record == {
        "format": 1,
        "step": "step",
        "fingerprint": "f00",
        "version": 4,
        "config": {"a": 1},
        "inputs": {"in": "e0"},
        "summary": {"n": 3},
        "environment": environment(),
        "argv": ["megadocs", "run"],
        "files": {
            "one.bin": {"sha256": digest(b"abc"), "bytes": 3},
            "sub/deeper/record.json": {"sha256": digest(b"{}"), "bytes": 2},
        },
    }
    assert verify_workspace(tmp_path).problems == ()
    assert not (tmp_path / "step" / "f00.partial").exists()


def test_versions_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package in ("gguf", "xllamacpp"):
            raise importlib.metadata.PackageNotFoundError(package)
        return f"1 of {package}"

    installed = environment()["packages"]
    assert installed["numpy"] == importlib.metadata.version("numpy")
    monkeypatch.setattr(importlib.metadata, "version", version)
    names = ["megadocs", "torch", "numpy", "pyarrow", "tokenizers", "transformers"]
    assert environment() == {
        "packages": {name: f"1 of {name}" for name in names},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    monkeypatch.setattr(importlib.metadata, "version", str)
    assert list(environment()["packages"]) == [*names, "gguf", "xllamacpp"]


def test_artifacts_are_listed_by_step_and_fingerprint(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.artifacts() == []
    for step, fingerprint in (("train", "b0"), ("rows", "c0"), ("train", "a0")):
        with workspace.build(step, fingerprint, config={}, inputs={}):
            pass
    workspace.partial("train", "d0").mkdir()
    (workspace.partial("train", "d0") / RECORD).write_text("{}")
    expected = [
        Artifact(tmp_path / step / name, step, name, json.loads((tmp_path / step / name / RECORD).read_bytes()))
        for step, name in (("rows", "c0"), ("train", "a0"), ("train", "b0"))
    ]
    assert workspace.artifacts() == expected
    assert workspace.artifacts("train") == expected[1:]
    assert workspace.artifacts("rows") == [workspace.find("rows", "c0")] == expected[:1]
    assert workspace.find("train", "d0") is None


def test_every_damage_word_for_word(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    build(workspace)
    root = tmp_path / "step" / "f00"
    path, remedy = root / "sub" / "data.bin", f"delete {root} and run again: only this step is repeated"
    artifact = workspace.find("step", "f00")
    assert artifact.read_checked("sub/data.bin") == b"abc"
    changed = ("its content has changed (SHA-256 differs)", str(path), remedy)
    path.write_bytes(b"abd")
    for look in (artifact.check, lambda: artifact.read_checked("sub/data.bin")):
        with pytest.raises(DamagedError) as caught:
            look()
        assert parts(caught) == changed
    path.write_bytes(b"ab")
    with pytest.raises(DamagedError) as caught:
        artifact.check()
    assert parts(caught) == ("has 2 bytes instead of 3", str(path), remedy)
    for change in (lambda: None, path.unlink):
        change()
        with pytest.raises(DamagedError) as caught:
            workspace.find("step", "f00")
        assert parts(caught) == ("a file of a finished step is missing or has another size", str(path), remedy)
    with pytest.raises(DamagedError) as caught:
        artifact.read_checked("sub/data.bin")
    assert parts(caught) == ("cannot read: No such file or directory", str(path), remedy)


def test_a_failure_without_words_of_its_own_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(_: Path) -> bytes:
        raise OSError("the share is gone")

    workspace = Workspace(tmp_path)
    build(workspace)
    artifact = workspace.find("step", "f00")
    monkeypatch.setattr(Path, "read_bytes", torn)
    with pytest.raises(DamagedError, match=r"^cannot read: the share is gone\n"):
        artifact.read_checked("sub/data.bin")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "not valid JSON"),
        ("[]", "not the record of a finished step"),
        ("{}", "not the record of a finished step"),
        *(
            (
                json.dumps({name: {} for name in ("config", "inputs", "summary", "files") if name != left_out}),
                "not the record of a finished step",
            )
            for left_out in ("config", "inputs", "summary", "files")
        ),
        ('{"config": {}, "inputs": {}, "summary": 1, "files": {}}', "not the record of a finished step"),
    ],
)
def test_a_record_that_is_none_word_for_word(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "step" / "f00" / RECORD
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DamagedError) as caught:
        Workspace(tmp_path).find("step", "f00")
    assert parts(caught) == (what, str(path), f"delete {path.parent} and run again: only this step is repeated")


def test_what_a_record_needs(tmp_path: Path) -> None:
    path = tmp_path / "step" / "f00" / RECORD
    path.parent.mkdir(parents=True)
    path.write_text('{"config": {}, "inputs": {}, "summary": {"n": 1}, "files": {}}')
    found = Workspace(tmp_path).find("step", "f00")
    assert (found.path, found.step, found.fingerprint, found.summary) == (path.parent, "step", "f00", {"n": 1})


def test_problems_of_a_directory_in_order(tmp_path: Path) -> None:
    for name, content in {"b": b"12", "c": b"123", "same": b"x", "a new one": b"", RECORD: b"{}"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / RECORD).write_bytes(b"")
    recorded = {"same": b"x", "c": b"124", "b": b"1", "a": b""}
    table = {name: {"sha256": digest(content), "bytes": len(content)} for name, content in recorded.items()}
    assert list(iter_problems(tmp_path, table)) == [
        Problem(str(tmp_path / "a"), "missing"),
        Problem(str(tmp_path / "b"), "has 2 bytes instead of 1"),
        Problem(str(tmp_path / "c"), "its content has changed (SHA-256 differs)"),
        Problem(str(tmp_path / "a new one"), "is not in the record"),
        Problem(str(tmp_path / "sub" / RECORD), "is not in the record"),
    ]


def test_workspaces_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError) as caught:
        Workspace(tmp_path / "file")
    assert parts(caught) == ("the workspace is not a directory", str(tmp_path / "file"), "name another --workspace")
    name = os.fsdecode(b"work\xff")
    with pytest.raises(InputError) as caught:
        Workspace(name)
    assert parts(caught) == ("the name of the workspace is not UTF-8", r"'work\udcff'", "name another --workspace")
    assert Workspace(str(tmp_path / "späť")).root == tmp_path / "späť"


def test_names_of_artifacts(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in ("a", "Z9._-", "x" * 80):
        assert workspace.directory("step", name) == tmp_path / "step" / name
        assert workspace.directory(name, "f0") == tmp_path / name / "f0"
        assert workspace.partial("step", name) == tmp_path / "step" / f"{name}.partial"
    for name in ("", ".hidden", "a/b", "ä", "a b", "x" * 81, "a\n"):
        for arguments in (("step", name), (name, "f0")):
            with pytest.raises(ValueError) as caught:
                workspace.directory(*arguments)
            assert str(caught.value) == f"not a name for an artifact: {name!r}"


def test_everything_is_synced_before_the_record_and_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    def note(event: str, real):
        def call(path, *rest):
            events.append((event, Path(path).relative_to(tmp_path).as_posix()))
            return real(path, *rest)

        return call

    workspace = Workspace(tmp_path)
    with workspace.build("step", "f00", config={}, inputs={}) as made:
        (made.path / "sub").mkdir()
        (made.path / "sub" / "two").write_bytes(b"2")
        (made.path / "one").write_bytes(b"1")
        for name in ("fsync_file", "fsync_directory", "write_json_atomic"):
            monkeypatch.setattr(module, name, note(name, getattr(module, name)))
        monkeypatch.setattr(Path, "rename", note("rename", Path.rename))
    assert events == [
        ("fsync_file", "step/f00.partial/one"),
        ("fsync_directory", "step/f00.partial/sub"),
        ("fsync_file", "step/f00.partial/sub/two"),
        ("write_json_atomic", "step/f00.partial/record.json"),
        ("rename", "step/f00.partial"),
        ("fsync_directory", "step"),
    ]


def test_what_stands_in_the_way_of_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, final = Workspace(tmp_path), tmp_path / "step" / "f00"
    with pytest.raises(StoreError) as caught, workspace.build("step", "f00", config={}, inputs={}):
        final.mkdir()
    assert parts(caught) == ("a directory without a record is in the way", str(final), "move it away")
    final.rmdir()

    def refuse(_: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(target))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StoreError) as caught, workspace.build("step", "f00", config={}, inputs={}):
        pass
    assert parts(caught) == (
        "cannot publish the step's result: Permission denied",
        str(final),
        "ask its owner for permission to read (and, for a run, to write) there, or name another place",
    )


def test_an_artifact_that_was_published_meanwhile_is_used(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    build(workspace)
    with pytest.raises(LockedError) as caught, workspace.build("step", "f00", config={}, inputs={}):
        pass
    assert parts(caught) == ("another process has just published it", str(tmp_path / "step" / "f00"), "use it")


def test_a_build_that_starts_anew_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    left = workspace.partial("step", "f00")
    left.mkdir(parents=True)
    (left / "old").write_text("x")
    with workspace.build("step", "f00", config={}, inputs={}) as build:
        assert list(build.path.iterdir()) == []
