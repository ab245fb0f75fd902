"""A search that found a better setting than an arm has is said; noise, other arms and no searches are not."""

from __future__ import annotations

from typing import Any

import pytest

from megadocs.analysis import search_warnings


def results(found: Any, *, arm: str = "simple", seed_sd: float | None = 0.01) -> dict[str, Any]:
    losses = [{"arm": "real_only", "loss": 5.1}, {"arm": "simple", "loss": 4.8}]
    certificate = {"loss": found, "setting": {"train.learning_rate": 0.01, "train.weight_decay": 3.2}}
    return {
        "baseline": "real_only",
        "headline": {"set": "test", "mode": "windowed"},
        "sets": [{"set": "validation", "mode": "windowed", "losses": losses, "seed_sd": seed_sd}],
        "searches": [{"search": "tuning", "arm": arm, "certificate": certificate}],
    }


def test_a_better_setting_is_named_with_both_losses() -> None:
    assert search_warnings(results(4.7)) == [
        "The search tuning found a better setting for simple (learning rate 0.01, weight decay 3.2: validation loss "
        "4.700) than the arm of that name has here (4.800): its worth here is likely an underestimate."
    ]


def test_a_badly_set_baseline_flatters_everything() -> None:
    (sentence,) = search_warnings(results(5.0, arm="real_only"))
    assert sentence.endswith("the multipliers here are likely too large.")


@pytest.mark.parametrize(
    "given", [results(4.785), results(None), results("NaN"), results(4.0, arm="other"), results(4.8, seed_sd=None)]
)
def test_nothing_to_say(given: dict[str, Any]) -> None:
    assert search_warnings(given) == []


def test_other_seeds_of_the_same_setting_are_no_better_setting() -> None:
    given = results(4.7)
    facts = {"arm": "simple", "settings": {"learning_rate": 0.01, "weight_decay": "3.2"}, "planned_real_epochs": 8.0}
    assert search_warnings({**given, "arms": [facts]}) == []
    given["searches"][0]["certificate"]["setting"]["train.real_epochs"] = 8
    assert search_warnings({**given, "arms": [facts]}) == []
    given["searches"][0]["certificate"]["setting"]["train.real_epochs"] = 16
    assert len(search_warnings({**given, "arms": [facts]})) == 1


def test_without_a_validation_set_or_searches() -> None:
    given = results(4.0)
    assert search_warnings({**given, "sets": []}) == []
    del given["searches"]
    assert search_warnings(given) == []
