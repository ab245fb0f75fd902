"""Prompt styles: Markdown files with front matter, one style a file, named like the file; or a user's own, by its path.

    style = load_style("wikipedia")
    messages = style.render({"document": document.text}, language="same")

A file is front matter (`task`, `version`, `language`, `description`) and one or two parts, `# system` and `# user`.
Placeholders are a fixed set per task (`kinds.TaskKind`), written `{{document}}`; they are checked on loading and
replaced in one pass over the *template*, so nothing inside a document is ever read as a placeholder. Document text is
fenced and neutralised (`chat_safety`). A style's digest covers its whole prompt and enters every generation's identity.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal, TypedDict

from megadocs.errors import RecipeError
from megadocs.generate.chat_safety import fence
from megadocs.kinds import task_kind, task_names
from megadocs.recipe import canonical_json
from megadocs.recipe.plain_yaml import parse_yaml
from megadocs.recipe.style_paths import is_style_path

STYLES_DIRECTORY = Path(__file__).parent / "styles"

_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_]+)\}\}")
_NAME = re.compile(r"[a-z0-9_]{1,60}")
#: A prompt is read into every request; a longer file is some other file.
_MAX_STYLE_BYTES = 100_000
_FRONT_MATTER_KEYS = {"task", "version", "language", "description"}


class Message(TypedDict):
    """One chat message as OpenAI-compatible servers take it."""

    role: Literal["system", "user"]
    content: str


@dataclass(frozen=True, slots=True)
class Style:
    """One prompt style."""

    name: str  # file name without `.md`; of a user's own file `sha256-` and the beginning of its digest
    task: str  # name of the task kind that it is for
    version: int  # raised by hand when the wording changes
    language: str  # `same`, or the language the wording itself asks for
    description: str
    system: str | None
    user: str
    digest: str  # hex SHA-256 over task, version and wording

    def render(self, texts: Mapping[str, str], *, language: str = "same") -> list[Message]:
        """The messages for one request.

        Args:
            texts: placeholder -> text, as the task kind fills them.
            language: `same`, or the English name of the language to write in.
        """
        phrase = "the same language as the text" if language == "same" else language
        values = {name: fence(text) for name, text in texts.items()} | {"language": phrase}
        messages: list[Message] = []
        if self.system is not None:
            messages.append({"role": "system", "content": _filled(self.system, values)})
        messages.append({"role": "user", "content": _filled(self.user, values)})
        return messages


def load_style(name: str, *, task: str | None = None, language: str = "same") -> Style:
    """The style called `name`: one of the registry, or the path of a file of the user's own.

    Raises:
        RecipeError: no such style, a style of another task, a style bound to another language, or a broken file.
    """
    where = f"generate.{task or 'TASK'}.style"
    if is_style_path(name):
        style = _read_own_style(Path(name), where)
    elif not _NAME.fullmatch(name) or not (STYLES_DIRECTORY / f"{name}.md").is_file():
        known = ", ".join(sorted(list_styles(task)))
        remedy = f"known styles: {known}; or give the path of a file that ends in .md"
        raise RecipeError(f"no prompt style {name!r}", where=where, remedy=remedy)
    else:
        style = _read_style(STYLES_DIRECTORY / f"{name}.md")
    if task is not None and style.task != task:
        raise RecipeError(
            f"style {name!r} is for the task {style.task!r}, not {task!r}",
            where=where,
            remedy=f"known styles: {', '.join(sorted(list_styles(task)))}",
        )
    if "same" not in (style.language, language) and style.language.lower() != language.lower():
        raise RecipeError(
            f"style {name!r} writes {style.language}, the recipe asks for {language}",
            where="generate.language",
            remedy="choose a style with `language: same`",
        )
    return style


def _read_own_style(path: Path, where: str) -> Style:
    """A user's file, known by its content alone: moved or renamed it is the same style."""
    remedy = "give the path of a text file, relative to the recipe's own folder"
    try:
        if not path.is_file():
            raise FileNotFoundError("no such file")  # nor a device or a pipe, whose end may never come
        with path.open("rb") as file:
            data = file.read(_MAX_STYLE_BYTES + 1)
        text = "" if len(data) > _MAX_STYLE_BYTES else data.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        raise RecipeError(f"cannot read the prompt style {path}: {error}", where=where, remedy=remedy) from error
    if len(data) > _MAX_STYLE_BYTES:
        raise RecipeError(
            f"the prompt style {path} is over {_MAX_STYLE_BYTES:,} bytes", where=where, remedy="shorten it"
        )
    style = parse_style(path.stem, text)
    return replace(style, name=f"sha256-{style.digest[:12]}")


def list_styles(task: str | None = None) -> list[str]:
    """Names of the styles in the registry, of one task or all, sorted."""
    paths = sorted(STYLES_DIRECTORY.glob("*.md"))
    return [path.stem for path in paths if task is None or _read_style(path).task == task]


@cache
def _read_style(path: Path) -> Style:
    return parse_style(path.stem, path.read_text("utf-8"))


def parse_style(name: str, text: str) -> Style:
    """A style from the text of its file; `RecipeError` names what is wrong with it."""
    head, separator, body = text.removeprefix("---\n").partition("\n---\n")
    if not text.startswith("---\n") or not separator:
        raise RecipeError("a style begins with front matter between two lines `---`", where=f"{name}.md")
    front = parse_yaml(head, where=f"{name}.md")
    if not isinstance(front, dict) or set(front) != _FRONT_MATTER_KEYS:
        raise RecipeError(f"front matter has the keys {sorted(_FRONT_MATTER_KEYS)}", where=f"{name}.md")
    if front["task"] not in task_names():
        raise RecipeError(f"unknown task {front['task']!r}", where=f"{name}.md: task")
    if type(front["version"]) is not int:
        raise RecipeError(
            f"a style's version is a whole number, not {front['version']!r}",
            where=f"{name}.md: version",
            remedy="raise it by one whenever the wording changes",
        )
    if not isinstance(front["language"], str):
        raise RecipeError(
            f"{front['language']!r} is no language", where=f"{name}.md: language", remedy="`same`, or a name in quotes"
        )
    system, user = _parts(name, body)
    used = set(_PLACEHOLDER.findall((system or "") + user))
    required = task_kind(front["task"]).placeholders
    if not required <= used or not used <= required | {"language"}:
        expected = ", ".join(f"{{{{{item}}}}}" for item in sorted(required))
        raise RecipeError(f"placeholders are {sorted(used)}", where=f"{name}.md", remedy=f"use {expected}")
    if (front["language"] == "same") != ("language" in used):
        raise RecipeError("`language: same` goes with the placeholder {{language}}", where=f"{name}.md: language")
    content = {"task": front["task"], "version": front["version"], "system": system, "user": user}
    return Style(
        name=name,
        task=front["task"],
        version=front["version"],
        language=front["language"],
        description=str(front["description"]),
        system=system,
        user=user,
        digest=hashlib.sha256(canonical_json(content).encode("utf-8")).hexdigest(),
    )


def _parts(name: str, body: str) -> tuple[str | None, str]:
    """System part (or None) and user part of a style file's body."""
    pieces = re.split(r"^# (system|user)\n", body, flags=re.MULTILINE)
    parts = {title: text.strip() for title, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    if pieces[0].strip() or not parts.get("user") or len(parts) * 2 + 1 != len(pieces):
        raise RecipeError("a style has one part `# user` and at most one `# system`", where=f"{name}.md")
    return parts.get("system") or None, parts["user"]


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: values[found[1]], template)
