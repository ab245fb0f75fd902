"""Our own decoder in child processes: any model of the Llama family on this machine."""

from megadocs.kinds.engine import EngineSpec

_MODULE = "megadocs.generate.engines.embedded"

ENGINE = EngineSpec(
    "embedded",
    f"{_MODULE}:EmbeddedEngine",
    works_by="model_file",
    description="our decoder in child processes (Llama family)",
    options_help="top_k, min_p, precision (auto, float32, float16, bfloat16), cache_megabytes",
    options=f"{_MODULE}:checked_options",
    identity="megadocs.generate.engines.model_files:model_identity",
    info=f"{_MODULE}:embedded_info",
    concurrency=32,  # costs hardly more time a step than 4
    # One thread, SmolLM2-135M, 32 replies at once, an EPYC with AVX2 only: 205; more with AVX-512 bfloat16 or AMX.
    new_tokens_per_second=200.0,
    # At 32 replies its products are bound by arithmetic: reading is quicker by larger ones and the head it leaves out.
    reading_speed=1.6,
)
