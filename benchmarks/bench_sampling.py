"""Sampling speed against transformers' `generate`: `bench_sampling.py [OUT.json] [--sizes tiny 20m] [--rounds 2]`.

256 new tokens from prompts of 16, batch 1, 16, 64, bfloat16, one thread, interleaved. CPU seconds are reported beside
wall seconds. `--parts` times instead what a step is made of, in CPU microseconds a layer: one query's attention over
144 positions and one row's products, each in the ways that torch offers, beside a sum over the same memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

from megadocs.model.fused_linear import fused_linear

NEW_TOKENS, PROMPT, PARTS_POSITIONS = 256, 16, 144
VOCABULARIES = {"tiny": 2048, "20m": 8192}


def timed(function: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(preset: str, batch: int, rounds: int) -> dict[str, float]:
    from transformers import LlamaForCausalLM

    from megadocs.model import build_model, export_hf
    from megadocs.model.sampling import sample
    from megadocs.recipe.training import ModelConfig

    vocab = VOCABULARIES[preset]
    model = build_model(ModelConfig(preset=preset), vocab, 512, seed=0)
    model.compute_dtype = torch.bfloat16
    with tempfile.TemporaryDirectory() as folder:
        export_hf(model, Path(folder) / "m")
        reference = LlamaForCausalLM.from_pretrained(Path(folder) / "m", dtype=torch.bfloat16).eval()
    prompts = torch.randint(0, vocab, (batch, PROMPT))

    def ours() -> None:
        sample(model, prompts.tolist(), max_new_tokens=NEW_TOKENS, seeds=range(batch))

    def theirs() -> None:
        with torch.inference_mode():
            reference.generate(
                prompts, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=True, top_k=0, pad_token_id=0,
                attention_mask=torch.ones_like(prompts),
            )  # fmt: skip

    ours(), theirs()  # warm
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        times["ours"].append(timed(ours))
        times["theirs"].append(timed(theirs))
    tokens = batch * NEW_TOKENS
    report = {}
    for name, values in times.items():
        report[f"{name}_tokens_per_second"] = tokens / statistics.median(wall for wall, _ in values)
        report[f"{name}_tokens_per_cpu_second"] = tokens / statistics.median(cpu for _, cpu in values)
    report["speedup_cpu"] = report["ours_tokens_per_cpu_second"] / report["theirs_tokens_per_cpu_second"]
    return report


def microseconds(functions: list[Callable[[], object]]) -> float:
    """CPU time of one of these functions, which run one after another so that none finds its data in a cache."""
    rounds = []
    for _ in range(7):
        start = time.process_time()
        for function in functions * 3:
            function()
        rounds.append((time.process_time() - start) / 3 / len(functions) * 1e6)
    return statistics.median(rounds)


def plain_attention(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.softmax(query @ keys.transpose(2, 3), dim=-1) @ values


def attention_parts(preset: str, batch: int) -> dict[str, float]:
    """Scores and weighted values of one new position, all ways; both caches together."""
    from megadocs.model import build_model
    from megadocs.model.decoder import Batch
    from megadocs.model.paged_cache import PAGE_POSITIONS, PagedCache
    from megadocs.recipe.training import ModelConfig

    config = build_model(ModelConfig(preset=preset), 256, 512, seed=0).config
    layers, heads, width, length = config.num_hidden_layers, config.num_attention_heads, config.head_dim, 272
    report = {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        pages = -(-PARTS_POSITIONS // PAGE_POSITIONS)
        cache = PagedCache(config, num_pages=batch * pages + 1, dtype=dtype, device=torch.device("cpu"))
        index = cache.index([[*range(1 + line * pages, 1 + (line + 1) * pages)] for line in range(batch)])
        bias = Batch(index, [PARTS_POSITIONS] * batch, dtype, cache.device).bias_BS
        rows = torch.randn(batch, heads, width)
        report[f"streamed {name}"] = microseconds([partial(cache.attend, i, rows, index, bias) for i in range(layers)])
        keys, values = torch.randn(2, layers, batch, heads, length, width).to(dtype)[..., :PARTS_POSITIONS, :].unbind()
        query = torch.randn(batch, heads, 1, width).to(dtype)
        pairs = list(zip(keys, values, strict=True))
        report[f"products {name}"] = microseconds([partial(plain_attention, query, k, v) for k, v in pairs])
        report[f"scaled_dot_product_attention {name}"] = microseconds(
            [partial(F.scaled_dot_product_attention, query, k, v) for k, v in pairs]
        )
        flat = torch.ones(layers, 2 * batch * heads * PARTS_POSITIONS * width // (4 // dtype.itemsize))
        report[f"sum of as many bytes as {name}"] = microseconds([one.sum for one in flat])
    return report


def product_parts() -> dict[str, float]:
    """One row times each weight of the 20M model, in turn."""
    shapes = [(384, 1152), (384, 384), (384, 2048), (1024, 384)] * 8 + [(384, 8192)]
    weights = [torch.randn(size, hidden).bfloat16() for hidden, size in shapes]
    rows = [torch.randn(1, hidden).bfloat16() for hidden, _ in shapes]
    pairs = list(zip(rows, weights, strict=True))
    packed = [(row, torch.ops.mkldnn._reorder_linear_weight(weight, 1)) for row, weight in pairs]
    pointwise = torch.ops.mkldnn._linear_pointwise
    times = {
        "streamed": microseconds([partial(fused_linear(weight, num_rows=1), row) for row, weight in pairs]),
        "packed": microseconds([partial(pointwise, row, weight, None, "none", [], "") for row, weight in packed]),
        "linear": microseconds([partial(F.linear, row, weight) for row, weight in pairs]),
        "sum of as many bytes": microseconds([torch.ones(weight.numel() // 2).sum for weight in weights]),
    }
    return {name: value * len(shapes) for name, value in times.items()}


@torch.inference_mode()
def print_parts(sizes: list[str], batches: list[int]) -> None:
    for preset in sizes:
        for batch in batches:
            print(preset, batch, {name: round(value) for name, value in attention_parts(preset, batch).items()})
    print("all weights, one row", {name: round(value) for name, value in product_parts().items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--sizes", nargs="*", default=["tiny", "20m"])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--parts", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.parts:
        print_parts(arguments.sizes, arguments.batches)
        return
    report = {}
    for preset in arguments.sizes:
        for batch in arguments.batches:
            report[f"{preset} x {batch}"] = measure(preset, batch, arguments.rounds)
            print(
                preset,
                batch,
                {key: round(value, 1) for key, value in report[f"{preset} x {batch}"].items()},
                flush=True,
            )
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
