"""Engines: the programs that write the text, behind one protocol (`protocol.Engine`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from megadocs.errors import RecipeError
from megadocs.generate.engines.protocol import Engine, EngineInfo
from megadocs.kinds import is_own, own_code
from megadocs.recipe import EngineConfig
from megadocs.recipe.consent import engine_address
from megadocs.world import RENDERING_VERSION

__all__ = ["Engine", "EngineInfo", "build_engine", "engine_code", "engine_identity", "engine_info", "sampling_options"]


def build_engine(config: EngineConfig, log_dir: Path | None = None) -> Engine:
    """The engine a recipe names, not yet started.

    Args:
        config: the recipe's engine section.
        log_dir: where servers of its own write what they print; None: nothing of it is kept.

    Raises:
        RecipeError: an engine that this package does not provide, or an unknown option of it.
        EngineError, InputError: the model of an engine on this machine is not there.
    """
    sampling_options(config)
    if is_own(config.kind):
        return _own_engine(config)
    if config.kind == "embedded":
        from megadocs.generate.engines.embedded import EmbeddedEngine

        return EmbeddedEngine(config, log_dir)
    if config.kind == "llamacpp":
        from megadocs.generate.engines.llamacpp import LlamaCppEngine

        return LlamaCppEngine(config, log_dir)
    if config.kind == "openai":
        from megadocs.generate.engines.openai import OpenAIEngine

        return OpenAIEngine(config)
    if config.kind == "vllm":
        from megadocs.generate.engines.vllm import VllmEngine

        return VllmEngine(config, log_dir)
    if config.kind == "world":
        from megadocs.generate.engines.world import WorldEngine

        return WorldEngine(config)
    if config.kind == "fake":
        from megadocs.generate.engines.fake import FakeEngine, InProcessFakeEngine

        return InProcessFakeEngine(config) if config.options.get("transport") == "memory" else FakeEngine(config)
    raise RecipeError(
        f"no engine {config.kind!r} here",
        where="generate.engine.kind",
        remedy="use embedded, llamacpp, vllm, openai, world or fake, or module:attribute",
    )


def _own_engine(config: EngineConfig) -> Engine:
    """A user's own: `module:attribute` names what makes an engine of its section of the recipe."""
    make = own_code(config.kind).value
    if not callable(make):
        raise RecipeError(
            f"{config.kind!r} is not callable",
            where="generate.engine.kind",
            remedy="name a class or function that takes the engine's section (docs/kinds.md)",
        )
    return cast(Engine, make(config))


def engine_code(config: EngineConfig) -> dict[str, str]:
    """Name -> digest of the user's own code that the engine is; empty for built-in ones."""
    return {config.kind: own_code(config.kind).digest} if is_own(config.kind) else {}


def engine_info(config: EngineConfig) -> EngineInfo:
    """What is known of an engine without starting anything (for plans): at most the hash of its model file."""
    if config.kind == "embedded":
        from megadocs.generate.engines.embedded import embedded_info

        return embedded_info(config)
    address = engine_address(config)
    return EngineInfo(
        identity=engine_identity(config),
        context_tokens=config.context_tokens,
        concurrency=config.concurrency * config.num_servers,
        address=address,
    )


def engine_identity(config: EngineConfig) -> dict[str, Any]:
    """Model and revision (embedded, llamacpp: name and SHA-256 of the file). Enters identities and fingerprints."""
    if config.kind in ("embedded", "llamacpp"):
        from megadocs.generate.engines.model_files import model_identity

        return model_identity(config)
    if config.kind == "world":
        return {"model": "world", "revision": str(RENDERING_VERSION)}
    if is_own(config.kind):
        return {"model": config.model, "revision": config.revision, "code": engine_code(config)}
    return {"model": config.model, "revision": config.revision}


def sampling_options(config: EngineConfig) -> Mapping[str, Any]:
    """The part of `engine.options` that changes what is sampled, checked; it enters identities."""
    if config.kind == "embedded":
        from megadocs.generate.engines import embedded

        return embedded.checked_options(config)
    if config.kind == "llamacpp":
        from megadocs.generate.engines import llamacpp

        return llamacpp.checked_options(config)
    if config.kind == "world":
        from megadocs.generate.engines.world import world_options

        world_options(config)
    if config.kind in ("fake", "vllm"):  # fault scripts; server options
        return {}
    return config.options
