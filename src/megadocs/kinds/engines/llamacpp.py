"""llama.cpp in child processes: any GGUF file on this machine."""

from megadocs.kinds.engine import EngineSpec

_MODULE = "megadocs.generate.engines.llamacpp"

ENGINE = EngineSpec(
    "llamacpp",
    f"{_MODULE}:LlamaCppEngine",
    works_by="model_file",
    description="llama.cpp in child processes (any GGUF)",
    options_help="top_k, min_p, repeat_penalty",
    options=f"{_MODULE}:checked_options",
    identity="megadocs.generate.engines.model_files:model_identity",
    new_tokens_per_second=105.0,  # one thread, SmolLM2-135M, four replies at once
    # 24 rephrases (2,496 tokens read, 2,883 written) took 38.7 s, 24 thoughts (4,546 and 2,012) 40.0 s.
    reading_speed=2.1,
)
