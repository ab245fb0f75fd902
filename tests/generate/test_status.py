from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from megadocs.documents import Document
from megadocs.generate import load_index, run_generation
from megadocs.generate.status import read_accounting
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


def test_status_agrees_with_the_run_and_sees_what_is_missing(
    tmp_path: Path, config: Config, documents: Documents
) -> None:
    odd = config(options={"odd": "empty:0.2,truncated:0.3", "broken": 0.1})
    books = run_generation(odd, "rephrase", documents(20), tmp_path / "l", lambda _: None, lambda: False)
    status = read_accounting(odd, "rephrase", documents(20), load_index(tmp_path / "l"))
    for name in (
        "requested",
        "ok",
        "rejected",
        "failed",
        "skipped",
        "pending",
        "prompt_tokens",
        "new_tokens",
        "flags",
        "errors",
    ):
        assert getattr(status, name) == getattr(books, name), name
    more = read_accounting(odd, "rephrase", documents(30), load_index(tmp_path / "l"))
    assert (more.requested, more.pending) == (60, 20)
    assert read_accounting(odd, "rephrase", documents(5), load_index(tmp_path / "none")).pending == 10
