"""Segments are found by what goes into them: nothing is tokenised twice, and nothing else changes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from megadocs.rows import RowsManifest, build_real_rows, build_sampled_rows, build_stretched_rows, open_rows
from rows.helpers import CharacterTokenizer, documents, rephrase, thought, write_export


class CountingTokenizer(CharacterTokenizer):
    """Remembers every text that it was asked to encode."""

    def __init__(self, vocab_size: int = 300) -> None:
        super().__init__(vocab_size)
        self.encoded: list[str] = []

    def encode_rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        self.encoded += texts
        return super().encode_rows(texts)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def export(tmp_path: Path, num_generations: int, changed: str | None = None) -> Path:
    records = [rephrase(document.id, g) for document in documents() for g in range(num_generations)]
    if changed is not None:
        records[0]["text"] = changed
    return write_export(tmp_path / f"{num_generations}{changed}.parquet", records)


def test_growing_encodes_new_generations_only_and_equals_a_start_from_nothing(tmp_path: Path) -> None:
    grown, scratch = tmp_path / "grown", tmp_path / "scratch"
    small = build_sampled_rows("rephrase", export(tmp_path, 2), CountingTokenizer(), grown)
    before = files(grown)
    tokenizer = CountingTokenizer()
    large = build_sampled_rows("rephrase", export(tmp_path, 4), tokenizer, grown)
    assert sorted(tokenizer.encoded) == sorted(f"rephrase {g} of {d.id}" for d in documents() for g in (2, 3))
    assert large == build_sampled_rows("rephrase", export(tmp_path, 4), CountingTokenizer(), scratch)
    assert files(grown) == files(scratch)
    assert large.segments[:2] == small.segments
    assert before.items() <= files(grown).items()


def test_the_same_rows_again_encode_nothing(tmp_path: Path) -> None:
    export_file = write_export(
        tmp_path / "t.parquet", [thought(d.id, 0, 4, "so", num_generations=1) for d in documents()]
    )

    def build(tokenizer: CountingTokenizer) -> list[RowsManifest]:
        stretched = build_stretched_rows(documents(), export_file, tokenizer, tmp_path / "s", num_generations=1)
        return [build_real_rows(documents(), tokenizer, tmp_path / "s"), stretched]

    first, again = CountingTokenizer(), CountingTokenizer()
    assert build(first) == build(again)
    assert (len(first.encoded), again.encoded) == (6, [])


@pytest.mark.parametrize("change", ["text", "tokenizer", "segment lost", "file truncated", "index damaged"])
def test_whatever_differs_is_encoded_again(tmp_path: Path, change: str) -> None:
    segments = tmp_path / "s"
    small = build_sampled_rows("rephrase", export(tmp_path, 2), CountingTokenizer(), segments)
    first = segments / small.segments[0].name
    match change:
        case "segment lost":
            shutil.rmtree(first)
        case "file truncated":
            (first / "tokens.bin").write_bytes(b"")
            (first / "segment.json").unlink()
        case "index damaged":
            next((segments / "index").glob("*-rephrase-0/*.json")).write_text("{")
    tokenizer = CountingTokenizer(301 if change == "tokenizer" else 300)
    other = export(tmp_path, 2, "another text") if change == "text" else export(tmp_path, 2)
    if change == "file truncated":
        shutil.rmtree(first)  # what the error of `open_rows` says to do
    manifest = build_sampled_rows("rephrase", other, tokenizer, segments)
    assert len(tokenizer.encoded) == (6 if change == "tokenizer" else 3)
    assert open_rows([manifest], segments).table.total_tokens == manifest.num_tokens
