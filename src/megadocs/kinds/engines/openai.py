"""Any server that speaks OpenAI's protocol, here or elsewhere."""

from megadocs.kinds.engine import EngineSpec

ENGINE = EngineSpec(
    "openai",
    "megadocs.generate.engines.openai:OpenAIEngine",
    works_by="address",
    description="any OpenAI-compatible server",
)
