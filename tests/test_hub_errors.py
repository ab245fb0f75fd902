"""A hub that cannot be reached is an error of ours, whatever HTTP library its client uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from huggingface_hub.errors import HfHubHTTPError

from megadocs.hub_errors import hub_errors


def test_the_http_library_s_own_errors_are_among_them():
    bases = [base for base in HfHubHTTPError.__bases__ if base is not OSError]
    assert bases and all(issubclass(base, hub_errors()) for base in bases)


def test_an_unreachable_hub_ends_with_a_message(tmp_path):
    recipe = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
    command = [sys.executable, "-m", "megadocs", "plan", str(recipe), "corpus.source=hf://nobody/nothing"]
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [*command, "-w", str(tmp_path)], capture_output=True, text=True, env=os.environ | environment, timeout=120
    )
    assert done.returncode == 2
    assert "the dataset cannot be fetched" in done.stderr
    assert "Traceback" not in done.stderr
