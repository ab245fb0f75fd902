"""The header of a GGUF model file, and the tokenizer inside it as a `tokenizer.json`.

    header = read_header(path)
    header.fields["general.architecture"], header.tensors["token_embd.weight"].shape

Split points are computed with the generator's tokenizer, and an embedded generator is one GGUF file. Only the header is
read (a few MB), with bounds on every length, since a downloaded file is untrusted. Byte-level BPE tokenizers with a
known pre-tokenizer are understood; others are an error that says so.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from megadocs.errors import InputError
from megadocs.text.byte_level import PRE_TOKENIZERS, byte_level_bpe
from megadocs.text.plain_text import TokenizerJson

_MAGIC = b"GGUF"
_ALIGNMENT = 32
_MAX_FIELDS = 65_536
_MAX_ITEMS = 4_000_000
_MAX_STRING_BYTES = 16 << 20
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_CONTROL_TYPES = (2, 3, 4)  # unknown, control, user-defined
_REMEDY = "give the model's tokenizer.json or hub name"
#: The recommended pre-tokenizer of files written before it was named.
_DEFAULT_PRE_TOKENIZER = "gpt-2"


_MAX_DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies: its shape as in numpy (the last dimension is contiguous), type number, byte in the file."""

    shape: tuple[int, ...]
    type_number: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Everything but the tensors' contents."""

    fields: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]


def read_header(path: Path) -> GgufHeader:
    """The fields and the places of the tensors.

    Raises:
        InputError: not a GGUF file, or a damaged one.
    """
    try:
        status = path.stat()
        return _read_header(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
    except (struct.error, ValueError) as error:
        raise InputError(f"damaged or not a GGUF file: {error}", where=str(path), remedy=_REMEDY) from error


@functools.lru_cache(maxsize=1)
def _read_header(path: Path, size: int, modified: int) -> GgufHeader:
    """Model and tokenizer are read one after the other: half a second the second time, while the file is the same."""
    with path.open("rb") as file:
        fields, num_tensors = _read_fields(file)
        return GgufHeader(fields, _read_tensors(file, num_tensors, fields))


def read_gguf(path: Path) -> tuple[TokenizerJson, str | None, str]:
    """The `tokenizer.json` of a GGUF file, its BOS (None: none) and its EOS.

    Raises:
        InputError: not a GGUF file, damaged, or a tokenizer of another kind.
    """
    return tokenizer_of(read_header(path).fields, path)


def tokenizer_of(fields: Mapping[str, Any], path: Path) -> tuple[TokenizerJson, str | None, str]:
    """As `read_gguf`, from fields that were read already."""
    try:
        return _tokenizer_of(fields, path)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the GGUF file holds no usable tokenizer: {error!r}", where=str(path)) from error


def _tokenizer_of(fields: Mapping[str, Any], path: Path) -> tuple[TokenizerJson, str | None, str]:
    kind = fields["tokenizer.ggml.model"]
    pre_tokenizer = fields.get("tokenizer.ggml.pre", _DEFAULT_PRE_TOKENIZER)
    if kind != "gpt2" or pre_tokenizer not in PRE_TOKENIZERS:
        raise InputError(f"tokenizer {kind!r} with {pre_tokenizer!r} is unknown", where=str(path), remedy=_REMEDY)
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    types: list[int] = fields.get("tokenizer.ggml.token_type", [1] * len(tokens))
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    controls = {tokens[index]: index for index, token_type in enumerate(types) if token_type in _CONTROL_TYPES}
    vocabulary = {token: index for index, token in enumerate(tokens)}
    bos_id = fields.get("tokenizer.ggml.bos_token_id")
    eos_token = tokens[fields["tokenizer.ggml.eos_token_id"]]
    spec = byte_level_bpe(vocabulary, merges, controls, pre_tokenizer)
    return spec, None if bos_id is None else tokens[bos_id], eos_token


def _read_fields(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The fields, and how many tensors follow."""
    if file.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, num_tensors, num_fields = struct.unpack("<IQQ", _exactly(file, 20))
    if version not in (2, 3) or num_fields > _MAX_FIELDS or num_tensors > _MAX_FIELDS:
        raise ValueError(f"version {version} with {num_fields} fields")
    fields: dict[str, Any] = {}
    for _ in range(num_fields):
        key = _read_string(file)
        fields[key] = _read_value(file, _scalar(file, "I"))
    return fields, num_tensors


def _read_tensors(file: BinaryIO, num_tensors: int, fields: Mapping[str, Any]) -> dict[str, StoredTensor]:
    alignment = fields.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise ValueError(f"an alignment of {alignment!r}")
    found = []
    for _ in range(num_tensors):
        name, num_dimensions = _read_string(file), _scalar(file, "I")
        if num_dimensions > _MAX_DIMENSIONS:
            raise ValueError(f"a tensor of {num_dimensions} dimensions")
        shape = struct.unpack(f"<{num_dimensions}Q", _exactly(file, 8 * num_dimensions))
        type_number, offset = struct.unpack("<IQ", _exactly(file, 12))
        found.append((name, StoredTensor(shape[::-1], type_number, offset)))
    start = -(-file.tell() // alignment) * alignment
    return {name: replace(tensor, offset=start + tensor.offset) for name, tensor in found}


def _read_value(file: BinaryIO, value_type: int) -> Any:
    if value_type == _STRING:
        return _read_string(file)
    if value_type != _ARRAY:
        return _scalar(file, _format(value_type))
    item_type, length = struct.unpack("<IQ", _exactly(file, 12))
    if length > _MAX_ITEMS or item_type == _ARRAY:
        raise ValueError(f"an array of {length} items of type {item_type}")
    if item_type == _STRING:
        return _read_strings(file, length)
    layout = f"<{length}{_format(item_type)}"
    return list(struct.unpack(layout, _exactly(file, struct.calcsize(layout))))


def _format(value_type: int) -> str:
    if value_type not in _SCALARS:
        raise ValueError(f"value of unknown type {value_type}")
    return _SCALARS[value_type]


def _scalar(file: BinaryIO, code: str) -> Any:
    return struct.unpack(f"<{code}", _exactly(file, struct.calcsize(f"<{code}")))[0]


def _read_string(file: BinaryIO) -> str:
    length = _scalar(file, "Q")
    if length > _MAX_STRING_BYTES:
        raise ValueError(f"a string of {length} bytes")
    return _exactly(file, length).decode("utf-8", errors="replace")


def _read_strings(file: BinaryIO, count: int) -> list[str]:
    """As `_read_string`, many: a tokenizer has 100,000 of them, and calls would take two thirds of the time."""
    read, length_of, strings = file.read, struct.Struct("<Q").unpack, []
    for _ in range(count):
        (length,) = length_of(read(8))  # short: struct.error, which is told as the rest
        if length > _MAX_STRING_BYTES:
            raise ValueError(f"a string of {length} bytes")
        data = read(length)
        if len(data) != length:
            raise ValueError("the file ends early")
        strings.append(data.decode("utf-8", "replace"))
    return strings


def _exactly(file: BinaryIO, num_bytes: int) -> bytes:
    data = file.read(num_bytes)
    if len(data) != num_bytes:
        raise ValueError("the file ends early")
    return data
