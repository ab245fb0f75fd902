"""Ensembles: the law over members from losses that follow one exactly."""

from __future__ import annotations

import pytest

from megadocs.analysis import EnsembleLoss, ensemble_results


def make_losses(asymptote: float, sizes: range, average: str = "logits", mode: str = "windowed") -> list[EnsembleLoss]:
    return [
        EnsembleLoss(
            "real", "real_only", "test", mode, average, size, 1, asymptote + 0.4 / size, record="ensemble/x/record.json"
        )
        for size in sizes
    ]


def test_asymptote_of_each_average_on_the_headline_set() -> None:
    losses = make_losses(3.3, range(1, 6)) + make_losses(3.2, range(1, 6), "probabilities")
    losses += make_losses(9.0, range(1, 6), mode="alone")
    found = ensemble_results(losses, ("test", "windowed"), 0.95)
    laws = {row["name"]: row["law"] for row in found["ensemble_laws"]}
    assert set(laws) == {"real, logits", "real, probabilities"}
    assert laws["real, logits"]["asymptote"] == pytest.approx(3.3, abs=1e-4)
    assert laws["real, logits"]["exponent"] == pytest.approx(1.0, abs=1e-3)
    assert laws["real, probabilities"]["asymptote"] == pytest.approx(3.2, abs=1e-4)
    assert len(found["ensembles"]) == 15


def test_two_sizes_have_the_held_law_and_no_free_one() -> None:
    (row,) = ensemble_results(make_losses(3.3, range(1, 3)), ("test", "windowed"), 0.95)["ensemble_laws"]
    assert row["law"] is None
    assert row["constrained"]["law"]["asymptote"] == pytest.approx(3.3, abs=1e-9)


def test_one_size_has_no_law() -> None:
    assert ensemble_results(make_losses(3.3, range(1, 2)), ("test", "windowed"), 0.95)["ensemble_laws"] == []


def test_past_five_members_there_is_the_free_law_alone() -> None:
    (row,) = ensemble_results(make_losses(3.3, range(1, 8)), ("test", "windowed"), 0.95)["ensemble_laws"]
    assert row["constrained"] is None
    assert row["law"]["asymptote"] == pytest.approx(3.3, abs=1e-3)
