"""Verification: what is compared, how much of it, and what each kind of damage is called."""

import hashlib
import json
from pathlib import Path

import pytest

from megadocs.errors import InputError
from megadocs.store.artifact import Problem, Workspace
from megadocs.store.verify import NO_COPY, Verification, published_digests, verify_top_files, verify_workspace


def publish(root: Path, step: str, fingerprint: str, **files: bytes) -> Path:
    with Workspace(root).build(step, fingerprint, config={}, inputs={}) as build:
        for name, content in files.items():
            (build.path / name).write_bytes(content)
    return root / step / fingerprint


def test_a_whole_workspace_counts_files_and_bytes(tmp_path: Path) -> None:
    publish(tmp_path, "corpus", "a0", one=b"123", two=b"45")
    publish(tmp_path, "rows", "b0", three=b"6789")
    (tmp_path / "rows" / "c0.partial").mkdir()
    (tmp_path / "rows" / "c0.partial" / "record.json").write_text("unfinished")
    assert verify_workspace(tmp_path) == Verification(3, 9, ())


def test_every_damage_is_named_and_the_rest_is_still_compared(tmp_path: Path) -> None:
    first = publish(tmp_path, "corpus", "a0", gone=b"1", longer=b"22", changed=b"333")
    second = publish(tmp_path, "rows", "b0", whole=b"4444")
    third = publish(tmp_path, "train", "c0", whole=b"55555")
    (first / "gone").unlink()
    (first / "longer").write_bytes(b"222")
    (first / "changed").write_bytes(b"334")
    (first / "new").write_bytes(b"")
    (second / "record.json").write_text('{"no": "files"}')

    def further(root: Path):
        yield Problem(str(root / "ledger"), "torn")

    found = verify_workspace(tmp_path, (further,))
    assert (found.num_files, found.num_bytes) == (4, 11)
    assert found.problems == (
        Problem(str(first / "changed"), "its content has changed (SHA-256 differs)"),
        Problem(str(first / "gone"), "missing"),
        Problem(str(first / "longer"), "has 3 bytes instead of 2"),
        Problem(str(first / "new"), "is not in the record"),
        Problem(str(second / "record.json"), "the record is damaged"),
        Problem(str(tmp_path / "ledger"), "torn"),
    )
    for text in ("rubbish", "[]"):
        (third / "record.json").write_text(text)
        assert Problem(str(third / "record.json"), "the record is damaged") in verify_workspace(tmp_path).problems


def test_no_workspace_and_nothing_published(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no such workspace") as caught:
        verify_workspace(tmp_path / "nothing")
    assert (caught.value.where, caught.value.remedy) == (
        str(tmp_path / "nothing"),
        "give the directory of --workspace",
    )
    with pytest.raises(InputError, match=r"^nothing was published in this workspace yet") as caught:
        verify_workspace(tmp_path)
    assert (caught.value.where, caught.value.remedy) == (str(tmp_path), "run a recipe first")


def test_copies_at_the_top_equal_any_published_report(tmp_path: Path) -> None:
    for number, fingerprint in enumerate(("a0", "b0")):
        content = json.dumps(number).encode()
        publish(tmp_path, "report", fingerprint, **{"report.html": content, "results.json": b"same"})
    assert {name: len(digests) for name, digests in published_digests(tmp_path).items()} == {
        "report.html": 2,
        "results.json": 1,
    }
    assert list(verify_top_files(tmp_path)) == []  # a copy that is not there is no damage
    (tmp_path / "report.html").write_bytes(b"1")
    (tmp_path / "results.json").write_bytes(b"other")
    assert list(verify_top_files(tmp_path)) == [Problem(str(tmp_path / "results.json"), NO_COPY)]


def test_digests_of_every_published_report(tmp_path: Path) -> None:
    """Only of reports; what lies in folders of a report has no copy at the top."""
    publish(tmp_path, "corpus", "a0", **{"report.html": b"no report"})
    for fingerprint, content in (("a0", b"1"), ("b0", b"2")):
        with Workspace(tmp_path).build("report", fingerprint, config={}, inputs={}) as build:
            (build.path / "report.html").write_bytes(content)
            (build.path / "tables").mkdir()
            (build.path / "tables" / "x.csv").write_bytes(b"a,b")
    one, two, table = (hashlib.sha256(content).hexdigest() for content in (b"1", b"2", b"a,b"))
    assert published_digests(tmp_path) == {"report.html": {one, two}, "tables/x.csv": {table}}
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "x.csv").write_bytes(b"other")
    (tmp_path / "report.html").write_bytes(b"no report")
    assert list(verify_top_files(tmp_path)) == [Problem(str(tmp_path / "report.html"), NO_COPY)]
    assert NO_COPY == "is no copy of a published report"
