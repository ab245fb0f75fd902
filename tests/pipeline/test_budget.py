"""What a budget buys, and the budget that buys nothing."""

from __future__ import annotations

import re

import pytest

from megadocs.errors import UsageError
from megadocs.pipeline.budget import choose_within
from megadocs.pipeline.price.plan import build_plan
from megadocs.recipe import load_recipe
from pipeline.corpora import write_texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return str(write_texts(tmp_path_factory.mktemp("many") / "texts", 400))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEGADOCS_CACHE_DIR", str(tmp_path / "cache"))


def test_more_time_never_buys_less(texts, tmp_path):
    bought = [choose_within(texts, tmp_path / "mine", hours * 3600, 2) for hours in (0.3, 4, 400)]
    sizes = [
        (
            choice.overrides["corpus.limit"],
            choice.overrides["generate.rephrase.num_generations"],
            choice.has_thoughts,
            choice.overrides["tune"]["max_runs"],
        )
        for choice in bought
    ]
    assert [size[:3] for size in sizes] == sorted(size[:3] for size in sizes)
    assert sizes[0] < sizes[-1]
    assert sizes[-1][1:] == (8, True, 36)


def test_a_budget_that_cannot_conclude_is_refused_with_what_it_needs(texts, tmp_path):
    with pytest.raises(UsageError, match="cannot conclude at this budget: it needs about") as caught:
        choose_within(texts, tmp_path / "mine", 5, 2)
    minutes = int(re.search(r"--budget (\d+)m", caught.value.remedy)[1])
    choose_within(texts, tmp_path / "mine", minutes * 60, 2)  # what the remedy names is enough


def test_the_price_is_that_of_the_plan_at_the_most_passes(texts, tmp_path):
    choice = choose_within(texts, tmp_path / "mine", 3600, 2)
    settings = [f"{key}={value}" for key, value in choice.overrides.items() if key != "tune"]
    plan = build_plan(load_recipe("own", [*settings, "tune=off", "train.real_epochs=32"]), tmp_path / "mine", 2)
    assert plan.seconds < choice.seconds <= 3600
