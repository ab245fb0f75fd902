"""Noticing that a server answers as another model than it did in an earlier run of the same ledger.

A recipe names a model; what answers under that name may change between runs. The name in the replies is kept in
`served.json` beside the records, per configured identity, and compared with every reply. Engines whose identity holds a
hash of the model file need no such note.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megadocs.errors import EngineError
from megadocs.recipe import fingerprint
from megadocs.store.files import read_json, write_json_atomic


class ServedModel:
    """The note of one ledger for one engine identity.

    Args:
        ledger_dir: where the note lies; only the ledger's writer may change it.
        identity: of the engine, as configured.
    """

    def __init__(self, ledger_dir: Path, identity: Mapping[str, Any]) -> None:
        self._path = ledger_dir / "served.json"
        self._key = fingerprint(dict(identity))
        self._is_hashed = "sha256" in identity
        self._known: dict[str, str] = read_json(self._path) if self._path.exists() else {}

    def check(self, model: str) -> None:
        """Compare a reply's model with the note, or make the note.

        Raises:
            EngineError: another model answers now.
        """
        if self._is_hashed or not model or self._known.get(self._key) == model:
            return
        if self._key in self._known:
            raise EngineError(
                f"the server answers as {model!r}; this ledger's records are from {self._known[self._key]!r}",
                where=str(self._path),
                remedy="start that model, or set generate.engine.revision: the new one's generations are another set",
            )
        self._known[self._key] = model
        write_json_atomic(self._path, self._known)
