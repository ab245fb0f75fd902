"""Artifacts: published whole or not at all, found by content, damage named."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from megadocs.errors import DamagedError, LockedError
from megadocs.store.artifact import RECORD, Workspace
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
