"""The generator's tokenizer, read from its GGUF file: counts tokens and finds split points without starting a server.

Only the file's metadata is read (1.8 MB of SmolLM2's 98 MB: 0.06 s, the tokenizer another 0.05 s; transformers needs
seconds for the same and brings torch). Byte-level BPE (`tokenizer.ggml.model: gpt2`) with the pre-tokenizers listed in
`_PRE_TOKENIZERS` is supported; for other models name a tokenizer in `generate.split_tokenizer`.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import tokenizers
from tokenizers import models, pre_tokenizers

from megadocs.errors import InputError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_KEYS = 10_000
_MAX_ITEMS = 4_000_000
_MAX_STRING_BYTES = 16_000_000


class GgufTokenizer:
    """Token spans and counts as the GGUF's own model sees them; text is never read as control tokens."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Character span of every token."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).offsets)

    def ids(self, text: str) -> list[int]:
        """Token ids."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def count(self, text: str) -> int:
        """Number of tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def load_gguf_tokenizer(path: str | Path) -> GgufTokenizer:
    """The tokenizer inside a GGUF file.

    Raises:
        InputError: not a GGUF file, truncated, or a tokenizer of another family.
    """
    metadata = read_gguf_metadata(path)
    family, pre = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if family != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise InputError(
            f"tokenizer family {family!r} with pre-tokenizer {pre!r} cannot be read from a GGUF file here",
            where=str(path),
            remedy="set generate.split_tokenizer to the model's tokenizer.json or hub name",
        )
    vocabulary = {token: number for number, token in enumerate(metadata["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = _PRE_TOKENIZERS[pre]()
    return GgufTokenizer(tokenizer)


def read_gguf_metadata(path: str | Path) -> dict[str, Any]:
    """All key-value metadata of a GGUF file (versions 2 and 3)."""
    try:
        with Path(path).open("rb") as file:
            magic, version = file.read(4), _scalar(file, "I")
            if magic != b"GGUF" or version not in (2, 3):
                raise InputError("not a GGUF file of version 2 or 3", where=str(path))
            _scalar(file, "Q")  # number of tensors
            num_keys = _bounded(_scalar(file, "Q"), _MAX_KEYS)
            return {_string(file): _value(file, _scalar(file, "I"), depth=0) for _ in range(num_keys)}
    except OSError as error:
        raise InputError(f"cannot read the model: {error.strerror}", where=str(path)) from error
    except (struct.error, ValueError, KeyError) as error:
        raise InputError(
            "the GGUF file is damaged or truncated", where=str(path), remedy="download it again"
        ) from error


def _scalar(file: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", file.read(struct.calcsize(code)))[0]


def _string(file: BinaryIO) -> str:
    length = _bounded(_scalar(file, "Q"), _MAX_STRING_BYTES)
    data = file.read(length)
    if len(data) != length:
        raise ValueError("truncated string")
    return data.decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int, depth: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        if depth > 2:
            raise ValueError("arrays nested too deep")
        item, count = _scalar(file, "I"), _bounded(_scalar(file, "Q"), _MAX_ITEMS)
        return [_value(file, item, depth + 1) for _ in range(count)]
    return _scalar(file, _SCALARS[kind])


def _bounded(number: int, limit: int) -> int:
    if number > limit:
        raise ValueError(f"{number} is over the limit {limit}")
    return number


def _smollm() -> pre_tokenizers.PreTokenizer:
    """Every digit alone, then GPT-2's word pattern."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


_PRE_TOKENIZERS = {"smollm": _smollm, "gpt-2": _gpt2, "default": _gpt2}
