"""A figure of the report as a file of its own: `worth.svg`, for a README, a slide or a notebook.

    text = standalone_svg(efficiency_figure(results, results["sets"][0]), theme="dark")

The drawing is the report's; the rules of its style sheet that the drawing uses come with it, the links to its tables do
not. `theme` fixes the colours; `auto` follows the reader's setting where the viewer knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal
from xml.etree import ElementTree

Theme = Literal["auto", "light", "dark"]

_SVG = "http://www.w3.org/2000/svg"
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_MEDIA = re.compile(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)\s*\}")
_VARIABLE = re.compile(r"(--[\w-]+):\s*([^;]+)")
_MARGIN = 12


def standalone_svg(figure: str, theme: Theme = "auto") -> str:
    """The wide drawing of a figure as an SVG document with its own colours and background.

    Args:
        figure: as the functions of `figures.py` give it.
    """
    ElementTree.register_namespace("", _SVG)
    drawing = ElementTree.fromstring(f"<div>{figure}</div>").find(f"{{{_SVG}}}svg")
    if drawing is None:
        raise ValueError("no drawing in the figure")
    _unwrap_links(drawing)
    _, _, width, height = (float(number) for number in drawing.attrib["viewBox"].split())
    wide, high = round(width) + 2 * _MARGIN, round(height) + 2 * _MARGIN
    drawing.attrib |= {"viewBox": f"{-_MARGIN} {-_MARGIN} {wide} {high}", "width": str(wide), "height": str(high)}
    ground = {"class": "ground", "x": str(-_MARGIN), "y": str(-_MARGIN), "width": str(wide), "height": str(high)}
    drawing.insert(0, ElementTree.Element(f"{{{_SVG}}}rect", ground))
    style = ElementTree.Element(f"{{{_SVG}}}style")
    style.text = _style(drawing, theme)
    drawing.insert(0, style)
    return ElementTree.tostring(drawing, encoding="unicode") + "\n"


def _unwrap_links(node: ElementTree.Element) -> None:
    """Put what links hold in their places: they lead to tables that are not here."""
    for index, child in enumerate(list(node)):
        _unwrap_links(child)
        if child.tag == f"{{{_SVG}}}a":
            node[index : index + 1] = list(child)[:1]


def _style(drawing: ElementTree.Element, theme: Theme) -> str:
    """The rules whose classes the drawing has, and the colours and fonts that these name."""
    used = {name for node in drawing.iter() for name in node.attrib.get("class", "").split()}
    light, dark, rules = _sheet()
    lines = [".ground {fill: var(--paper)}"]
    for selectors, body in rules:
        kept = [selector for selector in selectors if _is_used(selector, used)]
        if kept:
            lines.append(f"{', '.join(kept)} {{{body}}}")
    named = [name for name in light if f"var({name})" in "".join(lines)]
    root = [_root({name: (light | dark if theme == "dark" else light)[name] for name in named})]
    if theme == "auto":
        changed = {name: dark[name] for name in named if name in dark}
        root.append(f"@media (prefers-color-scheme: dark) {{ {_root(changed)} }}")
    return "\n".join([*root, *lines])


def _root(values: Mapping[str, str]) -> str:
    return f":root {{{'; '.join(f'{name}: {value}' for name, value in values.items())}}}"


def _is_used(selector: str, used: set[str]) -> bool:
    """Whether a rule can touch the drawing: all of its classes are there, and no element but those of a drawing."""
    classes = set(re.findall(r"\.([\w-]+)", selector))
    elements = set(re.findall(r"(?:^|\s)([a-z]+)", selector))
    return classes <= used and elements <= {"svg", "rect", "text"} and bool(classes | elements) and ":" not in selector


@cache
def _sheet() -> tuple[dict[str, str], dict[str, str], list[tuple[list[str], str]]]:
    """The report's style sheet: variables, those that are others in the dark, and the rules outside of `@media`."""
    text = resources.files("megadocs.report").joinpath("page.css").read_text(encoding="utf-8")
    blocks = _MEDIA.split(text)
    plain, media = _RULE.findall("".join(blocks[::2])), _RULE.findall("".join(blocks[1::2]))
    light, dark = (
        next(dict(_VARIABLE.findall(body)) for head, body in rules if head.strip() == ":root")
        for rules in (plain, media)
    )
    rules = [([part.strip() for part in head.split(",")], body.strip().rstrip(";")) for head, body in plain]
    return light, dark, [rule for rule in rules if rule[0] != [":root"]]
