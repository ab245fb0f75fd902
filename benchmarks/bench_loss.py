"""The loss at a vocabulary of 128,256: peak extra memory and time, against the unfused and torch's chunked one.

`bench_loss.py [OUT.json]`: 1,024 positions x 256 hidden, bfloat16 states, float32 head, one thread. Each contestant
runs in a process of its own; extra memory is the peak resident size during forward and backward, less the size
before, less the head's own gradient (131 MB that every one must return).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

POSITIONS, HIDDEN, VOCAB = 1024, 256, 128_256
CONTESTANTS = ("megadocs", "unfused", "torch-chunked")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def measure(name: str) -> dict[str, float]:
    import torch
    import torch.nn.functional as F

    from megadocs.model.loss import linear_cross_entropy

    torch.set_num_threads(1)
    torch.manual_seed(0)
    hidden = torch.randn(POSITIONS, HIDDEN).bfloat16().requires_grad_()
    head = (torch.randn(VOCAB, HIDDEN) * HIDDEN**-0.5).requires_grad_()
    targets = torch.randint(0, VOCAB, (POSITIONS,))

    def step() -> torch.Tensor:
        hidden.grad = head.grad = None
        if name == "megadocs":
            loss = linear_cross_entropy(hidden, head, targets, scale=1 / POSITIONS)
        elif name == "unfused":
            loss = F.cross_entropy((hidden @ head.bfloat16().t()).float(), targets)
        else:
            options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=256)
            loss = F.linear_cross_entropy(hidden, head.bfloat16(), targets, options=options)
        loss.backward()
        return loss.detach()

    before, peak, running = resident_bytes(), [0], [True]

    def watch() -> None:
        while running[0]:
            peak[0] = max(peak[0], resident_bytes())
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    loss = step()
    running[0] = False
    watcher.join()
    extra = peak[0] - before - head.numel() * 4
    seconds = []
    for _ in range(5):
        started = time.process_time()
        step()
        seconds.append(time.process_time() - started)
    return {"loss": float(loss), "extra_mb": extra / 1e6, "cpu_seconds": statistics.median(seconds)}


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        print(json.dumps(measure(sys.argv[2])))
        return
    report = {}
    for name in CONTESTANTS:
        result = subprocess.run([sys.executable, __file__, "--one", name], capture_output=True, text=True, check=True)
        report[name] = json.loads(result.stdout)
        print(name, report[name], flush=True)
    if len(sys.argv) == 2:
        Path(sys.argv[1]).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
