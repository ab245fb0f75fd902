"""Recipe section `search`: the grid on which each arm's settings are tuned, where to begin, when to stop."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from megadocs.recipe.base import Section

#: Sections whose fields may be an axis, or an override of an arm.
SEARCHABLE_SECTIONS = ("stream", "mixture", "model", "train")

AxisValue = Annotated[float, Field(ge=-1e38, le=1e38)]


class AxisConfig(Section):
    """One setting and its values, in ascending order on the grid."""

    values: list[AxisValue] = Field(
        min_length=1, max_length=1000, description="Values to choose from; one value pins the setting."
    )
    lower: float | None = Field(
        None,
        gt=0,
        le=1e12,
        description="At the lower edge the axis goes on by the ratio of its last two values, down to this.",
    )
    upper: float | None = Field(
        None, gt=0, le=1e38, description="The same at the upper edge, up to this; none: it ends there."
    )
    arms: list[str] | None = Field(
        None, description="Arms that it applies to; none: all (synthetic_fraction: those with synthetic rows)."
    )


class TuneBudget(Section):
    """How much a run may spend on tuning before it trains the reported arms."""

    max_runs: int | None = Field(None, ge=1, le=10**6, description="Trials over all tuned arms; none: no limit.")
    max_hours: float | None = Field(None, gt=0, le=1e6, description="Start no new trial after so many hours.")


class SearchConfig(Section):
    """Tuning by a walk on a grid. The recipe's first seed walks, the others repeat what the certificate rests on."""

    axes: dict[str, AxisConfig] = Field(
        min_length=1, description="dotted key of stream, mixture, model or train -> its values."
    )
    arms: list[str] | None = Field(None, min_length=1, description="Arms to tune; none: all.")
    start: Literal["paper"] | dict[str, AxisValue] = Field(
        default_factory=dict,
        description="Where the walk begins: dotted key -> value, the arm's own value for the others; or `paper`: the "
        "method's published setting for the arm's ordering and G, the learning rate scaled to the student's width.",
    )
    round_size: int = Field(
        2, ge=1, le=4096, description="Trials of one arm at a time: more run side by side, but some of them are wasted."
    )
    compute_matched_epochs: float | None = Field(
        None,
        gt=0,
        le=1e6,
        description="Every run trains on this many times the 1x real tokens, whatever its arm: real_epochs follows "
        "from it, the synthetic fraction and the real multiple.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="One-sided level of `worse` and `better`.")
    max_runs: int | None = Field(
        None, ge=1, le=10**6, description="Stop gracefully at this many trials over all arms, reused ones included."
    )
    max_hours: float | None = Field(None, gt=0, le=1e6, description="Start no new trials after this many hours.")

    @field_validator("axes", "start")
    @classmethod
    def _keys(cls, value: str | dict[str, object]) -> str | dict[str, object]:
        for key in value if isinstance(value, dict) else ():
            if key.split(".")[0] not in SEARCHABLE_SECTIONS or "." not in key:
                raise ValueError(f"{key!r} cannot be searched: name a field of {', '.join(SEARCHABLE_SECTIONS)}")
        return value
