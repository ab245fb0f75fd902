"""Shared by all tests: one thread per process, no network, no progress noise, no deadlines for generated examples."""

import inspect
import os
import sys
import tempfile

import pytest
from hypothesis import HealthCheck, settings

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MEGADOCS_CACHE_DIR"] = tempfile.mkdtemp(prefix="megadocs-cache-")  # runs leave their rates there
os.environ["TOKENIZERS_PARALLELISM"] = "false"

settings.register_profile("megadocs", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("megadocs")


def pytest_collection_modifyitems(items):
    """Tests that look into /proc run where there is one."""
    if sys.platform == "linux":
        return
    for item in items:
        if "/proc" in inspect.getsource(item.function):
            item.add_marker(pytest.mark.skip(reason="looks into /proc"))
