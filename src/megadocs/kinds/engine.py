"""What is declared of an engine: its name, what makes it, what it may do, and what it costs.

    ENGINE = EngineSpec("openai", "megadocs.generate.engines.openai:OpenAIEngine", works_by="address")

One file of `engines/` declares one; nothing else names it. Functions stand as `module:attribute`, so that a recipe is
read, and its price told, without loading any engine. A user's own engine is `module:attribute` of such a spec, or of
what makes the engine of its section of the recipe.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from megadocs.errors import RecipeError
from megadocs.kinds.own_code import is_loaded, is_own, own_code

_FOLDER = "megadocs.kinds.engines"

#: A function, or where it is: `module:attribute`.
Hook = str | Callable[..., Any]


def every_option(config: Any) -> Mapping[str, Any]:
    """All of `engine.options` decide what is sampled."""
    return config.options  # type: ignore[no-any-return]


def no_option(config: Any) -> Mapping[str, Any]:
    """None of them does: they say how a server runs."""
    return {}


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine.

    Attributes:
        name: its `generate.engine.kind`.
        make: (engine section, folder for logs or None) -> `generate.engines.Engine`; None: no recipe may name it.
        works_by: what somebody consents to. `model_file`: reads a model on this machine; `program`: starts a program
            that the recipe names; `address`: sends documents to a server; `rule`: answers by rule, with no model;
            `code`: a user's own.
        options_help: names of its options, for the same place.
        options: engine section -> those of `engine.options` that decide what is sampled, all of them checked; they
            enter the identity of every generation.
        identity: engine section -> model and revision or hash; None: the names in the recipe.
        info: engine section -> `EngineInfo`, without starting anything; None: what the section says.
        prompt_tokens: prompt -> tokens, for prices; None: by the tokenizer, or by the text's scripts.
        concurrency: requests in flight per server where the recipe names no number.
        new_tokens_per_second: of one server of it before any run was measured; reading not counted.
        reading_speed: tokens of a prompt that it reads in the time in which it writes one.
    """

    name: str
    make: Hook | None
    works_by: Literal["model_file", "program", "address", "rule", "code"]
    description: str = ""
    options_help: str = ""
    options: Hook = every_option
    identity: Hook | None = None
    info: Hook | None = None
    prompt_tokens: Hook | None = None
    concurrency: int = 4
    #: A server on a GPU writes so much, and reads much faster than it writes (a guess, and the plan says so).
    new_tokens_per_second: float = 1000.0
    reading_speed: float = 15.0


def engine_spec(kind: str) -> EngineSpec:
    """The engine of that name; of a user's own what is known: nothing before its code was allowed and loaded.

    Raises:
        RecipeError: there is none.
    """
    if is_own(kind):
        value = own_code(kind).value if is_loaded(kind) else None
        return value if isinstance(value, EngineSpec) else EngineSpec(kind, None, "code")
    if kind not in _known():
        names = ", ".join(engine_names())
        remedy = f"use one of {names}, or module:attribute"
        raise RecipeError(f"no engine {kind!r}", where="generate.engine.kind", remedy=remedy)
    return _known()[kind]


def engine_names() -> tuple[str, ...]:
    """Names of the built-in engines."""
    return tuple(_known())


def engine_specs() -> tuple[EngineSpec, ...]:
    """The built-in engines."""
    return tuple(_known().values())


def resolve(hook: Hook) -> Callable[..., Any]:
    """The function behind a hook."""
    if not isinstance(hook, str):
        return hook
    module, _, attribute = hook.partition(":")
    return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


@cache
def _known() -> dict[str, EngineSpec]:
    package = importlib.import_module(_FOLDER)
    modules = [importlib.import_module(f"{_FOLDER}.{entry.name}") for entry in pkgutil.iter_modules(package.__path__)]
    return {module.ENGINE.name: module.ENGINE for module in modules}
