"""The student itself: what self-distillation samples from. The pipeline makes it; no recipe names it."""

from megadocs.kinds.engine import EngineSpec

ENGINE = EngineSpec("own", None, works_by="model_file")
