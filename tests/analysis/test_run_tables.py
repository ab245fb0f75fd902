"""Tables of arms and runs: averages, losses beside facts, and everything that is not there, with its reason."""

import math

import numpy as np
import pytest

from megadocs.analysis.run_tables import arm_facts, missing_runs, more_tokens, not_numbers, run_rows
from megadocs.analysis.tables import RunFacts, ScoreBlock


def run(arm: str, seed: int, tokens: int | None = 100, **facts) -> RunFacts:
    return RunFacts(arm, seed, 5, 1000, train_tokens=tokens, **facts)


def block(losses: dict[tuple[str, int], float], name: str = "test", left_out: tuple = ()) -> ScoreBlock:
    count = np.array([10, 10])
    nll = np.array([[loss * 10] * 2 for loss in losses.values()])
    return ScoreBlock(name, "windowed", ("a", "b"), count, count, tuple(losses), nll, left_out)


def test_an_arms_facts_are_means_over_its_own_runs() -> None:
    runs = [
        run("simple", 2, 300, num_steps=3, seconds=1.5, settings={"ordering": "simple"}, student={"hidden_size": 64}),
        run("other", 0, 9000),
        run("simple", 1, 100, num_steps=4, synthetic_tokens=7),
    ]
    found = arm_facts("simple", runs)
    assert {
        key: found[key] for key in ("arm", "kind", "seeds", "real_documents", "real_tokens", "synthetic_tokens")
    } == {
        "arm": "simple",
        "kind": "synthetic",
        "seeds": [1, 2],
        "real_documents": 5,
        "real_tokens": 1000,
        "synthetic_tokens": 0,
    }
    assert (found["settings"], found["student"]) == ({"ordering": "simple"}, {"hidden_size": 64})
    assert (found["train_tokens"], found["num_steps"], found["seconds"], found["flops"]) == (200.0, 3.5, 1.5, None)
    averaged = {"real_epochs", "synthetic_epochs", "num_parameters", "planned_real_epochs", "planned_synthetic_epochs"}
    assert averaged | {"final_training_loss"} <= found.keys()
    assert arm_facts("other", runs)["kind"] == "real"
    assert arm_facts("gone", runs) == {"arm": "gone", "kind": "missing", "seeds": []}


def test_every_run_has_its_losses_on_every_set() -> None:
    blocks = [block({("a", 0): 3.0, ("b", 0): 4.0}), block({("a", 0): 3.5}, "validation")]
    rows = run_rows([run("b", 0), run("a", 0), run("c", 0)], blocks)
    assert [(row["arm"], row["seed"], row["train_tokens"]) for row in rows] == [
        ("b", 0, 100),
        ("a", 0, 100),
        ("c", 0, 100),
    ]
    assert rows[1]["losses"] == [
        {"set": "test", "mode": "windowed", "loss": 3.0},
        {"set": "validation", "mode": "windowed", "loss": 3.5},
    ]
    assert (len(rows[0]["losses"]), rows[2]["losses"]) == (1, [])


def test_what_is_missing_has_its_reason() -> None:
    expected = [("a", 0), ("a", 1), ("b", 0)]
    facts = {key: run(*key) for key in [("a", 0), ("b", 0), ("c", 0), ("d", 0)]}
    blocks = [
        block({("a", 0): 3.0}, left_out=(("c", 0, "scored on other documents"),)),
        block({("b", 0): 3.0}, "validation", left_out=(("c", 0, "other token counts"),)),
    ]
    assert missing_runs(expected, facts, blocks) == [
        {"arm": "a", "seed": 1, "reason": "no finished run"},
        {"arm": "d", "seed": 0, "reason": "not scored"},
        {"arm": "b", "seed": 0, "reason": "test/windowed: not scored"},
        {"arm": "c", "seed": 0, "reason": "test/windowed: scored on other documents"},
        {"arm": "c", "seed": 0, "reason": "validation/windowed: other token counts"},
    ]
    assert missing_runs([("a", 0)], {("a", 0): facts["a", 0]}, blocks[:1])[1:] == []


def test_more_tokens_than_the_baseline_by_half_a_percent() -> None:
    runs = [
        run("base", 0, 1000),
        run("same", 0, 1004),
        run("more", 0, 1500),
        run("more", 1, 2500),
        run("none", 0, None),
    ]
    arms = ["base", "same", "more", "none", "gone"]
    assert more_tokens(arms, runs, "base") == [{"arm": "more", "train_tokens": 2000.0, "ratio": 2.0}]
    assert more_tokens(arms, [*runs, run("just", 0, 1006)], "base")[0]["arm"] == "more"
    assert more_tokens([*arms, "just"], [*runs, run("just", 0, 1006)], "base")[1]["ratio"] == pytest.approx(1.006)
    assert more_tokens(arms, runs, "gone") == more_tokens(arms, runs, "none") == []


def test_losses_that_are_no_numbers_are_named() -> None:
    assert not_numbers([block({("a", 0): 3.0})]) == []
    one = not_numbers([block({("a", 0): math.nan, ("b", 1): 3.0})])
    rest = "They are shown, not averaged away, and nothing is compared with their arms."
    assert one == [f"Losses that are not numbers: a seed 0 (test/windowed). {rest}"]
    many = [block({("a", seed): math.inf for seed in range(8)}, name) for name in ("k", "l", "m", "n")]
    (told,) = not_numbers(many)
    assert told.startswith("Losses that are not numbers: a seed 0 (k/windowed, l/windowed, m/windowed ...); a seed 1 (")
    assert told.endswith(f"; 2 more runs. {rest}")
    (seven,) = not_numbers([block({("a", seed): math.inf for seed in range(6)})])
    assert "more runs" not in seven
    (three,) = not_numbers(many[:3])
    assert "..." not in three
