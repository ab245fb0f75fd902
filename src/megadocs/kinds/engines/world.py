"""Rephrases and thoughts rendered from the facts of a controlled world. No model."""

from megadocs.kinds.engine import EngineSpec

_MODULE = "megadocs.generate.engines.world"

ENGINE = EngineSpec(
    "world",
    f"{_MODULE}:WorldEngine",
    works_by="rule",
    description="renders the facts of a corpus world://, no model",
    options_help="facts, syllables, wrong_thoughts",
    options=f"{_MODULE}:checked_options",
    identity=f"{_MODULE}:world_identity",
    new_tokens_per_second=20_000.0,
)
