"""Typed errors: what went wrong, where, and what to do about it.

Every error a user can cause or meet is a `MegadocsError`. The command line prints its three parts and exits with its
`exit_code`: 2 for usage (recipe, arguments, input data), 1 for a failure while working, 3 where generations are
missing. Anything else that escapes is a bug and keeps its traceback.

    raise RecipeError("batch_size is 0", where="train.batch_size", remedy="use a whole number of at least 1")
"""

from __future__ import annotations


class MegadocsError(Exception):
    """An error with a place and a remedy.

    Args:
        what: one sentence, what is wrong.
        where: the file, the dotted recipe key, or the record it is about.
        remedy: one sentence, what the user can do.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"  where: {self.where}")
        if self.remedy:
            parts.append(f"  to do: {self.remedy}")
        return "\n".join(parts)

    def to_json(self) -> dict[str, str | int | None]:
        """The same three parts for `--json`."""
        return {
            "error": type(self).__name__,
            "what": self.what,
            "where": self.where,
            "remedy": self.remedy,
            "exit_code": self.exit_code,
        }


class UsageError(MegadocsError):
    """The request is invalid: nothing was started."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe or an override is wrong; `where` is the dotted key."""


class ConsentError(RecipeError):
    """A recipe asks for a power that only the person may give (`recipe/consent.py`); nothing was started."""


class InputError(UsageError):
    """A user's data (corpus, tokenizer, model) is missing, unreadable or too small; `where` is the file."""


class StoreError(MegadocsError):
    """Reading or writing the workspace failed (disk full, no permission, input/output error)."""


class DamagedError(StoreError):
    """Bytes on disk are not the bytes that were written; `where` names the file."""


class LockedError(StoreError):
    """Another process holds the lock; the message names it."""


class EngineError(MegadocsError):
    """A generation engine is missing, cannot start, died, or answers as another model."""


class MissingGenerationsError(MegadocsError):
    """More generations are missing than `stream.max_missing_fraction` allows."""

    exit_code = 3


class IncompleteError(MegadocsError):
    """The work finished, but some of it failed for good; the accounting says what."""

    exit_code = 3


class TrainingError(MegadocsError):
    """A training run cannot go on (non-finite loss, foreign checkpoint, not enough memory)."""


class DivergedError(TrainingError):
    """A loss or gradient is no finite number: the setting is worse than any that can be trained."""


class AnalysisError(MegadocsError):
    """The records do not allow the number asked for."""
