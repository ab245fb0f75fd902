"""Deterministic replies and scripted faults, for tests and benchmarks."""

from megadocs.kinds.engine import EngineSpec, no_option

ENGINE = EngineSpec(
    "fake",
    "megadocs.generate.engines.fake:make_fake",
    works_by="rule",
    description="tests",
    options_help="the fault script",
    options=no_option,
    prompt_tokens="megadocs.generate.engines.fake_replies:count_prompt_tokens",
    new_tokens_per_second=20_000.0,
)
