"""Numbers and foreign text as they appear on the page.

Text from documents and engines is never trusted: control, bidirectional and invisible characters are shown as visible
escapes, so that what a reader sees is what is there. Missing values say "missing"; NaN says "NaN".
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from megadocs.analysis import number_of

_KEPT_CONTROLS = "\n\t"
_BETWEEN_BACKTICKS = re.compile("`([^`\n]+)`")
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


def number(value: Any, digits: int = 3) -> str:
    """A number with fixed digits and a real minus sign; "missing" for `None`, "NaN" for NaN."""
    if value is None:
        return "missing"
    real = number_of(value)
    if math.isnan(real):
        return "NaN"
    if math.isinf(real):
        return "∞" if real > 0 else "−∞"
    return f"{real:,.{digits}f}".replace("-", "−")


def significant(value: Any, digits: int = 4) -> str:
    """A number with fixed significant digits, for quantities of unknown size."""
    real = number_of(value)
    if not math.isfinite(real) or real == 0:
        return number(value, 0)
    return number(real, max(0, digits - 1 - math.floor(math.log10(abs(real)))))


def signed(value: Any, digits: int = 3) -> str:
    """A number with its sign always shown."""
    text = number(value, digits)
    return text if text[0] in "−Nm" else f"+{text}"


def count(value: Any) -> str:
    """A whole number with separators; fractions of averages are rounded."""
    return number(value, 0)


def percent(value: Any, digits: int = 1) -> str:
    """A share as "12.3 %"; "missing" for `None`."""
    return "missing" if value is None else f"{number(100 * number_of(value), digits)} %"


def flops(value: Any) -> str:
    """Training compute as "3.2e14"; "missing" for `None`."""
    return "missing" if value is None else f"{number_of(value):.1e}".replace("e+", "e")


def plain_value(value: Any) -> str:
    """A setting's value without needless digits: "0.003", "8", "missing"."""
    return "missing" if value is None else f"{number_of(value):g}"


def interval(values: Any, digits: int = 3, *, plus: bool = False) -> str:
    """ "[low, high]"."""
    form = signed if plus else number
    return f"[{form(values[0], digits)}, {form(values[1], digits)}]"


def open_interval(values: Any, digits: int | None = None) -> str:
    """An interval of a law's parameter, whose ends are 0 or infinite where the data do not bound it: "[low, high]",
    "at least low", "at most high", or "not identified"; four significant digits unless said otherwise."""
    low, high = (number_of(value) for value in values)
    text = [significant(end) if digits is None else number(end, digits) for end in (low, high)]
    if low <= 0 and math.isinf(high):
        return "not identified"
    if math.isinf(high):
        return f"at least {text[0]}"
    return f"at most {text[1]}" if low <= 0 else f"[{text[0]}, {text[1]}]"


def duration(seconds: Any) -> str:
    """Seconds as "48 s", "3 min 20 s" or "2 h 5 min"."""
    if seconds is None:
        return "missing"
    total = round(number_of(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def tokens_short(value: float) -> str:
    """Tokens on an axis: "13.2k", "1.3M", "3.7B"."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def p_value(value: Any) -> str:
    """A p-value: three decimals, or "< 0.001"."""
    if value is None:
        return "not tested"
    real = number_of(value)
    return "< 0.001" if real < 0.001 else f"{real:.3f}"


def visible(text: str) -> Markup:
    """Foreign text, escaped, with hidden characters spelled out."""
    parts: list[Markup] = []
    plain: list[str] = []
    for character in text:
        if character not in _KEPT_CONTROLS and unicodedata.category(character) in _HIDDEN_CATEGORIES:
            parts.append(escape("".join(plain)))
            plain.clear()
            parts.append(Markup('<span class="hidden-character">{}</span>').format(f"\\u{{{ord(character):x}}}"))
        else:
            plain.append(character)
    parts.append(escape("".join(plain)))
    return Markup("").join(parts)


def said(sentence: str) -> Markup:
    """A sentence of ours with what stands between backticks, a command or a setting, as code; else like `visible`."""
    return Markup(_BETWEEN_BACKTICKS.sub(r"<code>\1</code>", str(visible(sentence))))


def record_link(path: str | None) -> str | None:
    """A relative link to a record inside the workspace; `None` for anything that would lead elsewhere."""
    if not path or path.startswith("/") or "\\" in path or ":" in path or ".." in path.split("/"):
        return None
    return quote(path)
