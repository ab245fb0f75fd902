"""The ledger: finding, superseding, segments, damage, locking."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megadocs.errors import DamagedError, LockedError
from megadocs.generate import ledger as ledger_module
from megadocs.generate.ledger import Ledger, load_index, lost_tails, segment_paths
from megadocs.generate.records import GenerationRecord
from megadocs.store import framed_log
from megadocs.store.framed_log import MARKER, FramedLog


def identity(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def record(number: int, text: str = "t") -> GenerationRecord:
    return GenerationRecord(identity(number), f"d{number}", "rephrase", 0, 1, "s@1", "ok", text=text, new_tokens=number)


def texts(directory: Path, numbers: list[int]) -> list[str | None]:
    index = load_index(directory)
    found = index.read(index.find([identity(number) for number in numbers]))
    return [item.text if item else None for item in found]


def test_append_find_read(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        for number in range(100):
            ledger.append(record(number, f"text {number}"))
    with Ledger(tmp_path / "l") as ledger:
        assert len(ledger.index) == 100
        assert texts(tmp_path / "l", [99, 0, 100, 42]) == ["text 99", "text 0", None, "text 42"]
        assert int(ledger.index.head["new"].sum()) == sum(range(100))


def test_the_last_record_of_an_identity_counts(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with Ledger(tmp_path, segment_bytes=1) as ledger:
            ledger.append(record(1, text))
            ledger.append(record(2, text))
    index = load_index(tmp_path)
    assert (len(index), index.num_superseded) == (2, 2)
    assert texts(tmp_path, [1, 2]) == ["second", "second"]


def test_segments_roll_and_one_can_be_lost(tmp_path: Path) -> None:
    with Ledger(tmp_path, segment_bytes=2000) as ledger:
        for number in range(50):
            ledger.append(record(number, "x" * 100))
    paths = segment_paths(tmp_path)
    assert len(paths) > 3
    assert texts(tmp_path, list(range(50))) == ["x" * 100] * 50
    paths[1].unlink()
    left = [number for number, text in enumerate(texts(tmp_path, list(range(50)))) if text]
    assert 0 < len(left) < 50
    with Ledger(tmp_path, segment_bytes=2000) as ledger:  # only the lost ones are made again
        lost = np.flatnonzero(ledger.index.find([identity(number) for number in range(50)]) < 0)
        assert sorted([*lost.tolist(), *left]) == list(range(50))
        for number in lost.tolist():
            ledger.append(record(number, "x" * 100))
    assert texts(tmp_path, list(range(50))) == ["x" * 100] * 50


def test_opening_reads_every_segment_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger(tmp_path, segment_bytes=2000) as ledger:
        for number in range(50):
            ledger.append(record(number, "x" * 100))
    read: list[str] = []

    def counted(path: Path, *rest: Any) -> framed_log.ScanResult:
        read.append(path.name)
        return scan_frames(path, *rest)

    scan_frames = framed_log.scan_frames
    for module in (framed_log, ledger_module):
        monkeypatch.setattr(module, "scan_frames", counted)
    with Ledger(tmp_path) as ledger:
        assert len(ledger.index) == 50
    names = [path.name for path in segment_paths(tmp_path)]
    assert read == names
    read.clear()
    damaged = segment_paths(tmp_path)[1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0x10
    damaged.write_bytes(data)
    with Ledger(tmp_path) as ledger:
        assert (len(ledger.index), ledger.num_quarantined) == (49, 1)
        assert [item is not None for item in ledger.index.read(np.arange(49))] == [True] * 49
    assert read == sorted([*names, damaged.name])  # the damaged one again


def test_a_torn_tail_that_was_cut_off_is_not_missed_later(tmp_path: Path) -> None:
    """Killed twice: the first tail is cut when the second writer opens, and what it noted then has no tail in it."""
    with Ledger(tmp_path) as ledger:
        ledger.append(record(1))
    path = segment_paths(tmp_path)[0]
    path.write_bytes(path.read_bytes() + b"torn")
    second = Ledger(tmp_path)
    second._stack.close()  # killed: closes nothing else
    assert list(lost_tails(load_index(tmp_path), tmp_path)) == []


def test_damage_costs_only_its_records(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for number in range(10):
            ledger.append(record(number))
    path = segment_paths(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    index = load_index(tmp_path)
    assert len(index) == 9
    assert [Path(item.path).name for item in index.damaged] == ["records-00000001.log"]


def test_a_torn_tail_is_cut_before_the_next_append(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(record(1))
        ledger.append(record(2))
    path = segment_paths(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-5])
    (tmp_path / "extent.json").unlink()  # its writer was killed before it closed
    with Ledger(tmp_path) as ledger:
        assert len(ledger.index) == 1
        assert (ledger.torn_bytes > 0, ledger.num_quarantined) == (True, 0)
        ledger.append(record(2, "again"))
    assert texts(tmp_path, [1, 2]) == ["t", "again"]


def test_damage_moves_out_of_the_way_of_the_next_writer(tmp_path: Path) -> None:
    """Wherever a byte flips, and wherever the end is cut: one record is lost, found, and made again."""
    with Ledger(tmp_path / "whole") as ledger:
        for number in range(4):
            ledger.append(record(number))
    data = segment_paths(tmp_path / "whole")[0].read_bytes()
    for number, position in enumerate(range(0, len(data), 97)):
        flipped = data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]
        for name, content in ((f"flip {number}", flipped), (f"cut {number}", data[:position])):
            shutil.copytree(tmp_path / "whole", tmp_path / name)
            path = segment_paths(tmp_path / name)[0]
            path.write_bytes(content)
            index = load_index(tmp_path / name)
            assert index.damaged or list(lost_tails(index, tmp_path / name))
            num_lost = 4 - len(index)
            assert num_lost >= 1
            with Ledger(tmp_path / name) as ledger:
                assert ledger.num_quarantined == (content == flipped or not _ends_a_frame(data, position))
                assert len(list(ledger.quarantine.glob("*.bin"))) == ledger.num_quarantined
                for item in np.flatnonzero(ledger.index.find([identity(n) for n in range(4)]) < 0).tolist():
                    ledger.append(record(item))
            index = load_index(tmp_path / name)
            assert (len(index), index.damaged, list(lost_tails(index, tmp_path / name))) == (4, (), [])


def _ends_a_frame(data: bytes, position: int) -> bool:
    return position == 0 or data[position:].startswith(MARKER)


def test_colleagues_may_read_a_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.append(record(1))
    path = segment_paths(tmp_path)[0]
    path.chmod(0o600)  # as older versions left it
    with Ledger(tmp_path):
        pass
    assert path.stat().st_mode == (tmp_path / "ledger.lock").stat().st_mode


def test_frames_of_another_program_are_refused(tmp_path: Path) -> None:
    with FramedLog(tmp_path / "records-00000001.log") as log:
        log.append(b"\x09" + b"x" * 60)
    with pytest.raises(DamagedError, match="another version"):
        load_index(tmp_path)


def test_identities_that_share_their_first_half(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for number in range(5):
            ledger.append(replace(record(number), identity="ab" * 8 + f"{number:016x}"))
    index = load_index(tmp_path)
    wanted = ["ab" * 8 + f"{number:016x}" for number in (4, 0, 5, 2)]
    assert [int(position) for position in index.find(wanted)] == [4, 0, -1, 2]
    assert load_index(tmp_path / "none").find(wanted).tolist() == [-1] * 4


def test_a_second_writer_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    code = "import sys, time; from megadocs.generate.ledger import Ledger\n"
    code += f"held = Ledger({str(tmp_path)!r}); print('held', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(LockedError, match=str(child.pid)):
            Ledger(tmp_path)
    finally:
        child.kill()
        child.wait()
    with Ledger(tmp_path) as ledger:
        ledger.append(record(1))
