"""What each arm was set to, in which of it the arms differ, and which arms train another student.

    columns, rows = settings_table(results["arms"])      # for the page
    settings_sentences(results)                          # for the answer: what differs is named with its values
    other_students(arms, "real_only")                    # arm -> "hidden size 64 against 16"

A multiplier compares two recipes, settings included, so the answer names every setting that differs and its values, and
says what is the same in all arms. It does not compare students: an arm whose student differs from the baseline's has no
multiplier and stands in no sentence that ranks arms. A setting that a record does not hold is unknown, not different.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.results_json import number_of
from megadocs.analysis.sentences import joined

#: The table's columns, in its order: key, title, place in the arm's row ("" is the row itself).
_MAIN = (
    ("planned_real_epochs", "real epochs", ""),
    ("batch_size", "batch size", "settings"),
    ("num_parameters", "student parameters", ""),
    ("learning_rate", "learning rate", "settings"),
    ("weight_decay", "weight decay", "settings"),
    ("synthetic_fraction", "synthetic fraction", "settings"),
)
#: Settings that make an arm what it is; its name and its stream say them.
_OF_THE_STREAM = (
    "ordering",
    "num_generations",
    "real_document",
    "attention_boundary",
    "separate_real_stream",
    "num_members",
)
_MAX_VALUES = 4  # values of one setting that a sentence lists; of more, the range
_MAX_NAMED = 3  # arms named beside a value; of more, their number


@dataclass(frozen=True, slots=True)
class Column:
    """A setting over the arms."""

    key: str  # its name in the recipe or in the arm's facts
    title: str
    #: arm -> its value; arms that do not have it, or whose records do not hold it, are left out.
    values: Mapping[str, Any]
    of_student: bool = False  # whether it is part of the student's shape

    @property
    def differs(self) -> bool:
        """Whether two arms are known to have different values."""
        return len({setting_text(value) for value in self.values.values()}) > 1


def settings_columns(arms: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The main settings of the arms that ran, and every other setting in which two of them differ.

    Args:
        arms: rows of the results' `arms`.
    """
    found = [row for row in arms if row["kind"] != "missing"]
    columns = [Column(key, title, _values(found, key, place)) for key, title, place in _MAIN]
    listed = {key for key, *_ in _MAIN} | set(_OF_THE_STREAM)
    for place in ("settings", "student"):
        keys = sorted({key for row in found for key in row.get(place) or {}} - listed)
        others = [Column(key, key.replace("_", " "), _values(found, key, place), place == "student") for key in keys]
        columns += [column for column in others if column.differs]
    return [column for column in columns if column.values]


def settings_table(arms: Sequence[Mapping[str, Any]]) -> tuple[list[Column], list[tuple[str, list[str]]]]:
    """The columns and, per arm that ran, its cells as text; a setting that it does not have is empty."""
    columns = settings_columns(arms)
    rows = [
        (row["arm"], [setting_text(c.values[row["arm"]]) if row["arm"] in c.values else "" for c in columns])
        for row in arms
        if row["kind"] != "missing"
    ]
    return columns, rows


def settings_sentences(results: Mapping[str, Any]) -> list[str]:
    """Which settings differ between arms, with their values, and which are the same; none where there is one arm."""
    arms = [row["arm"] for row in results["arms"] if row["kind"] != "missing"]
    columns = [column for column in settings_columns(results["arms"]) if len(column.values) > 1]
    if len(arms) < 2 or not any(column.key in ("learning_rate", "weight_decay") for column in columns):
        return []
    different = [column for column in columns if column.differs]
    if any(column.key == "num_parameters" for column in different):  # the shapes are named where the student is
        different = [column for column in different if not column.of_student]
    same = [f"{c.title} {setting_text(next(iter(c.values.values())))}" for c in columns if not c.differs]
    if not different:
        return [f"Every arm has the same settings: {joined(same)}."]
    named = joined([f"{column.title} ({_spread(column.values)})" for column in different])
    verb = "differs" if len(different) == 1 and not different[0].title.endswith("s") else "differ"
    rest = f"; the same in all: {joined(same)}" if same else ""
    return [f"{named[0].upper()}{named[1:]} {verb} between arms{rest}. They are compared as they were set."]


def other_students(arms: Sequence[Mapping[str, Any]], baseline: str) -> dict[str, str]:
    """Arms whose student is not the baseline's, each with what differs: "hidden size 64 against 16".

    Args:
        arms: rows of the results' `arms`.
        baseline: the arm whose student counts; without a run of it there is nothing to compare with.
    """
    base = next((row for row in arms if row["arm"] == baseline and row["kind"] != "missing"), None)
    if base is None:
        return {}
    found = {row["arm"]: _student_differences(row, base) for row in arms if row["kind"] != "missing"}
    return {arm: ", ".join(parts) for arm, parts in found.items() if parts}


def _student_differences(row: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    own, wanted = row.get("student") or {}, base.get("student") or {}
    parts = [
        f"{key.replace('_', ' ')} {setting_text(own[key])} against {setting_text(wanted[key])}"
        for key in own
        if key in wanted and own[key] != wanted[key]
    ]
    sizes = row.get("num_parameters"), base.get("num_parameters")
    if not parts and None not in sizes and number_of(sizes[0]) != number_of(sizes[1]):
        parts = [f"{setting_text(sizes[0])} against {setting_text(sizes[1])} parameters"]
    return parts


def other_student_sentences(results: Mapping[str, Any]) -> list[str]:
    """The arms that are left out of the comparison because they train another student."""
    found: Mapping[str, str] = results["other_students"]
    if not found:
        return []
    parts = [f"{arm} ({what})" for arm, what in list(found.items())[:_MAX_VALUES]]
    parts += [f"{len(found) - _MAX_VALUES} more arms"] if len(found) > _MAX_VALUES else []
    verb, has = ("is", "another student") if len(found) == 1 else ("are", "other students")
    return [
        f"{joined(parts)} {verb} not comparable: {has} than {results['baseline']}, so no multiplier and no rank here."
    ]


def setting_text(value: Any) -> str:
    """A setting as text: "0.03", "92,352", "none", "true", "linear_to_zero"."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:,.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:g}"


def _values(arms: Sequence[Mapping[str, Any]], key: str, place: str) -> dict[str, Any]:
    """Arm -> value. An arm of real text alone has no synthetic fraction, and a fact that is `None` is not known."""
    found = {row["arm"]: (row.get(place) or {}) if place else row for row in arms}
    synthetic = {row["arm"] for row in arms if row["kind"] == "synthetic"}
    return {
        arm: values[key]
        for arm, values in found.items()
        if key in values
        and (place or values[key] is not None)
        and (key != "synthetic_fraction" or arm in synthetic)
    }  # fmt: skip


def _spread(values: Mapping[str, Any]) -> str:
    """ "0.03 in real_only and real_2x; 0.01 in simple"; of many values the lowest and the highest."""
    arms_of: dict[str, list[str]] = {}
    for arm, value in values.items():
        arms_of.setdefault(setting_text(value), []).append(arm)
    if len(arms_of) > _MAX_VALUES:
        try:
            numbers = sorted(values.values(), key=float)
        except (TypeError, ValueError):
            return f"{len(arms_of)} values"
        return f"{setting_text(numbers[0])} to {setting_text(numbers[-1])}"
    return "; ".join(f"{text} in {_few(arms)}" for text, arms in arms_of.items())


def _few(arms: Sequence[str]) -> str:
    return joined(arms) if len(arms) <= _MAX_NAMED else f"{len(arms)} arms"
