"""Kills during assembly, rows past all bounds, and control strings with a real tokenizer (R15, R17)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from megadocs.documents import Document
from megadocs.errors import InputError, StoreError
from megadocs.rows import SourceRow, build_real_rows, build_rows, encode, open_rows
from megadocs.rows.segment import token_dtype
from megadocs.text.tokenizer import train_tokenizer
from rows.helpers import CharacterTokenizer

_KILLED = """
import os, signal, sys
from megadocs.rows import SourceRow, build_rows
from rows.helpers import CharacterTokenizer

def sources(kill_at):
    for number in range(4000):
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        yield SourceRow(f"d{number:05d}", "real", 0, "text " * 50)

build_rows(sources(int(sys.argv[2])), CharacterTokenizer(), sys.argv[1])
"""


@pytest.mark.parametrize("kill_at", [1, 1500, 3999])
def test_a_killed_build_leaves_nothing_visible_and_goes_again(tmp_path: Path, kill_at: int) -> None:
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), str(root.parent / "src")])
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path / "s"), str(kill_at)], env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == -signal.SIGKILL
    assert not [entry for entry in (tmp_path / "s").glob("*") if not entry.name.startswith(".")]
    rows = [SourceRow(f"d{number:05d}", "real", 0, "text " * 50) for number in range(4000)]
    again = build_rows(rows, CharacterTokenizer(), tmp_path / "s")
    assert again == build_rows(rows, CharacterTokenizer(), tmp_path / "fresh")
    assert {entry.name for entry in (tmp_path / "s").iterdir()} == {"index", again.segments[0].name}


def test_a_write_that_fails_names_the_place_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="a file is in the way"):
        build_real_rows([Document("d", "text")], CharacterTokenizer(), tmp_path / "file")


def test_a_row_longer_than_memory_s_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "MAX_ROW_CHARACTERS", 100)
    with pytest.raises(InputError, match="has 101 characters \\(at most 100\\)") as raised:
        build_real_rows([Document("long", "x" * 101)], CharacterTokenizer(), tmp_path)
    assert raised.value.where == "long"


def test_the_token_width_follows_the_vocabulary() -> None:
    assert [token_dtype(size).name for size in (2048, 65_536, 65_537, 1 << 31)] == ["uint16"] * 2 + ["uint32"] * 2
    with pytest.raises(InputError, match="does not fit"):
        token_dtype((1 << 31) + 1)


def test_control_strings_in_text_stay_text(tmp_path: Path) -> None:
    strings = ["<|bos|>", "<|eos|>", "</s>", "<|eot_id|>", "<|im_start|>", "<unk>"]
    texts = [f"before {string} after{string}{string}" for string in strings] + ["<|e", "os|> over a bound"]
    tokenizer = train_tokenizer(texts * 3, 400)
    rows = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    store = open_rows([build_real_rows(rows, tokenizer, tmp_path)], tmp_path)
    tokens = np.concatenate(store.tokens)
    assert np.isin(tokens, sorted(tokenizer.control_ids)).sum() == len(rows) * tokenizer.separators_per_row
    for row, document in enumerate(rows):
        start, count = store.table.start[row], store.table.num_tokens[row]
        assert tokenizer.decode(tokens[start + 1 : start + count - 1]) == document.text == store.row_text(row)
