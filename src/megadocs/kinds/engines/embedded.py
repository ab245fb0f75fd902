"""Our own decoder in child processes: any model of the Llama family on this machine."""

from megadocs.kinds.engine import EngineSpec

_MODULE = "megadocs.generate.engines.embedded"

ENGINE = EngineSpec(
    "embedded",
    f"{_MODULE}:EmbeddedEngine",
    works_by="model_file",
    description="our decoder in child processes (Llama family)",
    options_help="top_k, min_p, frequency_penalty, precision (auto, float32, float16, bfloat16), cache_megabytes",
    options=f"{_MODULE}:checked_options",
    identity="megadocs.generate.engines.model_files:model_identity",
    info=f"{_MODULE}:embedded_info",
    concurrency=32,  # costs hardly more time a step than 4
    # One thread, SmolLM2-135M: 200, 230, 250 with 32, 48, 64 replies at once on a Xeon with AVX-512 but no AMX, 205 and
    # 217 with 32 and 64 on an EPYC with AVX2 only.
    new_tokens_per_second=220.0,
    # At 32 replies its products are bound by arithmetic: reading is quicker by larger ones and the head it leaves out.
    reading_speed=1.6,
)
