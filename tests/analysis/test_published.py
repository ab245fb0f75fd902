"""The check on published numbers says what the issue and the facts say."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.analysis import published
from megadocs.analysis.law_intervals import multiple_by_law
from megadocs.analysis.published import check_published, load_published


def test_multiplier_over_the_published_ranges() -> None:
    law = load_published()["data_law"]
    for share in np.linspace(0, 1, 11):
        exponent, asymptote = ((1 - share) * law[key][0] + share * law[key][1] for key in ("exponent", "asymptote"))
        assert 1.48 <= multiple_by_law(3.4097, 3.5544, asymptote, exponent) <= 1.50


def test_every_check_has_its_verdict() -> None:
    status = {check.name: check.status for check in check_published()}
    assert status["data efficiency of simple, loss 3.4097"] == "agrees"
    told = {check.name: (check.published, check.computed) for check in check_published()}
    assert told["data efficiency of simple, loss 3.4097"] == ("1.48x", "1.49x to 1.49x")
    assert status["data efficiency of stitched, loss 3.376"] == "consistent by construction"
    assert status["data efficiency of latent_thoughts, loss 3.345"] == "consistent by construction"
    for method in ("real_only", "self_distilled", "simple"):
        assert status[f"asymptote of {method} over ensemble members"] == "agrees"
    for method in ("stitched", "latent_thoughts"):
        assert status[f"asymptote of {method} over ensemble members"] == "not available"
    assert status["asymptote of simple below real_only"] == "differs"


def test_every_group_of_values_names_its_source_and_mark() -> None:
    values = load_published()
    for name, group in values.items():
        if name in ("sources", "marks"):
            continue
        for item in group if isinstance(group, list) else [group]:
            assert item["source"] in values["sources"], name
            assert item["mark"] in values["marks"], name


@pytest.mark.parametrize(
    ("found", "status"),
    [((1.475, 1.505), "agrees"), ((1.4749, 1.49), "differs"), ((1.49, 1.5051), "differs")],
)
def test_a_multiplier_agrees_within_what_rounds_to_it(
    monkeypatch: pytest.MonkeyPatch, found: tuple[float, float], status: str
) -> None:
    monkeypatch.setattr(published, "_multiplier_range", lambda *_: found)
    told = {check.name: check.status for check in check_published()}
    assert told["data efficiency of simple, loss 3.4097"] == status
