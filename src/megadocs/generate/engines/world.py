"""The engine `world`: rephrases and thoughts rendered from the facts that a prompt's document tells. No model.

    generate:
      engine: {kind: world, options: {facts: 6}}

Options: `facts`: how many of a document's facts a rephrase states (default all); `syllables`: that of the world, needed
for thoughts about derived facts (default 64); `wrong_thoughts`: true writes the thoughts of another, invented document
in the same words (a control). The text depends on the document and the request's seed alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import EngineError, InputError, RecipeError
from megadocs.generate.chat_safety import FENCE
from megadocs.generate.engines.protocol import Completion, EngineFailure, EngineInfo, Reply
from megadocs.recipe import EngineConfig
from megadocs.world import RENDERING_VERSION, Draws, WorldFacts, other_facts, read_facts, rephrase, thought

_FENCED = re.compile(rf"{FENCE}\n(.*?)\n{FENCE}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """The options of the engine; see the module's docstring."""

    facts: int | None
    syllables: int
    wrong_thoughts: bool


def checked_options(config: EngineConfig) -> Mapping[str, Any]:
    """All of `generate.engine.options`, checked."""
    world_options(config)
    return config.options


def world_identity(config: EngineConfig) -> dict[str, Any]:
    """The version of what is rendered."""
    return {"model": "world", "revision": str(RENDERING_VERSION)}


def world_options(config: EngineConfig) -> WorldOptions:
    """`generate.engine.options`, checked.

    Raises:
        RecipeError: an unknown name or a value that cannot be.
    """
    values = dict(config.options)
    options = WorldOptions(
        facts=values.pop("facts", None),  # type: ignore[arg-type]
        syllables=values.pop("syllables", 64),  # type: ignore[arg-type]
        wrong_thoughts=values.pop("wrong_thoughts", False),  # type: ignore[arg-type]
    )
    for name in values:
        raise RecipeError(
            f"the engine `world` has no option {name!r}",
            where=f"generate.engine.options.{name}",
            remedy="choose from facts, syllables, wrong_thoughts",
        )
    for name in ("facts", "syllables"):
        value = getattr(options, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise RecipeError(
                f"{name} is {value!r}",
                where=f"generate.engine.options.{name}",
                remedy="use a whole number of at least 1",
            )
    return options


class WorldEngine:
    """Renders; each reply is finished at once."""

    def __init__(self, config: EngineConfig, log_dir: Path | None = None) -> None:
        self._config = config
        self._options = world_options(config)

    async def start(self) -> None:
        """Nothing to start."""

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """A rephrase, or a thought where the prompt shows a text in two parts.

        Raises:
            EngineError: the prompt shows no document of a world, or one that the options do not fit.
        """
        prompt = completion.messages[-1]["content"]
        parts = _FENCED.findall(prompt)
        try:
            text = self._render(read_facts(" ".join(parts)), len(parts) > 1, completion.seed)
        except InputError as error:
            raise EngineError(error.what, where=error.where, remedy=error.remedy) from error
        words = text.split()
        cut = len(words) > completion.max_new_tokens
        return Reply(
            text=" ".join(words[: completion.max_new_tokens]),
            finish_reason="length" if cut else "stop",
            prompt_tokens=len(prompt.split()),
            new_tokens=min(len(words), completion.max_new_tokens),
        )

    def _render(self, found: WorldFacts, is_thought: bool, seed: int) -> str:
        options, draws = self._options, Draws(seed)
        if not is_thought:
            if options.facts is not None and options.facts > len(found.facts.values):
                raise InputError(
                    f"{options.facts} facts asked for, a document tells {len(found.facts.values)}",
                    where="generate.engine.options.facts",
                    remedy="lower it",
                )
            return rephrase(found.facts, draws, options.facts)
        found.check_derived(options.syllables)
        facts = other_facts(found.facts, options.syllables, draws) if options.wrong_thoughts else found.facts
        assert found.hops is not None
        return thought(facts, found.hops, options.syllables, draws)

    async def is_healthy(self) -> bool:
        """Always."""
        return True

    def info(self) -> EngineInfo:
        """Which rendering."""
        from megadocs.generate.engines import engine_info

        return engine_info(self._config)

    async def close(self) -> None:
        """Nothing to close."""
