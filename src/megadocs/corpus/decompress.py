"""Lines of plain, gzip and zstd files, in bounded memory.

A line ends at "\\n" and nowhere else. Limits: a line longer than `MAX_RECORD_BYTES` is skipped and reported as None; a
file that expands more than 500-fold past its first 256 MiB is refused (ordinary text reaches about 20-fold); zstd
windows above 128 MiB are refused. A truncated or damaged file is an error that names it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from megadocs.corpus.records import MAX_RECORD_BYTES
from megadocs.errors import InputError

_CHUNK_BYTES = 1 << 20
# One KiB of zstd can hold at most 340 blocks of 128 KiB each: memory stays under 45 MB a step whatever the file says.
_ZSTD_STEP_BYTES = 1 << 10
_ZSTD_MAX_WINDOW = 128 << 20
_MAX_EXPANSION = 500
_FREE_BYTES = 256 << 20


def iter_lines(path: Path, max_bytes: int = MAX_RECORD_BYTES) -> Iterator[bytes | None]:
    """The lines of a file without their "\\n"; None stands for a line longer than `max_bytes`.

    Raises:
        InputError: unreadable, truncated or damaged, or a decompression bomb.
    """
    try:
        yield from _split_lines(iter_chunks(path), max_bytes)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror or error}", where=str(path)) from error
    except (zlib.error, zstandard.ZstdError) as error:
        raise InputError(
            f"damaged compressed file: {error}", where=str(path), remedy="fetch or compress the file again"
        ) from error


def iter_chunks(path: Path) -> Iterator[bytes]:
    """The decompressed content in pieces of bounded size; the suffix (.gz, .zst) chooses the decompressor."""
    if path.suffix.lower() == ".gz":
        return _bounded(path, _gzip_chunks(path))
    if path.suffix.lower() == ".zst":
        return _bounded(path, _zstd_chunks(path))
    return _raw_chunks(path, _CHUNK_BYTES)


def _raw_chunks(path: Path, num_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(num_bytes):
            yield chunk


def _gzip_chunks(path: Path) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(wbits=31)
    for chunk in _raw_chunks(path, 1 << 16):
        data = chunk
        while data:
            if decompressor.eof:  # another member
                if not data.strip(b"\0"):
                    break  # zero padding after the last member is allowed by the format
                decompressor = zlib.decompressobj(wbits=31)
            yield decompressor.decompress(data, _CHUNK_BYTES)
            data = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
        while not decompressor.eof and (more := decompressor.decompress(b"", _CHUNK_BYTES)):
            yield more
    _require_complete(decompressor.eof, path)


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW)
    decompressor = context.decompressobj()
    for chunk in _raw_chunks(path, _ZSTD_STEP_BYTES):
        data = chunk
        while data:
            if decompressor.eof:  # another frame
                decompressor = context.decompressobj()
            yield decompressor.decompress(data)
            data = decompressor.unused_data
    _require_complete(decompressor.eof, path)


def _require_complete(complete: bool, path: Path) -> None:
    if not complete:
        raise InputError(
            "truncated compressed file", where=str(path), remedy="fetch the file again; its end is missing"
        )


def _bounded(path: Path, chunks: Iterator[bytes]) -> Iterator[bytes]:
    limit = _FREE_BYTES + _MAX_EXPANSION * path.stat().st_size
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise InputError(
                f"expands more than {_MAX_EXPANSION}-fold (a decompression bomb?)",
                where=str(path),
                remedy="decompress the file yourself and look at it",
            )
        if chunk:
            yield chunk


def _split_lines(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes | None]:
    parts: list[bytes] = []
    num_held = 0
    overlong = False
    for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            overlong = overlong or num_held + len(line) > max_bytes
            yield None if overlong else b"".join([*parts, line])
            parts, num_held, overlong = [], 0, False
        overlong = overlong or num_held + len(rest) > max_bytes
        if overlong:
            parts, num_held = [], 0
        elif rest:
            parts.append(rest)
            num_held += len(rest)
    if overlong:
        yield None
    elif parts:
        yield b"".join(parts)
