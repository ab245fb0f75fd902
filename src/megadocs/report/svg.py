"""A small SVG writer: axes, lines, points and labels, styled by the page's CSS classes.

Figures carry classes instead of colours, so that one drawing serves light, dark and print; they hold no script, no
style and no reference to anything outside. Coordinates are rounded to a tenth of a pixel: the same numbers give the
same bytes. Every figure has a title and a description for screen readers; points have titles that show on hover.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values in [low, high] to pixels in [start, end]; logarithmic where asked."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)


@dataclass(slots=True)
class Drawing:
    """An SVG under construction.

    Args:
        title: short name of the figure.
        description: what it shows, in a sentence or two, for readers who do not see it.
        name: unique on the page; ids derive from it.
    """

    width: int
    height: int
    title: str
    description: str
    name: str
    parts: list[Markup] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """A straight line."""
        self._add('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>', css, *map(_px, (x1, y1, x2, y2)))

    def path(self, points: Sequence[tuple[float, float]], css: str, title: str | None = None) -> None:
        """A polyline through finite points; a gap where a value is not finite."""
        commands, pen_down = [], False
        for x, y in points:
            if not (math.isfinite(x) and math.isfinite(y)):
                pen_down = False
                continue
            commands.append(f"{'L' if pen_down else 'M'}{_px(x)} {_px(y)}")
            pen_down = True
        if commands:
            self._titled('<path class="{}" d="{}">', "</path>", title, css, "".join(commands))

    def circle(
        self, x: float, y: float, radius: float, css: str, title: str | None = None, href: str | None = None
    ) -> None:
        """A point, with an optional hover title and an optional link to a place on the page."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return
        if href is not None:
            self._add('<a href="{}">', href)
        self._titled('<circle class="{}" cx="{}" cy="{}" r="{}">', "</circle>", title, css, *map(_px, (x, y, radius)))
        if href is not None:
            self._add("</a>")

    def bar(self, x1: float, x2: float, y: float, height: float, css: str, title: str | None = None) -> None:
        """A horizontal bar centred on y, for an interval."""
        left, width = min(x1, x2), max(abs(x2 - x1), 1.0)
        values = map(_px, (left, y - height / 2, width, height))
        self._titled('<rect class="{}" x="{}" y="{}" width="{}" height="{}">', "</rect>", title, css, *values)

    def text(self, x: float, y: float, words: str, css: str = "label", anchor: str = "start") -> None:
        """A line of text with its baseline at y."""
        self._add('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>', css, _px(x), _px(y), anchor, words)

    def render(self, css: str = "") -> Markup:
        """The finished `<svg>` element."""
        head = Markup(
            '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-title {}-description" '
            'xmlns="http://www.w3.org/2000/svg"><title id="{}-title">{}</title><desc id="{}-description">{}</desc>'
        ).format(css, self.width, self.height, self.name, self.name, self.name, self.title, self.name, self.description)
        return head + Markup("").join(self.parts) + Markup("</svg>")

    def _add(self, template: str, *values: str) -> None:
        self.parts.append(Markup(template).format(*values))

    def _titled(self, opening: str, closing: str, title: str | None, *values: str) -> None:
        inner = Markup("<title>{}</title>").format(title) if title else Markup("")
        self.parts.append(Markup(opening).format(*values) + inner + Markup(closing))


def nice_ticks(low: float, high: float, num: int = 5) -> list[float]:
    """About `num` round numbers inside [low, high]."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    raw = span / num
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def spread_labels(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in the same order, at least `gap` apart and inside [low, high] where they fit."""
    order = sorted(range(len(wanted)), key=lambda index: (wanted[index], index))
    placed = [0.0] * len(wanted)
    previous = -math.inf
    for index in order:
        previous = placed[index] = max(wanted[index], previous + gap, low)
    limit = high
    for index in reversed(order):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def tick_text(value: float) -> str:
    """A tick's number without needless zeros, with a real minus sign."""
    return str(escape(f"{value:g}")).replace("-", "−")


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
