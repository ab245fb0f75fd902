"""What a recipe file asks for that only the person may allow; noted in the recipe by `consent.apply_consent`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What would use a power: writing text with an engine, or training (which tells trackers).
Act = Literal["generate", "train"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A power that the recipe file asks for."""

    key: str
    act: Act  # what would use it
    what: str  # what it would do
    remedy: str  # how the person allows it
