"""What the gates find in stored replies under thresholds that they were not judged under: read once, then remembered.

    with remembered(index, judge.findings):      # heads that are known say what these thresholds find
        ...                                      # note_flags(index, position, flags, findings) for the others

A record's head holds the flags of its text and the digest of what found them. Under another digest the text must be
read and judged again: 195 us a record, 17 minutes a pass over 5.2 million, and a run makes three passes. So the flags
are put into the index in memory, and kept beside the ledger (`findings-DIGEST.npy`, 30 bytes a record). They are a
cache: each holds for one record at one place of the log, and whatever cannot be read or written is computed again.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megadocs.errors import StoreError
from megadocs.generate.ledger import LedgerIndex
from megadocs.generate.records import FLAG_BITS, STATUS_CODES
from megadocs.store.files import write_bytes_atomic

#: Fewer than this are judged again in a fifth of a second.
MIN_KEPT = 1000
#: Of thresholds that a ledger was judged under: older files are removed.
_MAX_FILES = 3
_KEPT_DTYPE = np.dtype([("high", "<u8"), ("low", "<u8"), ("segment", "<u2"), ("offset", "<u8"), ("flags", "<u4")])


@contextlib.contextmanager
def remembered(index: LedgerIndex, findings: int) -> Iterator[None]:
    """Within it the heads of known records hold the flags that `findings` finds; what is noted meanwhile is kept.

    Args:
        index: of a ledger; its heads are changed.
        findings: digest of what decides the flags of a text.
    """
    others = _judged_otherwise(index, findings)
    if not others.any():
        yield
        return
    _recall(index, findings, others)
    num_known = int(np.count_nonzero(index.head["basis"][others] == findings))
    try:
        yield
    finally:
        known = np.flatnonzero(others & (index.head["basis"] == findings))
        if len(known) - num_known >= MIN_KEPT:
            with contextlib.suppress(StoreError, OSError):  # a colleague's ledger, a full disk: it is only a cache
                _keep(index, findings, known)


def note_flags(index: LedgerIndex, position: int, flags: Iterable[str], findings: int) -> None:
    """Put the flags of one record into its head, as those that `findings` finds."""
    index.head["flags"][position] = sum(1 << FLAG_BITS[flag] for flag in flags)
    index.head["basis"][position] = findings


def _judged_otherwise(index: LedgerIndex, findings: int) -> npt.NDArray[np.bool_]:
    """Records of one reply whose flags were found under another digest."""
    head = index.head
    mask: npt.NDArray[np.bool_] = head["basis"] != findings
    mask &= head["replies"] == 1
    mask &= head["status"] <= STATUS_CODES["rejected"]
    return mask


def _recall(index: LedgerIndex, findings: int, others: npt.NDArray[np.bool_]) -> None:
    try:
        kept = np.load(_path(index, findings), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return
    if kept.ndim != 1 or kept.dtype != _KEPT_DTYPE:
        return
    places = index.places(kept["high"], kept["low"])
    kept, places = kept[places >= 0], places[places >= 0]
    holds = (index.segment[places] == kept["segment"]) & (index.offset[places] == kept["offset"]) & others[places]
    index.head["flags"][places[holds]] = kept["flags"][holds]
    index.head["basis"][places[holds]] = findings


def _keep(index: LedgerIndex, findings: int, known: npt.NDArray[np.int64]) -> None:
    kept = np.empty(len(known), dtype=_KEPT_DTYPE)
    for name, column in (
        ("high", index.high),
        ("low", index.low),
        ("segment", index.segment),
        ("offset", index.offset),
    ):
        kept[name] = column[known]
    kept["flags"] = index.head["flags"][known]
    buffer = io.BytesIO()
    np.save(buffer, kept, allow_pickle=False)
    path = _path(index, findings)
    write_bytes_atomic(path, buffer.getvalue())
    files = sorted(path.parent.glob("findings-*.npy"), key=lambda file: file.stat().st_mtime)
    for old in files[:-_MAX_FILES]:
        old.unlink(missing_ok=True)


def _path(index: LedgerIndex, findings: int) -> Path:
    return index.paths[0].parent / f"findings-{findings:016x}.npy"
