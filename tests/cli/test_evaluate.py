"""`megadocs evaluate`: what it wants to be told, before anything is loaded."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from megadocs.cli import build_app
from megadocs.cli.console import print_json
from megadocs.cli.evaluate import print_result
from megadocs.errors import InputError, UsageError

MODEL = {"source": "m", "weights": "ab", "dtype": "float32", "begins_with_bos": True}


def evaluate(*arguments):
    result = CliRunner().invoke(build_app(["evaluate"]), ["evaluate", *arguments])
    if result.exception is not None:
        raise result.exception
    return result


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "name a RECIPE, or models"),
        (["--benchmarks", "piqa"], "name a RECIPE, or models"),
        (["--model", "m"], "nothing to score on"),
        (["--model", "m", "--set", "mine"], "not NAME=SOURCE"),
        (["--model", "m", "--set", "=a/"], "not NAME=SOURCE"),
        (["--model", "m", "--set", "a=b/", "--set", "a=c/"], "'a' is named twice"),
        (["--model", "m", "--benchmark-data", "piqa=a.jsonl"], "which --benchmarks does not"),
    ],
)
def test_what_is_missing_is_said(arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        evaluate(*arguments)


def test_cut_prompts_stand_beside_the_accuracy(capsys):
    row = {"task": "piqa", "split": "local", "num_items": 3, "num_truncated": 2, "metric": "acc", "acc": 1.0}
    row |= {"acc_stderr": 0.0, "acc_norm": None, "acc_norm_stderr": None, "average": {"kind": "logits", "members": [0]}}
    print_result({"models": [MODEL], "losses": {}, "benchmarks": [row]})
    printed = capsys.readouterr().out
    assert "piqa (local, 3 items, 2 prompts cut to the context): acc 1.000 +- 0.000, acc_norm not a number" in printed


def test_numbers_that_are_not_numbers_print_as_words(capsys):
    result = {"losses": {"x": {"nats_per_token": float("nan"), "sizes": [{"loss": float("inf")}, (1.5, None)]}}}
    print_json(result)
    assert json.loads(capsys.readouterr().out) == {
        "losses": {"x": {"nats_per_token": "NaN", "sizes": [{"loss": "Infinity"}, [1.5, None]]}}
    }


def test_a_model_whose_losses_are_not_numbers_is_printed_as_such(capsys):
    entry = {"num_documents": 1, "num_tokens": 3, "bits_per_byte": "NaN"}
    size = {"average": "logits", "num_members": 1, "nats_per_token": "NaN"}
    losses = {"x alone": entry | {"sizes": [size]}}
    print_result({"models": [MODEL], "losses": losses, "benchmarks": []})
    assert "x per document: nan nats per token, nan bits per byte" in capsys.readouterr().out


def test_what_is_no_results_file_is_refused(tmp_path):
    (tmp_path / "results.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="not a results file"):
        CliRunner().invoke(build_app(["analyze"]), ["analyze", str(tmp_path)], catch_exceptions=False)


@pytest.mark.parametrize("part", ["answer", "warnings", "sets"])
def test_results_without_a_part_are_refused(tmp_path, part):
    results = {"schema": "megadocs.results", "schema_version": 1}
    results |= {name: [] for name in ("answer", "warnings", "sets", "arms", "runs") if name != part}
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=f"the results lack '{part}'") as error:
        CliRunner().invoke(build_app(["analyze"]), ["analyze", str(tmp_path)], catch_exceptions=False)
    assert error.value.where == str(tmp_path / "results.json")
    assert "megadocs report" in str(error.value.remedy)
