"""What Ray costs: a request to the fake engine, and a step that does next to nothing, beside this machine's executor.

    python benchmarks/bench_ray.py            # about a minute; writes benchmarks/results/ray.json

The engine is the in-process fake one with two servers of 16 requests in flight and no latency, so that nothing but the
way to it is measured; steps are the corpus of one tiny document, on workers that are warm. A local Ray of two CPUs.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import ray

from megadocs.documents import Document
from megadocs.generate import run_generation
from megadocs.generate.engines import build_engine
from megadocs.pipeline.cluster.ray_cluster import build_cluster_engine
from megadocs.pipeline.execute.executor import Executor, build_executor
from megadocs.pipeline.execute.scheduler import run_steps
from megadocs.pipeline.steps.sources import sources_step
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import GenerateConfig, Recipe
from megadocs.store.artifact import Workspace

NUM_REQUESTS = 4000
NUM_STEPS = 20
RESULT = Path(__file__).parent / "results" / "ray.json"


def time_requests(root: Path, *, on_ray: bool) -> float:
    """Seconds per request, start and end of the engine left out."""
    section = {
        "kind": "fake",
        "model": "fake-1",
        "num_servers": 2,
        "concurrency": 16,
        "options": {"transport": "memory"},
    }
    config = GenerateConfig.model_validate(
        {"engine": section, "rephrase": {"num_generations": 2, "max_new_tokens": 60}}
    )
    documents = [Document(f"doc-{number}", f"Text {number}. " * 40) for number in range(NUM_REQUESTS // 2)]
    engine = build_cluster_engine(config.engine, "local") if on_ray else build_engine(config.engine)
    start, close = engine.start, engine.close
    marks: list[float] = []

    async def marked_start() -> None:
        await start()
        marks.append(time.perf_counter())

    async def marked_close() -> None:
        marks.append(time.perf_counter())
        await close()

    engine.start, engine.close = marked_start, marked_close  # type: ignore[method-assign]
    books = run_generation(
        config, "rephrase", documents, root / "ledger", lambda progress: None, lambda: False, engine=engine
    )
    assert books.ok == NUM_REQUESTS
    return (marks[1] - marks[0]) / NUM_REQUESTS


def time_steps(executor: Executor, root: Path, recipe: Recipe) -> tuple[float, float]:
    """Seconds of the first step (workers start) and the median of those after it, one at a time."""
    base = sources_step(recipe, Workspace(root))
    seconds = []
    for number in range(NUM_STEPS):
        step = Step("corpus", f"corpus {number}", base.config, {"number": number}, settings=base.settings)
        began = time.perf_counter()
        (state,) = run_steps([step], Workspace(root), executor).states
        assert state.status == "done", state.error
        seconds.append(time.perf_counter() - began)
    executor.close()
    return seconds[0], statistics.median(seconds[1:])


def main() -> None:
    """Measure both ways and write the figures."""
    figures: dict[str, Any] = {"machine": platform.machine(), "cores": os.cpu_count(), "ray_version": ray.__version__}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        texts = root / "texts"
        texts.mkdir()
        for number in range(30):
            (texts / f"{number}.txt").write_text(f"Number {number}. The river carries the stone of the village.\n" * 5)
        recipe = Recipe.model_validate({"name": "steps", "corpus": {"source": str(texts), "split": "auto"}})
        for name in ("local", "ray"):
            first, later = time_steps(build_executor(name, root / name, num_slots=2), root / name, recipe)
            per_request = time_requests(root / name, on_ray=name == "ray")
            figures[name] = {
                "first_step_seconds": round(first, 3),
                "step_seconds": round(later, 4),
                "request_milliseconds": round(per_request * 1e3, 3),
                "requests_per_second": round(1 / per_request),
            }
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
