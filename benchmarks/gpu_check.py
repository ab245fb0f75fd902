"""The checks of `gpu_check.sh`, one a call: `gpu_check.py NAME OUT.json [--tiny]`; a failed assertion is exit code 1.

Each compares the device with the same computation on the CPU in float32, or with itself: a run with a second run, a
broken run with an unbroken one, sampled tokens with the likeliest of a whole forward pass. `--tiny` takes the CPU for
the device, so that every line runs without one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from megadocs.model.llama import Llama, build_model
from megadocs.model.loss import compiled_kernel, linear_cross_entropy
from megadocs.model.sampling import sample
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.train import TrainingJob, run_training
from megadocs.train.distributed import shard

VOCAB, CONTEXT, BATCH = 512, 128, 4
Result = dict[str, Any]


def small_model() -> Llama:
    return build_model(ModelConfig(preset="tiny", num_key_value_heads=1), VOCAB, CONTEXT, seed=0)


def some_tokens() -> torch.Tensor:
    return torch.randint(0, VOCAB, (BATCH, CONTEXT), generator=torch.Generator().manual_seed(0))


def distance(wanted: torch.Tensor, got: torch.Tensor) -> float:
    return float((wanted - got.float().cpu()).norm() / wanted.norm())


def check_logits(device: torch.device) -> Result:
    model, tokens = small_model(), some_tokens()
    with torch.no_grad():
        wanted = model(tokens)
        model.to(device)
        exact = distance(wanted, model(tokens.to(device)))
        model.compute_dtype = torch.bfloat16
        rounded = distance(wanted, model(tokens.to(device)))
    assert exact < 1e-3, exact  # TF32 may be on
    assert rounded < 0.03, rounded
    return {"float32_distance": exact, "bfloat16_distance": rounded}


def check_loss(device: torch.device) -> Result:
    generator = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(300, 64, generator=generator), torch.randn(1000, 64, generator=generator)
    targets = torch.randint(0, 1000, (300,), generator=generator)
    leaves = [hidden.requires_grad_(), head.requires_grad_()]
    wanted = F.cross_entropy(hidden @ head.t(), targets, reduction="sum") / 300
    grads = torch.autograd.grad(wanted, leaves)
    found: Result = {}
    for name, kernel in (("plain", None), ("compiled", compiled_kernel())):
        there = [leaf.detach().to(device).requires_grad_() for leaf in leaves]
        loss = linear_cross_entropy(*there, targets.to(device), scale=1 / 300, kernel=kernel)
        loss.backward()
        errors = [distance(wanted.detach(), loss.detach())]
        errors += [distance(grad, leaf.grad) for grad, leaf in zip(grads, there, strict=True)]
        assert max(errors) < 2e-3, (name, errors)
        found[name] = max(errors)
    return {"distance": found}


def check_boundaries(device: torch.device) -> Result:
    model, tokens = small_model(), some_tokens()
    segments = (tokens < 20).cumsum(1)
    other = tokens.clone()
    other[:, 0] = (other[:, 0] + 1) % VOCAB
    with torch.no_grad():
        wanted = model(tokens, segments)
        model.to(device)
        got, changed = (model(rows.to(device), segments.to(device)) for rows in (tokens, other))
    error = distance(wanted, got)
    assert error < 1e-3, error
    later = (segments != segments[:, :1]).to(device)
    assert later.any()
    assert torch.equal(got[later], changed[later]), "a segment sees the one before it"
    return {"distance": error}


class Windows:
    num_steps = 8

    def window_ids(self, step: int) -> list[int]:
        return [step]


class Stop(Exception):
    pass


def train(folder: Path, device: torch.device, *, stop_at: int | None = None) -> bytes:
    def read(step: int) -> tuple[np.ndarray, np.ndarray]:
        if step == stop_at:
            raise Stop
        tokens = np.random.default_rng(step).integers(0, VOCAB, (BATCH, CONTEXT))
        return tokens, np.cumsum(tokens < 20, axis=1)

    config = TrainConfig(
        context_length=CONTEXT, batch_size=BATCH, device="cuda" if device.type == "cuda" else "cpu",
        deterministic=True, dtype="bfloat16", checkpoint_minutes=1e-9, log_every_steps=1,
    )  # fmt: skip
    run_training(
        TrainingJob(
            recipe_model=ModelConfig(), config=config, mixture=Windows(), read_batch=read, vocab_size=VOCAB, seed=0,
            output_dir=folder,
        )
    )  # fmt: skip
    return (folder / "model/model.safetensors").read_bytes()


def check_repetition(device: torch.device) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        one, two = (train(Path(folder) / name, device) for name in "ab")
    assert one == two, "two runs with train.deterministic differ"
    return {"same_bytes": len(one)}


def check_resume(device: torch.device) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        whole = train(Path(folder) / "whole", device)
        with contextlib.suppress(Stop):
            train(Path(folder) / "broken", device, stop_at=5)
        assert train(Path(folder) / "broken", device) == whole, "a resumed run differs from an unbroken one"
    return {"same_bytes": len(whole)}


def check_sampling(device: torch.device) -> Result:
    model = small_model().to(device)
    prompts, new = some_tokens()[:, :16].tolist(), 32
    sample(model, prompts, max_new_tokens=2, temperature=0, seeds=range(BATCH))  # kernels are made
    started = time.perf_counter()
    samples = sample(model, prompts, max_new_tokens=new, temperature=0, seeds=range(BATCH))
    seconds = time.perf_counter() - started
    for prompt, written in zip(prompts, samples, strict=True):
        whole = torch.tensor([prompt + written.tokens], device=device)
        with torch.no_grad():
            logits = model(whole)[0, len(prompt) - 1 : -1]
        chosen = logits.gather(1, whole[0, len(prompt) :, None]).squeeze(1)
        assert (logits.amax(dim=1) - chosen).max() < 1e-2, "a token that is not the likeliest"
    return {"tokens_per_second": BATCH * new / seconds}


def check_fsdp(device: torch.device) -> Result:
    """FSDP2 over a mesh of one rank: the same loss and gradients as the model itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=0, world_size=1)
    tokens = some_tokens().to(device)
    grads = []
    for is_sharded in (False, True):
        model = small_model().to(device)
        if is_sharded:
            shard(model, device, num_ranks=1)
        loss = model(tokens, loss_scale=1e-3)
        loss.backward()
        found = {
            name: p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad
            for name, p in model.named_parameters()
        }
        grads.append(
            {name: grad.detach().float().cpu() for name, grad in found.items()} | {"loss": loss.detach().cpu()}
        )
    torch.distributed.destroy_process_group()
    errors = {name: distance(wanted, grads[1][name]) for name, wanted in grads[0].items()}
    assert max(errors.values()) < 1e-3, errors
    return {"distance": max(errors.values())}


CHECKS: dict[str, Callable[[torch.device], Result]] = {
    "logits": check_logits,
    "loss": check_loss,
    "boundaries": check_boundaries,
    "repetition": check_repetition,
    "resume": check_resume,
    "sampling": check_sampling,
    "fsdp": check_fsdp,
}


def collect(out: Path, parts: Path) -> int:
    """One report of all parts; the exit code."""
    report: Result = {
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
        "parts": {},
    }
    for line in (parts / "codes").read_text().splitlines():
        name, code, seconds = line.split()
        result: Result = {"is_ok": code == "0", "exit_code": int(code), "seconds": int(seconds)}
        if (parts / f"{name}.json").exists():
            result["result"] = json.loads((parts / f"{name}.json").read_text())
        if code != "0":
            result["output_tail"] = (parts / f"{name}.log").read_text()[-2000:]
        report["parts"][name] = result
        print(f"{name:12} {'ok' if result['is_ok'] else 'FAILED'} {seconds} s", file=sys.stderr)
    out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if all(part["is_ok"] for part in report["parts"].values()) else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*CHECKS, "collect"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--parts", type=Path)
    arguments = parser.parse_args()
    if arguments.name == "collect":
        sys.exit(collect(arguments.out, arguments.parts))
    if not torch.cuda.is_available() and not arguments.tiny:
        sys.exit("no CUDA GPU is here (--tiny runs the checks on a CPU)")
    device = torch.device("cpu" if arguments.tiny else "cuda")
    arguments.out.write_text(json.dumps(CHECKS[arguments.name](device)) + "\n")


if __name__ == "__main__":
    main()
