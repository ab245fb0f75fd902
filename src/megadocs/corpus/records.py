"""One record of a source: what every reader yields, and the counts of what it could not take.

A record is a text with an optional id, as it stands in the file. `clean_text` decides whether it becomes a document:
valid Unicode, not empty, of bounded size; line ends become "\\n", one leading byte order mark goes, everything else
(NUL, U+2028, control characters) stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_RECORD_BYTES = 256 << 20
MAX_ID_CHARACTERS = 4096
_MAX_EXAMPLES = 5
#: Letters of Latin script in UTF-16 are half NUL; other scripts have their blanks and digits so.
_MIN_NUL_SHARE = 0.3


class RejectedRecordError(Exception):
    """A record that cannot become a document; `reason` is the name it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Record:
    """One record."""

    text: str
    id: str | None  # the source's own id as a string, None where it has none
    source: str  # name of the file relative to the source's root
    meta: Mapping[str, Any] = field(default_factory=dict)  # what else the source knows


@dataclass(slots=True)
class Intake:
    """Counts of one pass over a source: records, rejects by reason with a few examples, files not read."""

    num_records: int = 0
    num_files: int = 0
    num_bytes: int = 0
    skipped_files: int = 0
    skipped_bytes: int = 0
    skipped_examples: list[str] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def reject(self, reason: str, where: str) -> None:
        """Count one record that is left out, and remember where the first few of its kind stood."""
        self.rejected[reason] += 1
        places = self.examples.setdefault(reason, [])
        if len(places) < _MAX_EXAMPLES:
            places.append(where)

    def note_skipped(self, sizes: Mapping[str, int]) -> None:
        """Count files that are not read: name -> bytes."""
        self.skipped_files, self.skipped_bytes = len(sizes), sum(sizes.values())
        self.skipped_examples = list(sizes)[:_MAX_EXAMPLES]

    def to_json(self) -> dict[str, Any]:
        """The counts for `corpus.json`."""
        skipped = {
            "num_bytes": self.num_bytes,
            "num_skipped_bytes": self.skipped_bytes,
            "skipped_examples": self.skipped_examples,
        }
        return {
            **(skipped if self.skipped_files else {}),
            "num_files": self.num_files,
            "num_skipped_files": self.skipped_files,
            "num_records": self.num_records,
            "rejected": dict(sorted(self.rejected.items())),
            "rejected_examples": dict(sorted(self.examples.items())),
        }


def clean_text(value: object) -> str:
    """A document's text from a field's value (str, or bytes in UTF-8).

    Raises:
        RejectedRecordError: missing_text, text_not_a_string, invalid_utf8, looks_like_utf16, lone_surrogate,
            too_long or empty.
    """
    if value is None:
        raise RejectedRecordError("missing_text")
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            reason = "looks_like_utf16" if looks_like_utf16(value) else "invalid_utf8"
            raise RejectedRecordError(reason) from error
    if not isinstance(value, str):
        raise RejectedRecordError("text_not_a_string")
    try:
        num_bytes = len(value.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise RejectedRecordError("lone_surrogate") from error
    if looks_like_utf16(value):
        raise RejectedRecordError("looks_like_utf16")
    if num_bytes > MAX_RECORD_BYTES:
        raise RejectedRecordError("too_long")
    text = value.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise RejectedRecordError("empty")
    return text


def looks_like_utf16(text: str | bytes) -> bool:
    """Whether about every second character is NUL, or the first two bytes are its mark: UTF-16 read as UTF-8."""
    if isinstance(text, bytes) and text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    num_nul = text.count("\0") if isinstance(text, str) else text.count(b"\0")
    return len(text) >= 8 and num_nul >= _MIN_NUL_SHARE * len(text)


def clean_id(value: object) -> str:
    """A document's id from a field's value: a string (or its bytes in UTF-8), or a whole number written in decimal.

    Raises:
        RejectedRecordError: missing_id, id_not_a_string, id_too_long, invalid_utf8_in_id or lone_surrogate_in_id.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RejectedRecordError("invalid_utf8_in_id") from error
    if value is None or value == "":
        raise RejectedRecordError("missing_id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RejectedRecordError("id_not_a_string")
    try:
        identity = str(value)
        identity.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RejectedRecordError("lone_surrogate_in_id") from error
    except ValueError as error:  # an integer of more than 4300 digits
        raise RejectedRecordError("id_too_long") from error
    if len(identity) > MAX_ID_CHARACTERS:
        raise RejectedRecordError("id_too_long")
    return identity
