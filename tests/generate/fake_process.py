"""The fake server in its own process, so that what it received is counted across kills of its client."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


class FakeProcess:
    def __init__(self, log: Path, options: dict[str, object]) -> None:
        command = [sys.executable, "-m", "megadocs.generate.engines.fake_server", "--log", str(log)]
        self.process = subprocess.Popen(
            [*command, "--options", json.dumps(options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.base_url = json.loads(self.process.stdout.readline())["address"] + "/v1"
        self.log = log

    @property
    def num_requests(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
