"""Which sample windows the report shows: streams that differ are told apart, arms that are not shown are named."""

from __future__ import annotations

from typing import Any

import pytest

from megadocs.pipeline.stages import stream_windows
from megadocs.report import StreamWindow
from megadocs.streams import WindowPiece

PIECE = WindowPiece("d", "real", 0, 7, True, True, "text")
TOKENS = {"real_only": 100, "simple": 100, "real_2x": 200}


def windows_of(arm: str, *_: Any) -> list[StreamWindow]:
    return [StreamWindow([arm], "real", 0, [f"real: {TOKENS.get(arm, 100)} tokens"], [PIECE])]


def read(monkeypatch: pytest.MonkeyPatch, arms: list[str]) -> list[StreamWindow]:
    monkeypatch.setattr(stream_windows, "_windows_of", windows_of)
    nothing: Any = None
    return stream_windows.read_stream_windows(dict.fromkeys(arms, nothing), nothing, nothing, nothing)


def test_streams_that_begin_alike_and_go_on_otherwise_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, ["real_only", "real_2x", "simple"])
    assert [(window.arms, list(window.summary)) for window in found] == [
        (["real_only", "simple"], ["real: 100 tokens"]),
        (["real_2x"], ["real: 200 tokens"]),
    ]


def test_arms_past_the_limit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, [f"arm{number}" for number in range(14)])
    assert len(found[0].arms) == 12
    assert found[-1].arms == ["arm12", "arm13"]
    assert "streams show" in str(found[-1].absent)
