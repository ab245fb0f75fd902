"""Freed blocks stay in the process: a repeated large allocation costs no new pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import resource, sys
from contextlib import nullcontext
import torch
from megadocs.model.memory import freed_memory_kept

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

with freed_memory_kept() if sys.argv[1] == "on" else nullcontext() as told:
    for round in range(40):
        if round == 20:  # where small blocks lie between large ones, the heap grows for as many as eight rounds first
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [torch.ones(12_000_000) for _ in range(2)]  # 48 MB each: beyond what glibc keeps by itself
        del blocks
    faults, inside = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, resident()
print(told, faults, inside - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's limits")
def test_freed_blocks_are_used_again_and_given_back_at_the_end():
    faults, given_back = {}, {}
    for switch in ("on", "off"):
        result = subprocess.run([sys.executable, "-c", PROBE, switch], capture_output=True, text=True, check=True)
        told, faults[switch], given_back[switch] = result.stdout.split()
        if told == "False":
            pytest.skip("another allocator")
    assert int(faults["on"]) < 1000 < int(faults["off"])  # off: 23,437 pages a round of 4 KB
    assert int(given_back["on"]) > 50e6
