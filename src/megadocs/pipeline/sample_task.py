"""The task `sample` as generation sees it: its section, and an engine known by the teachers' fingerprints.

    config, info = sample_config(step.config, step.settings), sample_engine(step.config, fingerprints, context)
    for request in iter_requests(config, "sample", [], info): ...

The step that draws and the books of `megadocs generate status` make their requests here, so that both mean the same
records of the ledger. Nothing is loaded: a teacher is its fingerprint.

The sampler's arithmetic is in no identity, as no engine's version is: an identity covers what a text could be, and
CPU or GPU, another batch, another type of the cache change which of the teacher's texts a seed gives, not how likely
each is (tests/model/test_sampling.py compares frequencies with the model's probabilities, and cached bfloat16 decoding
with full passes). So a ledger that an earlier sampler began is kept and continued. A change of the distribution itself
(another truncation, say) belongs into `sample_engine`'s identity and into `STEP_VERSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.generate import EngineInfo
from megadocs.pipeline.steps.distillation import teacher_revision
from megadocs.recipe import EngineConfig, GenerateConfig, LimitsConfig

#: A batch of long samples from a large model takes minutes on a CPU.
_TIMEOUT_SECONDS = 86_400.0


def sample_config(config: Mapping[str, Any], settings: Mapping[str, Any]) -> GenerateConfig:
    """The configuration of a sample step as a section `generate`, for planning, gates and retries."""
    section = {name: config[name] for name in ("temperature", "max_new_tokens")}
    return GenerateConfig(
        engine=EngineConfig(kind="own", concurrency=settings["batch_size"]),
        sample={"teacher": {"arm": config["teacher"]}, "num_samples": config["num_generations"], **section},
        gates={**config["gates"], "sibling": "accept"},
        seed=config["seed"],
        max_attempts=config["max_attempts"],
        attempt_timeout_seconds=_TIMEOUT_SECONDS,
        limits=LimitsConfig(),
    )


def sample_engine(
    config: Mapping[str, Any], settings: Mapping[str, Any], fingerprints: Mapping[str, str], context_tokens: int
) -> EngineInfo:
    """What identifies the teachers: the hash of their and the tokenizer's fingerprints, and how they are mixed.

    Args:
        config: of the sample step.
        settings: of the sample step.
        fingerprints: role -> fingerprint of the step's inputs.
        context_tokens: the teachers' context.
    """
    identity = {"model": "own", "revision": teacher_revision(fingerprints), "mix": config["mix"]}
    return EngineInfo(identity=identity, context_tokens=context_tokens, concurrency=settings["batch_size"])
