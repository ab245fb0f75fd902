"""Hashes and seeds: everything that looks random in megadocs comes from here.

No library shuffle is used for anything that must stay the same for ever (numpy's is not stable across versions).
An order is an ascending sort by `mix(seed ^ key)`; a seed is `derive_seed(root, *labels)`; a key is a hash of an
identity. The functions take and return numpy `uint64` arrays (any shape) or plain integers below 2**64.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt

Uint64Array = npt.NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_ROUND_1 = 0xBF58476D1CE4E5B9
_ROUND_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1
_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def mix(z: int) -> int:
    """splitmix64's step and finaliser, modulo 2**64; `mix(0) == 0xE220A8397B1DCDAF`."""
    z = (z + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _ROUND_1) & _MASK
    z = ((z ^ (z >> 27)) * _ROUND_2) & _MASK
    return z ^ (z >> 31)


def mix_array(z: Uint64Array) -> Uint64Array:
    """`mix` for every element of a uint64 array; returns a new array of the same shape."""
    z = z + np.uint64(_GOLDEN)  # array arithmetic wraps modulo 2**64 without a warning
    z ^= z >> np.uint64(30)
    z *= np.uint64(_ROUND_1)
    z ^= z >> np.uint64(27)
    z *= np.uint64(_ROUND_2)
    z ^= z >> np.uint64(31)
    return z


def derive_seed(root: int, *labels: str | int) -> int:
    """A 64-bit seed for one purpose: the first 8 bytes, little-endian, of SHA-256 of JSON [root, ...labels]."""
    payload = _encode_json([root, *labels]).encode("utf-8")
    return int.from_bytes(hashlib.sha256(payload).digest()[:8], "little")


def document_key(document_id: str) -> int:
    """64-bit key of a document: the first 8 bytes, little-endian, of SHA-256 of its id."""
    return int.from_bytes(hashlib.sha256(document_id.encode("utf-8")).digest()[:8], "little")


def row_key(document: int, kind_code: int, generation: int) -> int:
    """64-bit key of a row: `mix(document_key ^ mix(kind_code * 2**32 + generation))`."""
    return mix(document ^ mix((kind_code << 32) + generation))


def row_key_array(document: Uint64Array, kind_code: Uint64Array, generation: Uint64Array) -> Uint64Array:
    """`row_key` for three uint64 columns of equal length."""
    return mix_array(document ^ mix_array((kind_code << np.uint64(32)) + generation))


def text_digest(text: str) -> str:
    """Hex SHA-256 of the text in UTF-8: a document's identity when its source gives none."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
