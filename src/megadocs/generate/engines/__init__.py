"""Engines: the programs that write the text, behind one protocol (`protocol.Engine`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from megadocs.errors import RecipeError
from megadocs.generate.engines.protocol import Engine, EngineInfo
from megadocs.kinds import engine_spec, is_own, own_code
from megadocs.kinds.engine import resolve
from megadocs.recipe import EngineConfig
from megadocs.recipe.consent import engine_address

__all__ = ["Engine", "EngineInfo", "build_engine", "engine_code", "engine_identity", "engine_info", "sampling_options"]


def build_engine(config: EngineConfig, log_dir: Path | None = None) -> Engine:
    """The engine a recipe names, not yet started.

    Args:
        log_dir: where servers of its own write what they print; None: nothing of it is kept.

    Raises:
        RecipeError: an engine that this package does not provide, or an unknown option of it.
        EngineError, InputError: the model of an engine on this machine is not there.
    """
    sampling_options(config)
    spec = engine_spec(config.kind)
    if spec.make is not None:
        return cast(Engine, resolve(spec.make)(config, log_dir))
    if not is_own(config.kind):
        raise RecipeError(
            f"no engine {config.kind!r} that a recipe may name",
            where="generate.engine.kind",
            remedy="name another engine",
        )
    make = own_code(config.kind).value
    if not callable(make):
        raise RecipeError(
            f"{config.kind!r} is not callable",
            where="generate.engine.kind",
            remedy="name an EngineSpec, or what takes the engine's section (docs/kinds.md)",
        )
    return cast(Engine, make(config))


def engine_code(config: EngineConfig) -> dict[str, str]:
    """Name -> digest of the user's own code that the engine is; empty for built-in ones."""
    return {config.kind: own_code(config.kind).digest} if is_own(config.kind) else {}


def engine_info(config: EngineConfig) -> EngineInfo:
    """What is known of an engine without starting anything (for plans): at most the hash of its model file."""
    spec = engine_spec(config.kind)
    if spec.info is not None:
        return cast(EngineInfo, resolve(spec.info)(config))
    return EngineInfo(
        identity=engine_identity(config),
        context_tokens=config.context_tokens,
        concurrency=config.concurrency * config.num_servers,
        address=engine_address(config),
    )


def engine_identity(config: EngineConfig) -> dict[str, Any]:
    """Model and revision, or what else the engine is known by; enters identities and fingerprints."""
    spec, code = engine_spec(config.kind), engine_code(config)
    if spec.identity is not None:
        found = dict(resolve(spec.identity)(config))
    else:
        found = {"model": config.model, "revision": config.revision}
    return {**found, "code": code} if code else found


def sampling_options(config: EngineConfig) -> Mapping[str, Any]:
    """The part of `engine.options` that changes what is sampled, checked; it enters identities."""
    return cast(Mapping[str, Any], resolve(engine_spec(config.kind).options)(config))
