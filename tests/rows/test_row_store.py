"""Opening rows, and finding damage in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from megadocs.documents import Document
from megadocs.errors import DamagedError, InputError
from megadocs.rows import RowsManifest, build_real_rows, build_sampled_rows, open_rows, verify_manifest
from megadocs.rows.manifest import iter_store_problems
from megadocs.rows.segment import remove_stale_partials
from megadocs.seeding import document_key, row_key
from rows.helpers import CharacterTokenizer, documents, rephrase, write_export


@pytest.fixture
def built(tmp_path: Path) -> tuple[RowsManifest, Path]:
    export = write_export(tmp_path / "g.parquet", [rephrase(d.id, g) for d in documents() for g in range(2)])
    return build_sampled_rows("rephrase", export, CharacterTokenizer(), tmp_path / "segments"), tmp_path / "segments"


def test_the_table_describes_every_row(built: tuple[RowsManifest, Path]) -> None:
    manifest, segments = built
    real = build_real_rows(documents(), CharacterTokenizer(), segments)
    store = open_rows([real, manifest, real], segments)
    table = store.table
    assert len(table) == 9
    assert table.kind.tolist() == [0] * 3 + [1] * 6
    assert table.generation.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1]
    names = [table.document_ids[index] for index in table.document_index]
    assert names == ["d0", "d1", "d2"] * 3
    assert table.row_key[7] == np.uint64(row_key(document_key("d1"), 1, 1))
    assert table.total_tokens == real.num_tokens + manifest.num_tokens == sum(len(t) for t in store.tokens)
    assert store.row_text(7) == "rephrase 1 of d1"
    assert type(store.tokens[0]) is np.ndarray
    assert table.extra["content_key"].dtype == np.uint64


def test_rows_of_two_tokenizers_or_twice_one_identity_are_refused(built: tuple[RowsManifest, Path]) -> None:
    manifest, segments = built
    other = build_real_rows(documents(), CharacterTokenizer(70_000), segments)
    with pytest.raises(InputError, match="different tokenizers"):
        open_rows([manifest, other], segments)
    first = build_real_rows([Document("d", "one text")], CharacterTokenizer(), segments)
    second = build_real_rows([Document("d", "another")], CharacterTokenizer(), segments)
    with pytest.raises(InputError, match="occur twice"):
        open_rows([first, second], segments)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.npy", "rows.parquet"])
@pytest.mark.parametrize("damage", [_truncate, _flip, Path.unlink])
def test_damage_is_found_and_the_file_named(
    built: tuple[RowsManifest, Path], name: str, damage: Callable[[Path], None]
) -> None:
    manifest, segments = built
    path = segments / manifest.segments[1].name / name
    verify_manifest(manifest, segments)
    assert not list(iter_store_problems(segments))
    damage(path)
    with pytest.raises(DamagedError) as raised:
        verify_manifest(manifest, segments)
    assert raised.value.where == str(path)
    assert [problem.path for problem in iter_store_problems(segments)] == [str(path)]
    if damage is not _flip:
        with pytest.raises(DamagedError) as raised:
            open_rows([manifest], segments)
        assert raised.value.where == str(path)


def test_swapped_segments_are_found(built: tuple[RowsManifest, Path]) -> None:
    manifest, segments = built
    first, second = (segments / entry.name for entry in manifest.segments)
    first.rename(segments / "x")
    second.rename(first)
    (segments / "x").rename(second)
    with pytest.raises(DamagedError):
        verify_manifest(manifest, segments)
    assert len(list(iter_store_problems(segments))) == 2


def test_a_missing_segment_is_found(built: tuple[RowsManifest, Path]) -> None:
    manifest, segments = built
    shutil.rmtree(segments / manifest.segments[0].name)
    with pytest.raises(DamagedError, match="missing"):
        verify_manifest(manifest, segments)
    with pytest.raises(DamagedError, match="missing"):
        open_rows([manifest], segments)


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('{"segments": []}')
    with pytest.raises(DamagedError, match="not a list of rows"):
        RowsManifest.load(tmp_path / "rows.json")


def test_what_a_killed_builder_left_is_removed(tmp_path: Path) -> None:
    import os
    import socket

    dead = tmp_path / f".partial-{socket.gethostname()}-999999999-abc"
    alive = tmp_path / f".partial-{socket.gethostname()}-{os.getpid()}-abc"
    dead.mkdir()
    alive.mkdir()
    assert remove_stale_partials(tmp_path) == 1
    assert alive.exists()
    assert not dead.exists()
