"""What a training step is made of, and each attention kernel, ms of processor time: `bench_step_parts.py [--kernels]`.

    bench_step_parts.py --sizes tiny 20m --contexts 256 1024 4096     # 4,096 tokens, bfloat16, one thread
    bench_step_parts.py --kernels                                     # forward and backward of one layer

The parts are run by themselves on tensors of the step's shapes, the least of seven; "rest" is what they leave.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from bench_step import TOKENS, our_step
from bench_train import SIZES
from torch import Tensor

from megadocs.model.attention import Kernel, candidates, causal_attention
from megadocs.model.loss import linear_cross_entropy
from megadocs.model.memory import freed_memory_kept
from megadocs.recipe.training import TrainConfig
from megadocs.train.optimiser import build_optimiser
from megadocs.train.throughput import matmul_shapes

SHAPES = ((16, 2, 256, 64), (4, 4, 256, 32), (4, 4, 1024, 32), (4, 8, 1024, 64), (2, 4, 2048, 32), (1, 2, 4096, 64))


def least_ms(run: Callable[[], object], rounds: int = 7) -> float:
    run()
    times = []
    for _ in range(rounds):
        before = time.process_time()
        run()
        times.append(time.process_time() - before)
    return 1e3 * min(times)


def attention_ms(batch: int, heads: int, length: int, width: int, dtype: torch.dtype, kernel: Kernel) -> float:
    shape = (batch, length, heads, width)
    q, k, v = (torch.randn(shape, dtype=dtype).transpose(1, 2).requires_grad_() for _ in range(3))
    grad = torch.randn(batch, heads, length, width, dtype=dtype)
    return least_ms(lambda: causal_attention(q, k, v, kernel).backward(grad))


def product_ms(inputs: int, outputs: int) -> float:
    """Of one weight: forward, and the gradients of input and weight."""
    x, grad, w = (torch.randn(shape).bfloat16() for shape in ((TOKENS, inputs), (TOKENS, outputs), (outputs, inputs)))
    return sum(least_ms(run) for run in (lambda: F.linear(x, w), lambda: grad @ w, lambda: grad.t() @ x))


def parts(preset: str, vocab: int, context: int) -> dict[str, float]:
    batch = TOKENS // context
    tokens = torch.randint(0, vocab, (batch, context))
    step, model = our_step(preset, vocab, tokens, "bfloat16")
    config = model.config
    found = {"step": least_ms(step)}
    shape = (batch, config.num_attention_heads, context, config.head_dim)
    found["attention"] = config.num_hidden_layers * attention_ms(*shape, torch.bfloat16, model.attention_kernel)
    hidden = torch.randn(TOKENS - batch, config.hidden_size, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.randint(0, vocab, (TOKENS - batch,))
    found["loss"] = least_ms(lambda: linear_cross_entropy(hidden, model.lm_head.weight, targets, scale=1e-3).backward())
    optimiser, parameters = build_optimiser(model, TrainConfig()), list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)

    def update() -> Tensor:
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        return norm

    found["clipping and AdamW"] = least_ms(update)
    found["rest"] = 2 * found["step"] - sum(found.values())
    found["products with weights"] = sum(count * product_ms(*shape) for shape, count in matmul_shapes(config).items())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=["tiny"], choices=[name for name, *_ in SIZES])
    parser.add_argument("--contexts", nargs="*", type=int, default=[256, 1024, 4096])
    parser.add_argument("--kernels", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with freed_memory_kept():
        for shape in SHAPES if arguments.kernels else ():
            for dtype in (torch.bfloat16, torch.float32):
                times = {name: round(attention_ms(*shape, dtype, name), 1) for name in candidates(dtype, shape[2])}
                print(shape, dtype, times, flush=True)
        for preset, vocab, _ in SIZES if not arguments.kernels else ():
            for context in arguments.contexts if preset in arguments.sizes else ():
                found = {name: round(ms, 1) for name, ms in parts(preset, vocab, context).items()}
                print(preset, context, found, flush=True)


if __name__ == "__main__":
    main()
