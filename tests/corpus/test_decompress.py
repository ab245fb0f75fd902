"""Lines of plain and compressed files: exact, bounded, and damaged files are named."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from megadocs.corpus import decompress
from megadocs.corpus.decompress import iter_chunks, iter_lines
from megadocs.errors import InputError

CONTENT = b"one\r\ntwo\xe2\x80\xa8still two\n\nlast"


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    if name.endswith(".gz"):
        content = gzip.compress(content)
    if name.endswith(".zst"):
        content = zstandard.compress(content)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_lines_end_at_line_feeds_only(tmp_path: Path, name: str) -> None:
    assert list(iter_lines(write(tmp_path, name, CONTENT))) == CONTENT.split(b"\n")
    assert list(iter_lines(write(tmp_path, name, b""))) == []
    assert list(iter_lines(write(tmp_path, name, b"a\n"))) == [b"a"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 1 << 20])
def test_lines_do_not_depend_on_the_size_of_reads(
    tmp_path: Path, name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decompress, "_CHUNK_BYTES", chunk)
    monkeypatch.setattr(decompress, "_ZSTD_STEP_BYTES", chunk)
    content = b"".join(b"x" * (number % 9) + b"\n" for number in range(300))
    assert list(iter_lines(write(tmp_path, name, content))) == content.split(b"\n")[:-1]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_an_overlong_line_is_skipped_and_the_next_one_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, b"ok\n" + b"x" * 5_000_000 + b"\nnext\n" + b"y" * 100)
    assert list(iter_lines(path, max_bytes=50)) == [b"ok", None, b"next", None]


def test_fifty_megabytes_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl.gz", b"z" * 50_000_000 + b"\nend")
    assert [len(line or b"") for line in iter_lines(path)] == [50_000_000, 3]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_members_and_frames_follow_each_other(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    one = gzip.compress(b"a\nb") if suffix == ".gz" else zstandard.compress(b"a\nb")
    path.write_bytes(one + one)
    assert list(iter_lines(path)) == [b"a", b"ba", b"b"]


def test_zero_padding_after_gzip_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"a\nb") + b"\0" * 512)
    assert list(iter_lines(path)) == [b"a", b"b"]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_every_truncation_is_an_error_naming_the_file(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, b"some text\n" * 20)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            list(iter_lines(path))
        assert caught.value.where == str(path)
        assert caught.value.remedy


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_bomb_is_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompress, "_FREE_BYTES", 1 << 20)
    path = write(tmp_path, name, b"\0" * (64 << 20))
    with pytest.raises(InputError, match="bomb"):
        list(iter_lines(path))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_pieces_of_a_bomb_stay_small(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name, b"\0" * (128 << 20))
    assert max(len(chunk) for chunk in iter_chunks(path)) <= 45 << 20


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        list(iter_lines(tmp_path / "none.jsonl"))


@settings(max_examples=200)
@given(data=st.data(), suffix=st.sampled_from([".gz", ".zst", ""]))
def test_damaged_files_give_lines_or_an_input_error(
    data: st.DataObject, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.getbasetemp(), f"fuzz{suffix}", data.draw(st.binary(max_size=300)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    with contextlib.suppress(InputError):
        list(iter_lines(path))
