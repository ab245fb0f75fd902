"""Artifacts: what a step produces, published atomically under its fingerprint.

    workspace = Workspace("runs/quickstart")
    found = workspace.find("train", fingerprint)          # None, or an Artifact whose files have their recorded sizes
    with workspace.build("train", fingerprint, config=config, inputs={"rows": rows.fingerprint}) as build:
        (build.path / "metrics.jsonl").write_text(...)    # work in the partial directory, as long as it takes
        build.summary["num_steps"] = 120                  # small results, stored in the record
    # here every file was hashed, record.json written last, and the directory renamed into place

A crash leaves a `<fingerprint>.partial` directory: a later build of the same fingerprint goes on in it
(`resumable=True`) or starts it empty. A directory without `record.json` does not exist for `find`.
One lock per artifact in progress; never one per workspace.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, InputError, LockedError, StoreError
from megadocs.store.files import (
    file_sha256,
    fsync_directory,
    fsync_file,
    make_directory,
    read_json,
    store_error,
    write_json_atomic,
)
from megadocs.store.lock import hold_lock

RECORD = "record.json"
_RECORD_FORMAT = 1
_RECORD_PARTS = ("config", "inputs", "summary", "files")
_PARTIAL = ".partial"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")
_VERSIONED_PACKAGES = ("megadocs", "torch", "numpy", "pyarrow", "tokenizers", "transformers", "gguf", "xllamacpp")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published artifact."""

    path: Path
    step: str  # name of the step that made it
    fingerprint: str  # hash of configuration, inputs and step version
    record: Mapping[str, Any]  # the parsed record.json (config, inputs, versions, argv, seconds, files, summary)

    @property
    def summary(self) -> dict[str, Any]:
        """Small results that the step recorded."""
        return dict(self.record["summary"])

    def check(self) -> None:
        """Compare every file with the record's SHA-256; raises `DamagedError` that names the first bad file."""
        for problem in iter_problems(self.path, self.record["files"]):
            raise DamagedError(
                problem.what, where=problem.path, remedy=f"delete {self.path} and run again: only this step is repeated"
            )

    def read_checked(self, name: str) -> bytes:
        """A small file's content, when it is what was published; `DamagedError` when it is not."""
        path, remedy = self.path / name, f"delete {self.path} and run again: only this step is repeated"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedError(f"cannot read: {error.strerror or error}", where=str(path), remedy=remedy) from error
        if hashlib.sha256(data).hexdigest() != self.record["files"][name]["sha256"]:
            raise DamagedError("its content has changed (SHA-256 differs)", where=str(path), remedy=remedy)
        return data


@dataclass(slots=True)
class Build:
    """An artifact in progress: a private directory to write in and a summary to fill."""

    path: Path
    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that verification found: `what` is wrong with the file at `path`."""

    path: str
    what: str


class Workspace:
    """A directory of artifacts, `<root>/<step>/<fingerprint>/`.

    Args:
        root: created on the first build.

    Raises:
        InputError: the path is there and is no directory.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if self.root.exists() and not self.root.is_dir():
            raise InputError("the workspace is not a directory", where=str(root), remedy="name another --workspace")
        try:
            str(self.root).encode("utf-8")
        except UnicodeEncodeError as error:  # the libraries that write Parquet take no other paths
            raise InputError(
                "the name of the workspace is not UTF-8", where=ascii(str(root)), remedy="name another --workspace"
            ) from error

    def directory(self, step: str, fingerprint: str) -> Path:
        """Where the artifact is or will be."""
        for name in (step, fingerprint):
            if not _NAME.fullmatch(name) or name.startswith("."):
                raise ValueError(f"not a name for an artifact: {name!r}")
        return self.root / step / fingerprint

    def find(self, step: str, fingerprint: str) -> Artifact | None:
        """The published artifact, or None. Checks that each file is there with its recorded size.

        Raises:
            DamagedError: a file is missing or has another size.
        """
        path = self.directory(step, fingerprint)
        if not (path / RECORD).is_file():
            return None
        record = _read_record(path / RECORD)
        for name, facts in record["files"].items():
            file = path / name
            if not file.is_file() or file.stat().st_size != facts["bytes"]:
                raise DamagedError(
                    "a file of a finished step is missing or has another size",
                    where=str(file),
                    remedy=f"delete {path} and run again: only this step is repeated",
                )
        return Artifact(path, step, fingerprint, record)

    def artifacts(self, step: str | None = None) -> list[Artifact]:
        """All published artifacts (of one step), ordered by step and fingerprint."""
        pattern = f"{step or '*'}/*/{RECORD}"
        found = []
        for path in sorted(self.root.glob(pattern)):
            if not path.parent.name.endswith(_PARTIAL):
                found.append(Artifact(path.parent, path.parent.parent.name, path.parent.name, _read_record(path)))
        return found

    def partial(self, step: str, fingerprint: str) -> Path:
        """Where an unfinished build of this artifact works."""
        path = self.directory(step, fingerprint)
        return path.with_name(path.name + _PARTIAL)

    @contextlib.contextmanager
    def build(
        self,
        step: str,
        fingerprint: str,
        *,
        config: Any,
        inputs: Mapping[str, str],
        version: int = 1,
        resumable: bool = False,
        wait_seconds: float = 0.0,
    ) -> Iterator[Build]:
        """Make an artifact: lock, work in a partial directory, publish when the block ends without an exception.

        Args:
            step: name of the step; the first level of the workspace.
            fingerprint: identity of the result.
            config: JSON-serialisable resolved configuration, stored in the record.
            inputs: name -> fingerprint of what went in.
            version: the step's version, part of the caller's fingerprint.
            resumable: keep what an earlier, interrupted build left in the partial directory.
            wait_seconds: how long to wait for another process that builds the same artifact.

        Raises:
            LockedError: another process is building it, or has published it since the caller looked.
            StoreError: the result could not be written; nothing was published.
        """
        final, partial = self.directory(step, fingerprint), self.partial(step, fingerprint)
        lock = self.root / "locks" / f"{step}-{fingerprint}.lock"
        with hold_lock(lock, purpose=f"{step} {fingerprint}", wait_seconds=wait_seconds):
            if (final / RECORD).is_file():
                # Between the caller's look and our lock: for the runner the same as being locked, it looks again.
                raise LockedError("another process has just published it", where=str(final), remedy="use it")
            started = time.time()
            try:
                if partial.exists() and not resumable:
                    shutil.rmtree(partial)
                make_directory(partial)
            except OSError as error:
                raise store_error("cannot make the directory", partial, error) from error
            build = Build(partial)
            yield build
            record = {
                "format": _RECORD_FORMAT,
                "step": step,
                "fingerprint": fingerprint,
                "version": version,
                "config": config,
                "inputs": dict(inputs),
                "summary": build.summary,
                "environment": environment(),
                "argv": sys.argv,
                "started_unix": round(started, 3),
                "seconds": round(time.time() - started, 3),
            }
            _publish(partial, final, record)


def environment() -> dict[str, Any]:
    """Versions and machine: recorded with every artifact, never part of a fingerprint."""
    versions = {}
    for package in _VERSIONED_PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {"packages": versions, "python": platform.python_version(), "machine": platform.machine()}


def iter_problems(directory: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Compare a directory with a table name -> {sha256, bytes}: missing, changed and surplus files."""
    for name, facts in sorted(files.items()):
        path = directory / name
        if not path.is_file():
            yield Problem(str(path), "missing")
        elif path.stat().st_size != facts["bytes"]:
            yield Problem(str(path), f"has {path.stat().st_size} bytes instead of {facts['bytes']}")
        elif file_sha256(path) != facts["sha256"]:
            yield Problem(str(path), "its content has changed (SHA-256 differs)")
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name not in files and name != RECORD:
            yield Problem(str(path), "is not in the record")


def _read_record(path: Path) -> dict[str, Any]:
    """A published record; `DamagedError` with the step's directory in the remedy when it is not one."""
    remedy = f"delete {path.parent} and run again: only this step is repeated"
    try:
        record = read_json(path)
    except DamagedError as error:
        raise DamagedError(error.what, where=str(path), remedy=remedy) from error
    if not isinstance(record, dict) or not all(isinstance(record.get(key), dict) for key in _RECORD_PARTS):
        raise DamagedError("not the record of a finished step", where=str(path), remedy=remedy)
    return record


def _publish(partial: Path, final: Path, record: dict[str, Any]) -> None:
    """Hash and sync every file, write the record last, rename the directory into place."""
    try:
        files = {}
        for path in sorted(partial.rglob("*")):
            name = path.relative_to(partial).as_posix()
            if path.is_file() and name != RECORD:
                fsync_file(path)
                files[name] = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
            elif path.is_dir():
                fsync_directory(path)
        write_json_atomic(partial / RECORD, {**record, "files": files})
        if final.exists():  # a directory without a record: left by a hand, not by us
            raise StoreError("a directory without a record is in the way", where=str(final), remedy="move it away")
        partial.rename(final)
        fsync_directory(final.parent)
    except OSError as error:
        raise store_error("cannot publish the step's result", final, error) from error
