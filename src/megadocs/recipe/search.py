"""Recipe section `search`: the grid on which each arm's settings are tuned, where to begin, when to stop."""

from __future__ import annotations

from pydantic import Field, field_validator

from megadocs.recipe.base import Section

_SEARCHABLE = ("stream", "mixture", "model", "train")


class AxisConfig(Section):
    """One setting and its values, in ascending order on the grid."""

    values: list[float] = Field(min_length=1, description="Values to choose from; one value pins the setting.")
    lower: float | None = Field(
        None, gt=0, description="At the lower edge the axis goes on by the ratio of its last two values, down to this."
    )
    upper: float | None = Field(None, gt=0, description="The same at the upper edge, up to this; none: it ends there.")
    arms: list[str] | None = Field(
        None, description="Arms that it applies to; none: all (synthetic_fraction: those with synthetic rows)."
    )


class SearchConfig(Section):
    """Tuning by a walk on a grid. The recipe's first seed walks, the others repeat what the certificate rests on."""

    axes: dict[str, AxisConfig] = Field(
        min_length=1, description="dotted key of stream, mixture, model or train -> its values."
    )
    arms: list[str] | None = Field(None, min_length=1, description="Arms to tune; none: all.")
    start: dict[str, float] = Field(
        default_factory=dict, description="dotted key -> value where the walk begins; none: the arm's own value."
    )
    round_size: int = Field(
        2, ge=1, description="Trials of one arm at a time: more run side by side, but some then are in vain."
    )
    compute_matched_epochs: float | None = Field(
        None,
        gt=0,
        description="Every run trains on this many times the 1x real tokens, whatever its arm: real_epochs follows "
        "from it, the synthetic fraction and the real multiple.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="One-sided level of `worse` and `better`.")
    max_runs: int | None = Field(
        None, ge=1, description="Stop in good order at this many trials over all arms, reused ones included."
    )
    max_hours: float | None = Field(None, gt=0, description="Begin no further round after this time.")

    @field_validator("axes", "start")
    @classmethod
    def _keys(cls, value: dict[str, object]) -> dict[str, object]:
        for key in value:
            if key.split(".")[0] not in _SEARCHABLE or "." not in key:
                raise ValueError(f"{key!r} cannot be searched: name a field of {', '.join(_SEARCHABLE)}")
        return value
