"""The peer of `bench_generate.py`: datatrove's InferenceRunner sends the same bodies to the same server.

Runs in an environment that has datatrove and not megadocs (`pip install "datatrove[io]" aiohttp httpx aiofiles`: its
extra for inference brings vLLM); prints one line of JSON. `checkpoints` mode writes its
request cache and chunk files, which is what it needs to resume; `plain` keeps nothing until the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
from datatrove.pipeline.writers import JsonlWriter
from loguru import logger

WORDS = ["river", "stone", "cloud", "winter", "letter", "garden"]
WORDS += ["music", "silver", "morning", "harbour", "window", "candle"]


def make_documents(count: int) -> Iterator[Document]:
    for number in range(count):
        text = " ".join(WORDS[(number * 7 + place * place) % 12] for place in range(120))
        yield Document(id=f"document-{number:08d}", text=f"{text} {number}")


def main() -> None:
    address, records, concurrency, generations, mode, folder = sys.argv[1:]
    rollouts = int(generations)
    logger.remove()

    async def rollout(document: Document, generate: Any) -> list[str]:
        instruction = "Rewrite this passage as an encyclopedia article with the same facts.\n\n"
        messages = [
            {"role": "system", "content": "You rewrite passages. You always write in the same language as the text."},
            {"role": "user", "content": f'{instruction}"""\n{document.text}\n"""'},
        ]
        payloads = [
            {"messages": messages, "max_tokens": 400, "temperature": 1.0, "top_p": 1.0, "seed": number}
            for number in range(rollouts)
        ]
        return [result.text for result in await asyncio.gather(*(generate(payload) for payload in payloads))]

    is_checkpointed = mode == "checkpoints"
    name = "${rank}_chunk_${chunk_index}.jsonl" if is_checkpointed else "${rank}.jsonl"
    runner = InferenceRunner(
        rollout_fn=rollout,
        config=InferenceConfig(
            server_type="endpoint",
            endpoint_url=address,
            model_name_or_path="fake",
            max_concurrent_generations=int(concurrency),
        ),
        output_writer=JsonlWriter(str(Path(folder) / "out"), output_filename=name, compression=None),
        checkpoints_local_dir=str(Path(folder) / "checkpoints") if is_checkpointed else None,
    )
    began, cpu = time.monotonic(), time.process_time()
    runner.run(make_documents(int(records) // rollouts), rank=0, world_size=1)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    written = sum(len(path.read_text().splitlines()) for path in (Path(folder) / "out").glob("*"))
    assert written == int(records) // rollouts, f"{written} documents written"
    print(json.dumps({"records_per_second": int(records) / wall, "records_per_cpu_second": int(records) / cpu}))


if __name__ == "__main__":
    main()
