"""Loss by position of arms: means over seeds, differences over common seeds, and runs that do not fit."""

from __future__ import annotations

import pytest

from megadocs.analysis import RunPositions, position_tables


def run(
    arm: str, seed: int | None, losses: list[float | str | None], counts: tuple[int, ...] = (10, 20)
) -> RunPositions:
    ranges = [
        {"from": 0, "to": 64, "num_tokens": counts[0], "nats_per_token": losses[0]},
        {"from": 64, "to": None, "num_tokens": counts[1], "nats_per_token": losses[1]},
    ]
    return RunPositions(arm, seed, "long", ranges, 128, {64: "long_past_64"}, f"extra_set/{arm}{seed}/record.json")


def test_means_over_seeds_and_differences_over_common_seeds() -> None:
    runs = [
        run("base", 0, [6.0, 5.0]),
        run("base", 1, [6.2, 5.2]),
        run("arm", 1, [6.0, 5.1]),
        run("arm", 2, [9.0, 9.0]),
    ]
    (table,) = position_tables(runs, "base")
    base, arm = table["arms"]
    assert base["losses"] == pytest.approx([6.1, 5.1])
    assert base["differences"] is None
    assert arm["losses"] == pytest.approx([7.5, 7.05])
    assert arm["differences"] == pytest.approx([-0.2, -0.1])  # seed 1 is the one that both have
    assert [seed["record"] for seed in arm["seeds"]] == ["extra_set/arm1/record.json", "extra_set/arm2/record.json"]
    assert table["ranges"] == [{"from": 0, "to": 64, "num_tokens": 10}, {"from": 64, "to": None, "num_tokens": 20}]
    assert (table["past"], table["context_lengths"]) == ([{"position": 64, "set": "long_past_64"}], [128])


def test_a_run_over_other_targets_is_left_out_and_named() -> None:
    runs = [run("base", 0, [6.0, 5.0]), run("base", 1, [6.0, 5.0]), run("arm", 0, [1.0, 1.0], counts=(10, 21))]
    (table,) = position_tables(runs, "base")
    assert [row["arm"] for row in table["arms"]] == ["base"]
    assert table["left_out"] == [{"arm": "arm", "seed": 0}]


def test_nan_and_ranges_without_targets_stay_apart_from_numbers() -> None:
    (table,) = position_tables(
        [run("base", 0, [None, "NaN"], counts=(0, 20)), run("base", 1, [None, 5.0], (0, 20))], "base"
    )
    assert table["arms"][0]["losses"] == [None, "NaN"]
    assert table["arms"][0]["seeds"][1]["losses"] == [None, 5.0]


def test_ensembles_stand_beside_the_arms() -> None:
    (table,) = position_tables([run("base", 0, [6.0, 5.0]), run("base_x4", None, [5.5, 4.5])], "base")
    assert [(row["arm"], row["is_ensemble"]) for row in table["arms"]] == [("base", False), ("base_x4", True)]
    assert table["arms"][1]["differences"] is None


def test_a_table_whole() -> None:
    """Of a run without sets past a position, without a record."""
    ranges = [{"from": 0, "to": None, "num_tokens": 5, "nats_per_token": 2.5}]
    (table,) = position_tables([RunPositions("base", 0, "test", ranges, 64)], "base")
    seeds = [{"seed": 0, "losses": [2.5], "record": None}]
    assert table == {
        "set": "test",
        "context_lengths": [64],
        "past": [],
        "ranges": [{"from": 0, "to": None, "num_tokens": 5}],
        "arms": [{"arm": "base", "is_ensemble": False, "losses": [2.5], "differences": None, "seeds": seeds}],
        "left_out": [],
    }


def test_no_runs_no_tables() -> None:
    assert position_tables([], "base") == []
