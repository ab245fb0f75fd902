"""The whole analysis on a made-up experiment whose truth is known."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from megadocs.analysis import analyze_experiment, dump_results, number_of, parse_results, scores_of_run
from megadocs.analysis.worth import MIN_DRAWS
from megadocs.errors import AnalysisError, InputError
from megadocs.recipe import AnalysisConfig

from .fixtures_experiment import QUICKSTART_ARMS, Experiment, make_experiment

CONFIG = AnalysisConfig(num_bootstrap=400)


def analyze(experiment: Experiment, **options: object) -> dict:
    return analyze_experiment(experiment.scores, experiment.runs, CONFIG, expected=experiment.expected, **options)


def row(rows: list, arm: str) -> dict:
    return next(item for item in rows if item["arm"] == arm)


@pytest.fixture(scope="module")
def results() -> dict:
    return analyze(make_experiment())


def test_losses_are_token_weighted_means_over_seeds(results: dict) -> None:
    experiment = make_experiment()
    tables = [t for t in experiment.scores if (t.arm, t.set_name, t.mode) == ("stitched", "test", "windowed")]
    by_hand = [t.sum_nll.sum() / t.num_tokens.sum() for t in tables]
    found = row(results["sets"][0]["losses"], "stitched")
    assert found["loss"] == pytest.approx(sum(by_hand) / 2, rel=1e-9)
    assert found["interval"][0] < found["loss"] < found["interval"][1]
    assert found["seed_sd"] == pytest.approx(abs(by_hand[0] - by_hand[1]) / math.sqrt(2))  # of two seeds
    bits = [t.sum_nll.sum() / t.num_bytes.sum() / math.log(2) for t in tables]
    assert found["bits_per_byte"] == pytest.approx(sum(bits) / 2, rel=1e-9)


def test_large_differences_are_separated_and_equal_arms_are_not(results: dict) -> None:
    block = results["sets"][0]
    assert [item["verdict"] for item in block["differences"]] == ["separated"] * 5
    verdicts = {(item["arm"], item["reference"]): item["verdict"] for item in block["pairs"]}
    assert verdicts == {
        ("simple", "stitched"): "not separated",
        ("simple", "latent_thoughts"): "separated",
        ("stitched", "latent_thoughts"): "separated",
    }
    assert row(block["differences"], "simple")["seed_method"] == "pooled"
    assert block["seed_degrees"] == 5  # (6 arms - 1) * (2 seeds - 1)


def test_multiplier_agrees_with_interpolation_by_hand(results: dict) -> None:
    block = results["sets"][0]
    points = {point["arm"]: point["loss"] for point in block["curve"]}
    loss = row(block["losses"], "simple")["loss"]
    share = (points["real_2x"] - loss) / (points["real_2x"] - points["real_4x"])
    found = row(block["data_efficiency"], "simple")
    assert found["estimate"]["value"] == pytest.approx(2 * 2**share, rel=1e-6)
    assert found["lower"]["value"] < found["estimate"]["value"] < found["upper"]["value"]


def test_past_the_curve_there_is_a_bound_never_a_number() -> None:
    arms = {**QUICKSTART_ARMS, "simple": (4.2, 1, 31_000, 8.0), "stitched": (6.9, 1, 31_000, 8.0)}
    results = analyze(make_experiment(arms))
    efficiency = results["sets"][0]["data_efficiency"]
    assert row(efficiency, "simple")["estimate"] == {"value": 4.0, "relation": "more than"}
    assert row(efficiency, "stitched")["estimate"] == {"value": 1.0, "relation": "less than"}
    assert "more than 4.00x (whole interval) the real data with simple" in results["answer"][0]


def test_answer_names_worth_ties_and_cost(results: dict) -> None:
    answer = " ".join(results["answer"])
    assert results["answer"][0].startswith("Synthetic text was worth ")
    assert "simple and stitched are not separated" in results["answer"][0]
    assert "2 seeds per arm" in answer
    assert "Trained on more tokens than real_only" in answer


def test_one_seed_never_separates() -> None:
    results = analyze(make_experiment(seeds=(0,)))
    for difference in results["sets"][0]["differences"]:
        assert difference["verdict"] == "not separated"
        assert difference["reason"] == "seed noise is not measured: one seed"
    assert "seed noise was not measured" in " ".join(results["answer"])


def test_seed_noise_is_pooled_unless_the_recipe_asks_for_each_pairs_own() -> None:
    experiment = make_experiment(seeds=(0, 1, 2))
    pooled = row(analyze(experiment)["sets"][0]["differences"], "simple")
    assert pooled["seed_method"] == "pooled"
    config = AnalysisConfig(seed_variance="own")
    results = analyze_experiment(experiment.scores, experiment.runs, config, expected=experiment.expected)
    own = row(results["sets"][0]["differences"], "simple")
    assert own["seed_method"] == "own"
    spread = own["seed_differences"]
    mean = sum(spread) / 3
    variance = sum((value - mean) ** 2 for value in spread) / 2 / 3
    assert own["seed_se"] == pytest.approx(math.sqrt(variance), rel=1e-6)


def test_missing_runs_are_named_and_change_nothing_else() -> None:
    whole = make_experiment()
    gone = ("latent_thoughts", 1)
    part = Experiment(
        [t for t in whole.scores if (t.arm, t.seed) != gone],
        [r for r in whole.runs if (r.arm, r.seed) != gone],
        whole.expected,
    )
    results = analyze(part)
    assert results["missing"] == [{"arm": "latent_thoughts", "seed": 1, "reason": "no finished run"}]
    assert "1 run is missing" in results["answer"][-1]
    before, after = (row(r["sets"][0]["losses"], "stitched") for r in (analyze(whole), results))
    intervals = before.pop("interval"), after.pop("interval")  # seed noise is pooled over the runs that there are
    assert before == after
    assert intervals[0] == pytest.approx(intervals[1], abs=0.02)


def test_nan_stays_nan() -> None:
    experiment = make_experiment()
    broken = [
        dataclasses.replace(t, sum_nll=t.sum_nll * math.nan) if (t.arm, t.seed) == ("simple", 1) else t
        for t in experiment.scores
    ]
    results = analyze(Experiment(broken, experiment.runs, experiment.expected))
    assert row(results["sets"][0]["losses"], "simple")["loss"] == "NaN"
    difference = row(results["sets"][0]["differences"], "simple")
    assert (difference["difference"], difference["verdict"]) == ("NaN", "not separated")
    assert row(results["sets"][0]["data_efficiency"], "simple")["estimate"] is None
    assert row(results["sets"][0]["differences"], "stitched")["verdict"] == "separated"
    json.loads(dump_results(results), parse_constant=pytest.fail)
    assert math.isnan(number_of("NaN"))


def test_another_tokenizer_is_left_out_and_named() -> None:
    experiment = make_experiment()
    other = [
        dataclasses.replace(t, num_tokens=t.num_tokens + 1) if (t.arm, t.seed) == ("stitched", 0) else t
        for t in experiment.scores
    ]
    results = analyze(Experiment(other, experiment.runs, experiment.expected))
    assert len(results["missing"]) == 4
    assert "another tokenizer" in results["missing"][0]["reason"]


def test_a_curve_that_does_not_fall_gives_no_multiplier() -> None:
    arms = {**QUICKSTART_ARMS, "real_2x": (6.6, 2, 0, 8.0)}
    results = analyze(make_experiment(arms))
    assert results["sets"][0]["data_efficiency"] == []
    assert "does not fall" in results["sets"][0]["no_data_efficiency"]
    assert "not known" in results["answer"][0]


def test_results_do_not_depend_on_the_order_of_the_input(results: dict) -> None:
    experiment = make_experiment()
    shuffled = Experiment(experiment.scores[::-1], experiment.runs[::-1], experiment.expected)
    assert dump_results(analyze(shuffled)) == dump_results(results)
    assert parse_results(dump_results(results), "results.json") == results


def test_groups_widen_the_interval_when_documents_of_a_source_are_alike() -> None:
    experiment = make_experiment(num_documents=100)
    ten = {f"{name}-{i:04d}": str(i % 10) for name in ("test", "validation") for i in range(100)}
    tables = []
    for table in experiment.scores:
        shift = [0.5 * (int(ten[d]) - 4.5) for d in table.document_ids]
        tables.append(dataclasses.replace(table, sum_nll=table.sum_nll + shift * table.num_tokens))
    alike = Experiment(tables, experiment.runs, experiment.expected)
    single = row(analyze(alike)["sets"][0]["losses"], "simple")["interval"]
    grouped = row(analyze(alike, groups=ten)["sets"][0]["losses"], "simple")["interval"]
    assert grouped[1] - grouped[0] > 1.5 * (single[1] - single[0])


def test_errors_say_what_is_wrong() -> None:
    experiment = make_experiment()
    with pytest.raises(AnalysisError, match="no scores"):
        analyze_experiment([], experiment.runs, CONFIG)
    with pytest.raises(AnalysisError, match="no run facts"):
        analyze_experiment(experiment.scores, experiment.runs[1:], CONFIG)
    with pytest.raises(AnalysisError, match="score columns missing: mode"):
        scores_of_run("a", 0, {"set": [], "document_id": [], "num_tokens": [], "num_bytes": [], "sum_nll": []})
    with pytest.raises(InputError, match="not JSON"):
        parse_results(b"{", "results.json")
    with pytest.raises(InputError, match="schema"):
        parse_results(b'{"schema": "megadocs.results", "schema_version": 99}', "results.json")


def test_controls_are_not_synthetic_text_in_the_answer() -> None:
    arms = {"real_only": (6.4, 1, 0, 8.0), "real_2x": (5.9, 2, 0, 8.0), "real_4x": (5.0, 4, 0, 8.0)}
    arms |= {"simple": (5.6, 1, 30_000, 8.0), "repeat": (6.2, 1, 30_000, 8.0)}
    made = make_experiment(arms)
    answer = analyze_experiment(made.scores, made.runs, AnalysisConfig(num_bootstrap=100))["answer"]
    assert "repeat" not in answer[0]
    assert answer[0].startswith("Synthetic text was worth")
    controls = next(sentence for sentence in answer if sentence.startswith("Controls came to 1."))
    assert controls.endswith("with repeat.")


def gated(*, control: float) -> dict:
    arms = {"real_only": (6.4, 1, 0, 8.0), "real_2x": (5.9, 2, 0, 8.0), "real_4x": (5.0, 4, 0, 8.0)}
    arms |= dict.fromkeys(("simple", "stitched"), (5.6, 1, 30000, 8.0))
    return analyze(make_experiment(arms | {"shuffled_words": (control, 1, 30_000, 8.0)}, seeds=(0, 1, 2)))


def test_text_that_does_not_beat_its_control_is_not_the_answer() -> None:
    results = gated(control=5.6)
    assert results["sets"][0]["null_controls"] == ["shuffled_words"]
    assert not any(row["beats"] for row in results["sets"][0]["controls"])
    assert results["answer"][0].startswith(
        "No synthetic arm was shown to beat text without meaning, the control shuffled_words: synthetic text was worth "
    )


def test_text_that_beats_its_control_is_the_answer() -> None:
    results = gated(control=6.3)
    assert all(row["beats"] for row in results["sets"][0]["controls"])
    assert results["answer"][0].startswith("Synthetic text was worth")
    assert not any("without meaning" in sentence for sentence in results["answer"])


def test_an_arm_behind_the_control_is_named_and_not_in_the_first_sentence() -> None:
    arms = {"real_only": (6.4, 1, 0, 8.0), "real_2x": (5.9, 2, 0, 8.0), "real_4x": (5.0, 4, 0, 8.0)}
    arms |= {
        "simple": (5.3, 1, 30_000, 8.0),
        "stitched": (5.8, 1, 30_000, 8.0),
        "shuffled_words": (5.6, 1, 30_000, 8.0),
    }
    results = analyze(make_experiment(arms, seeds=(0, 1, 2)))
    assert "stitched" not in results["answer"][0].partition(";")[0]
    assert "stitched was not shown to beat the control shuffled_words." in results["answer"]


def test_without_a_control_the_answer_says_so(results: dict) -> None:
    assert any(sentence.startswith("No control without meaning was trained") for sentence in results["answer"])


def test_equal_arms_are_called_equal_only_where_that_is_shown() -> None:
    """The fixture's noise leaves 0.02 nats open at two seeds; with a tenth of it, eight seeds close it."""
    wide = analyze(make_experiment())["answer"]
    assert not any(sentence.startswith("Shown to be equal") for sentence in wide)
    arms = {"real_only": (6.4, 1, 0, 8.0), "real_2x": (5.9, 2, 0, 8.0)}
    arms |= dict.fromkeys(("simple", "stitched"), (6.1, 1, 30000, 8.0))
    made = make_experiment(arms, seeds=tuple(range(8)), seed_sd=0.001, interaction_sd=0.005)
    assert "Shown to be equal within 0.02 nats: simple and stitched." in analyze(made)["answer"]


def test_among_many_arms_ties_with_the_best_are_named() -> None:
    arms = {"real_only": (6.4, 1, 0, 8.0), "real_2x": (5.9, 2, 0, 8.0), "real_4x": (5.0, 4, 0, 8.0)}
    arms |= {
        name: (5.5 + loss, 1, 30_000, 8.0) for name, loss in zip("abcde", (0.0, 0.001, 0.2, 0.2, 0.2), strict=True)
    }
    made = make_experiment(arms, seeds=(0, 1, 2))
    answer = analyze_experiment(made.scores, made.runs, AnalysisConfig(num_bootstrap=100))["answer"]
    first, second = ("a", "b") if " with a, " in answer[0] else ("b", "a")
    assert answer[0].endswith(f" with {first}, the best of 5 arms; {first} is not separated from {second}.")
    assert answer[1].startswith("The others: ")
    assert all(arm in answer[1] for arm in (second, "c", "d", "e"))


def test_arms_that_lost_are_named_with_their_interval() -> None:
    arms = {**QUICKSTART_ARMS, "latent_thoughts": (6.9, 1, 24_000, 8.0)}
    answer = analyze(make_experiment(arms, seeds=(0, 1, 2)))["answer"]
    (sentence,) = [text for text in answer if text.startswith("Worse than real_only: latent_thoughts (+0.4")]
    assert " nats [+0." in sentence
    assert not any(text.startswith("Worse") for text in analyze(make_experiment())["answer"])


@pytest.mark.parametrize("asked", [100, 20_000])
def test_the_draws_that_are_reported_are_those_that_were_taken(asked: int) -> None:
    made = make_experiment(num_documents=20, sets=("test",))
    found = analyze_experiment(made.scores, made.runs, AnalysisConfig(num_bootstrap=asked))
    assert found["num_bootstrap"] == max(asked, MIN_DRAWS)


def test_an_arm_of_one_run_has_no_interval_where_it_may_borrow_no_noise() -> None:
    made = make_experiment(num_documents=40, sets=("test",), seeds=(0, 1, 2))
    lone = [table for table in made.scores if table.arm != "stitched" or table.seed == 0]
    runs = [run for run in made.runs if run.arm != "stitched" or run.seed == 0]
    pooled = analyze_experiment(lone, runs, AnalysisConfig())["sets"][0]
    assert row(pooled["data_efficiency"], "stitched")["lower"] is not None
    own = analyze_experiment(lone, runs, AnalysisConfig(seed_variance="own"))["sets"][0]
    assert row(own["data_efficiency"], "stitched")["lower"] is None
    assert row(own["data_efficiency"], "simple")["lower"] is not None
    (pair,) = [pair for pair in own["pairs"] if {pair["arm"], pair["reference"]} == {"simple", "stitched"}]
    assert pair["seed_method"] == "not measured"
    assert pair["verdict"] == "not separated"
    assert pair["reason"]
