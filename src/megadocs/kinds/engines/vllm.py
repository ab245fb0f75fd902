"""vLLM, started from an environment of its own."""

from megadocs.kinds.engine import EngineSpec, no_option

ENGINE = EngineSpec(
    "vllm",
    "megadocs.generate.engines.vllm:VllmEngine",
    works_by="program",
    description="started from its own environment",
    options=no_option,  # options of the server
)
