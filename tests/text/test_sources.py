"""Tokenizer sources: files, folders, damaged and hostile input; no network."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megadocs.errors import InputError, MegadocsError
from megadocs.text import tiktoken_file
from megadocs.text.byte_level import byte_characters
from megadocs.text.sources import local_digest, read_source, with_separators
from megadocs.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

TRAINED = train_tokenizer(["some text to train on, some more text"] * 3, 280)


def test_byte_characters_are_those_of_the_library() -> None:
    from tokenizers import pre_tokenizers

    assert sorted(byte_characters()) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("é\n ")[0][0] == "".join(
        byte_characters()[byte] for byte in "é\n ".encode()
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {}}', '{"model": {"vocab": 3}}', "[" * 100_000])
def test_not_a_tokenizer_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError) as caught:
        load_tokenizer(str(tmp_path))
    assert "tokenizer.json" in str(caught.value.where)


def test_missing_and_empty_places(tmp_path: Path) -> None:
    for source in (str(tmp_path), str(tmp_path / "none.json"), "./nowhere", "not a name", "../x/y"):
        with pytest.raises(InputError) as caught:
            load_tokenizer(source)
        assert source in str(caught.value)


def test_hub_name_offline_is_an_input_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="cache"):
        load_tokenizer("no-such-org/no-such-name-here")


@pytest.mark.parametrize(
    "config, expected",
    [
        ({}, ("<|bos|>", "<|eos|>")),
        ({"bos_token": None}, (None, "<|eos|>")),
        ({"bos_token": {"content": "<|eos|>"}, "eos_token": "<|bos|>"}, ("<|eos|>", "<|bos|>")),
    ],
)
def test_separators_from_the_configuration(config: dict[str, Any], expected: tuple[str | None, str]) -> None:
    loaded = with_separators(json.loads(TRAINED.to_json()), config, "here")
    assert (loaded.bos_token, loaded.eos_token) == expected


def test_a_tokenizer_without_eos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(TRAINED.to_json().replace("<|eos|>", "<|odd|>"))
    with pytest.raises(InputError, match="end-of-sequence"):
        load_tokenizer(str(tmp_path / "t.json"))


@given(st.data())
def test_damaged_tokenizer_json_never_escapes_as_another_error(data: st.DataObject) -> None:
    content = TRAINED.to_json()
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    damaged = content[:start] + data.draw(st.text(max_size=5)) + content[end:]
    try:
        loaded = with_separators(json.loads(damaged), {}, "here")
        Tokenizer(loaded.spec, loaded.bos_token, loaded.eos_token)
    except (MegadocsError, ValueError):  # ValueError: json.loads itself, which `read_source` turns into an InputError
        pass


def small_ranks(num_merges: int) -> dict[bytes, int]:
    """A random tiktoken vocabulary: all bytes, then tokens joined from two earlier ones."""
    chooser = random.Random(5)
    ranks = {bytes([byte]): byte for byte in range(256)}
    pool = [b"a", b"b", b"c", b" ", "é".encode()[:1], "é".encode()[1:]]
    while len(ranks) < 256 + num_merges:
        token = chooser.choice(pool) + chooser.choice(pool)
        if token not in ranks and len(token) < 9:
            ranks[token] = len(ranks)
            pool.append(token)
    return ranks


def reference_bpe(word: bytes, ranks: dict[bytes, int]) -> list[int]:
    """tiktoken's algorithm, written plainly: join the pair of lowest rank, leftmost first, until none is left."""
    if word in ranks:
        return [ranks[word]]
    parts = [bytes([byte]) for byte in word]
    while True:
        joined = [(ranks[a + b], index) for index, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ranks]
        if not joined:
            return [ranks[part] for part in parts]
        _, index = min(joined)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]


def test_tiktoken_file_gives_the_ids_of_the_algorithm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = small_ranks(200)
    lines = [base64.b64encode(token) + b" " + str(rank).encode() for token, rank in ranks.items()]
    (tmp_path / "tokenizer.model").write_bytes(b"\n".join(lines) + b"\n")
    monkeypatch.setattr(tiktoken_file, "_NUM_ORDINARY", len(ranks))
    tokenizer = load_tokenizer(str(tmp_path))
    assert (tokenizer.bos_id, tokenizer.eos_id) == (456, 457)
    assert tokenizer.vocab_size == 456 + 256
    chooser = random.Random(1)
    for _ in range(500):
        word = "".join(chooser.choices(["a", "b", "c", "é", "ab", "aa"], k=chooser.randrange(1, 12)))
        assert tokenizer.encode_batch([word])[0].tolist() == reference_bpe(word.encode(), ranks)


@pytest.mark.parametrize("content", [b"", b"IQ== 0\n", b"\x00\x01\x02", b"IQ== x\n", b"!!!! 0\n", b"a b c\n"])
def test_not_llama_3_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(InputError):
        read_source(str(tmp_path / "tokenizer.model"))


def gguf(fields: dict[str, Any]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(fields))
    for key, value in fields.items():
        data += text(key)
        if isinstance(value, str):
            data += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            data += struct.pack("<II", 4, value)
        elif value and isinstance(value[0], str):
            data += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(item) for item in value)
        else:
            data += struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)
    return data


GGUF_FIELDS: dict[str, Any] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": ["<s>", "</s>", *byte_characters(), "ab"],
    "tokenizer.ggml.token_type": [3, 3, *[1] * 257],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 1,
}


def test_gguf_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf(GGUF_FIELDS) + b"tensors follow")
    tokenizer = load_tokenizer(str(tmp_path / "m.gguf"))
    assert tokenizer.encode_rows(["ab</s>"])[0].tolist()[:2] == [0, 258]
    assert tokenizer.decode(tokenizer.encode_batch(["ab</s>"])[0]) == "ab</s>"
    assert tokenizer.is_lossless


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer.ggml.model": "llama"},
        {"tokenizer.ggml.pre": "unheard-of"},
        {"tokenizer.ggml.eos_token_id": 10**6},
        {"tokenizer.ggml.merges": ["ab"]},
        {"tokenizer.ggml.tokens": "x"},
    ],
)
def test_gguf_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf({**GGUF_FIELDS, **change}))
    with pytest.raises(InputError):
        load_tokenizer(str(tmp_path / "m.gguf"))


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_gguf_is_an_input_error_or_a_tokenizer(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(gguf(GGUF_FIELDS))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzzed.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InputError):
        load_tokenizer(str(path))


def test_an_empty_sequence_of_normalisers_changes_nothing() -> None:
    spec = json.loads(TRAINED.to_json())
    for normalizer, expected in (({"type": "Sequence", "normalizers": []}, True), ({"type": "NFKC"}, False)):
        assert Tokenizer({**spec, "normalizer": normalizer}, "<|bos|>", "<|eos|>").is_lossless is expected


def test_a_local_tokenizer_is_known_by_its_content(tmp_path: Path) -> None:
    TRAINED.save(tmp_path / "a")
    TRAINED.save(tmp_path / "b")
    TRAINED.save(tmp_path / "c")
    config = json.loads((tmp_path / "c" / "tokenizer_config.json").read_text())
    (tmp_path / "c" / "tokenizer_config.json").write_text(json.dumps(config | {"bos_token": None}))
    digests = [local_digest(str(tmp_path / name)) for name in "abc"]
    assert digests[0] == digests[1] == local_digest(str(tmp_path / "a" / "tokenizer.json")) != digests[2]
    assert local_digest("org/name") is None


@pytest.mark.parametrize("source", ["~nosuchuser/x", "/nowhere/tokenizer.json", "./x", "x.gguf", "a\0b", "a b"])
def test_a_path_that_leads_nowhere_is_named_before_anything_runs(source: str) -> None:
    for find in (local_digest, read_source):
        with pytest.raises(InputError, match="no such tokenizer") as caught:
            find(source)
        assert caught.value.where == source
    assert local_digest("org/name") is None
