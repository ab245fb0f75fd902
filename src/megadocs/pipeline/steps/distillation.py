"""The step that samples text from models trained by the same recipe: self-distillation and ensemble distillation.

    train (teacher's seeds) --> sample --> rows self_distilled --> train (student) --> ...

The samples' identity covers the teachers' fingerprints: a teacher trained otherwise is another set of samples. Samples
nest like rephrases: drawing more keeps those that are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.errors import RecipeError
from megadocs.generate import EngineInfo
from megadocs.pipeline.steps.evaluation import member_roles
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import EngineConfig, GenerateConfig, LimitsConfig, Recipe, SampleConfig
from megadocs.recipe.fingerprint import fingerprint

#: Most tokens of a sample where the recipe does not say (facts, section 3).
DEFAULT_MAX_NEW_TOKENS = 1024


def sample_section(recipe: Recipe) -> SampleConfig:
    """`generate.sample`; `RecipeError` when the recipe has none."""
    if recipe.generate.sample is None:
        raise RecipeError(
            "self-distilled rows are samples from a model of this recipe, and it names no teacher",
            where="generate.sample",
            remedy="add generate.sample: {teacher: {arm: real_only, num_members: 1}, num_samples: 1000}",
        )
    return recipe.generate.sample


def sample_step(recipe: Recipe, num_samples: int, teachers: tuple[Step, ...], tokenizer: Step) -> Step:
    """Draw samples from the teachers.

    Args:
        recipe: with `generate.sample`; the teacher's context is its `train.context_length`.
        teachers: train steps of the teacher's members.
        tokenizer: the student's and the teachers'.

    Raises:
        RecipeError: the length limit does not fit the teacher's context.
    """
    section = sample_section(recipe)
    sampling: dict[str, Any] = {
        "temperature": section.temperature,
        "max_new_tokens": _max_new_tokens(section, int(teachers[0].config["train"]["context_length"])),
        "mix": section.teacher.mix if len(teachers) > 1 else None,
        "seed": recipe.generate.seed,
    }
    limits = {"gates": recipe.generate.gates, "max_attempts": recipe.generate.max_attempts}
    return Step.of(
        "sample",
        f"sample {section.teacher.arm} N={num_samples}",
        {"task": "sample", "num_generations": num_samples, **sampling, **limits},
        {**member_roles(teachers), "tokenizer": tokenizer},
        facts={"teacher": teacher_name(section)},
        settings={"batch_size": section.batch_size},
        slots=teachers[0].slots,
        exclusive="ledger sample",
    )


def teacher_name(section: SampleConfig) -> str:
    """The teacher in words, for records and messages."""
    return f"{section.teacher.arm} ({section.teacher.mix})"


def teacher_revision(inputs: Mapping[str, str]) -> str:
    """Hash of the teachers' and the tokenizer's fingerprints: enters every sample's identity."""
    return fingerprint(dict(sorted(inputs.items())))


def _max_new_tokens(section: SampleConfig, context_length: int) -> int:
    room = context_length - 1  # the start token takes a position
    if section.max_new_tokens is None:
        return min(DEFAULT_MAX_NEW_TOKENS, room)
    if section.max_new_tokens > room:
        raise RecipeError(
            f"a start token and {section.max_new_tokens} new ones do not fit the teacher's {context_length} positions",
            where="generate.sample.max_new_tokens",
            remedy=f"at most {room}, or a longer train.context_length",
        )
    return section.max_new_tokens


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
        fingerprints: role -> fingerprint of the step's inputs.
    """
    identity = {"model": "own", "revision": teacher_revision(fingerprints), "mix": config["mix"]}
    return EngineInfo(identity=identity, context_tokens=context_tokens, concurrency=settings["batch_size"])
