"""Which compute type `auto` stands for; what stands in for the calls that only Linux has."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megadocs import machine
from megadocs.machine import has_fast_bfloat16, resolve_dtype
from megadocs.text.tokenizer import train_tokenizer
from pipeline.corpora import WORDS, write_recipe, write_texts

SOURCE = Path(machine.__file__).parent
#: What Linux has and macOS has not, as it would stand in code.
LINUX_ONLY = re.compile(
    r"prctl|sched_[gs]etaffinity|/proc\b|/sys/|/dev/shm|fdatasync|mallopt|malloc_trim|O_TMPFILE|O_DIRECT|O_PATH"
    r"|posix_fadvise|posix_fallocate|copy_file_range|memfd_create|pidfd|eventfd|renameat2|sync_file_range|\bepoll"
    r"|splice|setns|unshare|SO_PEERCRED|SOCK_CLOEXEC|accept4|\bpipe2|sys\.platform|F_OFD_|F_SETPIPE_SZ|inotify"
)
#: May: the module itself, what runs by its path, and what asks glibc's allocator by way of `machine.glibc`.
ALLOWED = {"machine.py", "generate/engines/supervise.py", "model/memory.py"}
#: Runs before everything else in each process of the experiment: what Linux has is gone.
ELSEWHERE = """
import os, types
for name in ("sched_getaffinity", "sched_setaffinity", "fdatasync", "posix_fadvise", "copy_file_range", "memfd_create",
             "pidfd_open", "eventfd", "pipe2"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("O_TMPFILE", "O_DIRECT", "O_PATH"):
    if hasattr(os, name):
        delattr(os, name)
import megadocs.machine as machine
machine.sys = types.SimpleNamespace(platform="darwin")
machine._read = lambda path: ""
machine.has_nvidia_driver = lambda: False
"""
CHILD = f"""
import time
from {machine.__name__} import die_with_parent
die_with_parent()
print("ready", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize(
    ("vendor", "flags", "dtype"),
    [
        ("AuthenticAMD", {"avx2", "avx512f"}, "float32"),
        ("AuthenticAMD", {"avx512f", "avx512_bf16"}, "bfloat16"),
        ("GenuineIntel", {"avx512f", "avx512_bf16", "amx_bf16"}, "bfloat16"),
        ("GenuineIntel", {"avx512f", "avx512_bf16"}, "float32"),
        ("", {"asimd", "bf16"}, "bfloat16"),
        ("", set(), "float32"),
    ],
)
def test_auto_is_what_the_processor_multiplies_faster(
    monkeypatch: pytest.MonkeyPatch, vendor: str, flags: set[str], dtype: str
) -> None:
    monkeypatch.setattr(machine, "_vendor", lambda: vendor)
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(machine, "_has_cuda", lambda: False)
    assert resolve_dtype("auto", "cpu") == resolve_dtype("auto", "auto") == dtype


def test_a_gpu_multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_flags", frozenset)
    monkeypatch.setattr(machine, "_has_cuda", lambda: True)
    assert has_fast_bfloat16("auto")
    assert has_fast_bfloat16("cuda")
    assert not has_fast_bfloat16("cpu")


def test_what_is_asked_for_stays() -> None:
    assert [resolve_dtype(dtype) for dtype in ("bfloat16", "float32")] == ["bfloat16", "float32"]


def code_of(path: Path) -> str:
    """A module without its docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                child
                for child in node.body
                if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant))
            ] or [ast.Pass()]
    return ast.unparse(tree)


def test_one_module_asks_for_what_only_linux_has():
    found = {
        str(path.relative_to(SOURCE)): sorted(set(LINUX_ONLY.findall(code_of(path))))
        for path in SOURCE.rglob("*.py")
        if LINUX_ONLY.search(code_of(path))
    }
    assert set(found) == ALLOWED, found


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that finds nothing of what only Linux has."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ELSEWHERE)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(SOURCE.parent)])}


@pytest.mark.parametrize("system", ["here", "elsewhere"])
def test_a_killed_parent_takes_its_child_along(elsewhere, system):
    environment = elsewhere if system == "elsewhere" else os.environ | {"PYTHONPATH": str(SOURCE.parent)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the child outlived its parent")


def test_an_experiment_runs_without_what_only_linux_has(elsewhere, tmp_path):
    train_tokenizer([" ".join(WORDS)], 300).save(tmp_path / "tokenizer.json")
    recipe = write_recipe(tmp_path / "toy.yaml", write_texts(tmp_path / "texts", 40), tmp_path / "tokenizer.json")

    def megadocs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "megadocs", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=elsewhere, check=True)

    probe = "import os, megadocs.machine as m; print(hasattr(os, 'sched_getaffinity'), m.glibc(), m.cpu_flags())"
    bare = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=elsewhere, check=True)
    assert bare.stdout.split() == ["False", "None", "frozenset()"]
    megadocs("run", recipe, "--workspace", tmp_path / "workspace")
    assert (tmp_path / "workspace" / "report.html").exists()
    found = json.loads(megadocs("doctor", "--json").stdout)
    assert any("usable cores" in finding["found"] for finding in found)
    megadocs("status", tmp_path / "workspace")
    megadocs("verify", tmp_path / "workspace")


@pytest.mark.parametrize("full_sync", [True, False], ids=["F_FULLFSYNC", "fsync"])
def test_files_are_synced_without_fdatasync(monkeypatch, tmp_path, full_sync):
    calls = []
    monkeypatch.delattr(os, "fdatasync", raising=False)
    monkeypatch.setattr(machine.fcntl, "F_FULLFSYNC", 51, raising=False)
    if not full_sync:
        monkeypatch.delattr(machine.fcntl, "F_FULLFSYNC")
    monkeypatch.setattr(machine.fcntl, "fcntl", lambda descriptor, command: calls.append(command))
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync"))
    with (tmp_path / "log").open("wb") as file:
        machine.sync_data(file.fileno())
    assert calls == ([51] if full_sync else ["fsync"])


def test_processors_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def name(*lines: str) -> str:
        monkeypatch.setattr(machine, "_read", lambda path: "\n".join(lines) if path == "/proc/cpuinfo" else "")
        return machine.processor_name()

    zen = "model name\t: AMD EPYC"
    assert name("cpu family\t: 25", "model\t\t: 17", zen, "", "cpu family\t: 25") == "AMD EPYC (family 25, model 17)"
    assert name("cpu family\t: 26", "model\t\t: 2", zen) == "AMD EPYC (family 26, model 2)"
    assert name(zen) == "AMD EPYC"
    assert name("processor\t: 0", "BogoMIPS\t: 50.00") == machine.platform.machine()
