"""What the answer says of the floor."""

import pytest

from megadocs.analysis import floor_sentences, headline_floor


def results(loss, models):
    return {
        "baseline": "real_only",
        "floor": {"order": 3, "set": "test", "num_targets": 10, "models": models},
        "sets": [{"losses": [{"arm": "real_only", "loss": loss}]}],
    }


REAL = {"text": "real", "num_tokens": 100, "num_all_tokens": 100, "loss": 5.0}
REPHRASED = {"text": "rephrase", "num_tokens": 300, "num_all_tokens": 300, "loss": 4.6}


def test_a_baseline_below_the_floor_takes_the_headline():
    found = results(5.72, [REAL, REPHRASED])
    assert headline_floor(found) == [
        "real_only is no better than a trigram model of the same text (5.720 nats against 5.000), so a multiplier "
        "below describes the baseline and not the synthetic text: tune it first (`tune: auto`, or megadocs search)."
    ]
    assert floor_sentences(found) == ["The trigram model with synthetic text added comes to 4.600 with rephrase rows."]


@pytest.mark.parametrize(
    ("searches", "remedy"),
    [
        ([{"arm": "simple", "certificate": {"kind": "optimum"}}], "tune it first (`tune: auto`, or megadocs search)."),
        ([{"arm": "real_only", "certificate": {"kind": "edge"}}], "tuning it on validation did not change that."),
        (
            [{"arm": "real_only", "certificate": {"kind": "incomplete"}}],
            "so give it more trials (`tune`, or megadocs search).",
        ),
        ([{"arm": "real_only", "certificate": None}], "so give it more trials (`tune`, or megadocs search)."),
    ],
)
def test_a_baseline_that_was_tuned_is_not_told_to_be_tuned_first(searches, remedy):
    (said,) = headline_floor(results(5.72, [REAL]) | {"searches": searches})
    assert said.endswith(remedy)


def test_a_better_baseline_says_by_how_much():
    assert floor_sentences(results(4.5, [REAL]))[0].startswith("real_only (4.500 nats) is 0.500 nats better than the")


def test_each_kind_of_rows_has_its_number():
    thoughts = {**REPHRASED, "text": "latent_thoughts", "loss": 4.8}
    assert floor_sentences(results(5.72, [REAL, REPHRASED, thoughts])) == [
        "The trigram model with synthetic text added comes to 4.600 with rephrase rows, 4.800 with latent "
        "thoughts rows."
    ]


def test_a_better_baseline_leaves_the_headline():
    assert headline_floor(results(4.5, [REAL])) == []


def test_a_baseline_as_good_as_the_floor_is_no_better():
    assert "no better than a trigram" in headline_floor(results(5.0, [REAL]))[0]
    assert floor_sentences(results(5.0, [REAL])) == []


@pytest.mark.parametrize("loss", ["NaN", "Infinity"])
def test_nothing_is_said_of_a_baseline_without_a_loss(loss):
    assert headline_floor(results(loss, [REAL])) == []
    assert floor_sentences(results(loss, [REAL])) == []


def test_a_cut_count_is_said():
    cut = {**REAL, "num_all_tokens": 1_000}
    assert "trigram model of the same text (of 100 tokens of it)" in floor_sentences(results(4.0, [cut]))[0]


def test_no_floor_no_sentence():
    assert floor_sentences({**results(5.0, [REAL]), "floor": None}) == []
