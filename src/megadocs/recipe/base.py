"""The base of every recipe section: typed, frozen, closed to unknown keys; and what no identity sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: Largest seed: what numpy and torch take without a sign bit.
MAX_SEED = 2**63 - 1

#: Digits behind the point of a share: arithmetic on `1e-999999999` would not end.
MAX_DECIMALS = 30

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OperationalMark:
    """Marks a field of a section that decides how work is done, not what comes of it: no fingerprint covers it.

    The measure is that of a number of threads: it may change the last digits of sums, not the data, their order or the
    arithmetic. So moving a run to another device, or logging more often, does not train it again.
    """

    #: fingerprints of 0.1 covered it. Work that was published with the field set is still found.
    was_counted: bool = False


#: `log_every_steps: Operational[int] = Field(10, ...)`
Operational = Annotated[T, OperationalMark()]
#: The same for fields that fingerprints of 0.1 covered.
NowOperational = Annotated[T, OperationalMark(was_counted=True)]


def _leaves(annotation: Any) -> Iterator[Any]:
    """The plain types that an annotation mentions."""
    parts = get_args(annotation)
    if not parts:
        yield annotation
    for part in parts:
        yield from _leaves(part)


class Section(BaseModel):
    """A part of a recipe. Unknown keys are errors, values never change after loading, every field has a description.

    Every number has an upper bound, far above any use of it: a recipe with one digit too many, or from someone who
    means harm, is refused when it is read, not after hours or gigabytes (a test goes over all fields).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, strict=False)

    @model_validator(mode="before")
    @classmethod
    def _true_is_no_number(cls, data: Any) -> Any:
        """`batch_size: yes` is true to YAML, and true would be 1."""
        for name, value in data.items() if isinstance(data, dict) else ():
            held = value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]
            if any(isinstance(one, bool) for one in held) and name in cls.model_fields:
                kinds = set(_leaves(cls.model_fields[name].annotation))
                if kinds & {int, float, Decimal} and not kinds & {bool, Any}:
                    raise ValueError(f"{name}: true and false (yes, no, on, off) are no numbers")
        return data

    @classmethod
    def operational_fields(cls) -> dict[str, OperationalMark]:
        """Names of the fields that are marked `Operational`, with their marks."""
        marks = {
            name: [mark for mark in field.metadata if isinstance(mark, OperationalMark)]
            for name, field in cls.model_fields.items()
        }
        return {name: found[0] for name, found in marks.items() if found}

    def identity(self, *, as_of_0_1: bool = False) -> dict[str, Any]:
        """What the section says of the result, as JSON values: fields set away from their defaults, operational ones
        left out.

        Args:
            as_of_0_1: with the fields that fingerprints of 0.1 covered.
        """
        left_out = {name for name, mark in self.operational_fields().items() if not (as_of_0_1 and mark.was_counted)}
        fields: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
        return fields
