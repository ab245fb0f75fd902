"""Fingerprints: what a step is, as a hash of its configuration, inputs and version."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Any

from pydantic import BaseModel


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces and models dumped: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def fingerprint(value: Any, *, num_hex: int = 20) -> str:
    """Hex SHA-256 of the canonical JSON, shortened to `num_hex` digits (20 digits are 80 bits)."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()[:num_hex]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Decimal):
        return str(value.normalize())
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")
