"""Frames and axes that the figures share: margins, both sizes of a drawing, ticks with their texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from megadocs.report.names import short_names, text_width
from megadocs.report.svg import Drawing, Scale, nice_ticks, tick_text


@dataclass(frozen=True, slots=True)
class Frame:
    """Outer size and margins of a drawing in pixels."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    css: str

    def names(self, arms: Sequence[str]) -> dict[str, str]:
        """Labels of the arms: a narrow figure has room for fewer letters."""
        return short_names(arms, 24 if self.css == "wide" else 18)

    @property
    def x(self) -> tuple[float, float]:
        """Left and right edge of the plot."""
        return self.left, self.width - self.right

    @property
    def y(self) -> tuple[float, float]:
        """Bottom and top edge of the plot (pixels grow downwards)."""
        return self.height - self.bottom, self.top


def label_width(labels: Iterable[str], extra: int) -> int:
    """Pixels to keep free for labels beside a plot."""
    return math.ceil(max(map(text_width, labels), default=60.0)) + extra


def both_sizes(draw: Callable[[Frame], Markup], wide: Frame, narrow: Frame) -> Markup:
    """The drawing at both sizes."""
    return draw(wide) + draw(narrow)


def y_axis(drawing: Drawing, frame: Frame, y: Scale, label: str) -> None:
    """Horizontal grid lines with their values, the label above them; zero is marked."""
    for tick in nice_ticks(y.low, y.high):
        drawing.line(frame.x[0], y(tick), frame.x[1], y(tick), "zero" if tick == 0 else "grid")
        drawing.text(frame.x[0] - 8, y(tick) + 4, tick_text(tick), "tick", "end")
    drawing.text(0, 12, label, "axis")


def x_axis(drawing: Drawing, frame: Frame, ticks: Iterable[tuple[float, str | None]], label: str) -> None:
    """Marks below the plot at pixels, with a text or None where there is no room for one, and the label."""
    for at, words in ticks:
        drawing.line(at, frame.y[0], at, frame.y[0] + 4, "tick-mark")
        if words is not None:
            drawing.text(at, frame.y[0] + 18, words, "tick", "middle")
    _axis_label(drawing, frame, frame.height - 8, label)


def value_axis(drawing: Drawing, frame: Frame, x: Scale, label: str, num_ticks: int = 4) -> None:
    """Vertical grid lines with their values, for bars that lie; zero is marked."""
    for tick in nice_ticks(x.low, x.high, num_ticks):
        drawing.line(x(tick), frame.top, x(tick), frame.y[0], "zero" if tick == 0 else "grid")
        drawing.text(x(tick), frame.y[0] + 17, tick_text(tick), "tick", "middle")
    _axis_label(drawing, frame, frame.y[0] + 34, label)


def _axis_label(drawing: Drawing, frame: Frame, at: float, label: str) -> None:
    """In the middle of the plot, or as far left of it as the drawing's edge asks for."""
    middle = min(sum(frame.x) / 2, frame.width - text_width(label) / 2)
    drawing.text(middle, at, label, "axis", "middle")
