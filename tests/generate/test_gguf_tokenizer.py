"""The tokenizer read from a GGUF file: tiny files made by hand, and the real one against the model's own server."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from megadocs.errors import InputError
from megadocs.generate.gguf_tokenizer import load_gguf_tokenizer, read_gguf_metadata


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def strings(items: list[str]) -> bytes:
    return struct.pack("<IIQ", 9, 8, len(items)) + b"".join(string(item) for item in items)


def tiny_gguf(pre: str = "gpt-2") -> bytes:
    tokens = ["a", "b", "Ġ", "ab", "Ġab"]
    pairs = [
        string("tokenizer.ggml.model") + struct.pack("<I", 8) + string("gpt2"),
        string("tokenizer.ggml.pre") + struct.pack("<I", 8) + string(pre),
        string("tokenizer.ggml.tokens") + strings(tokens),
        string("tokenizer.ggml.merges") + strings(["a b", "Ġ ab"]),
        string("general.number") + struct.pack("<If", 6, 1.5),
    ]
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs) + b"\0" * 64


def test_tiny_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(tiny_gguf())
    assert read_gguf_metadata(tmp_path / "m.gguf")["general.number"] == 1.5
    tokenizer = load_gguf_tokenizer(tmp_path / "m.gguf")
    assert tokenizer.ids("ab ab") == [3, 4]
    assert tokenizer.offsets("ab aba") == [(0, 2), (2, 5), (5, 6)]


def test_cut_at_every_byte_is_one_clear_error(tmp_path: Path) -> None:
    data = tiny_gguf()[:-64]
    path = tmp_path / "m.gguf"
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        with pytest.raises(InputError):
            read_gguf_metadata(path)


def test_huge_lengths_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("k") + struct.pack("<IIQ", 9, 8, 2**60)
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_gguf_metadata(tmp_path / "m.gguf")


def test_an_unknown_family_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(tiny_gguf("llama-bpe-9"))
    with pytest.raises(InputError) as caught:
        load_gguf_tokenizer(tmp_path / "m.gguf")
    assert "split_tokenizer" in str(caught.value)
