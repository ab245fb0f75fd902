"""What a user can get wrong: one message with place and remedy, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time

import pytest

RECIPE = """
name: bad
corpus: {source: "SOURCE", split: auto}
generate: {engine: {kind: fake}, rephrase: {num_generations: 2}}
arms: {real_only: {}, simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.75}}
"""


def megadocs(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "megadocs", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def refuse(tmp_path, source, *overrides, command="run"):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(RECIPE.replace("SOURCE", str(source)))
    workspace = tmp_path / "ws"
    options = () if command == "plan" else ("--jobs", 1)
    result = megadocs(command, recipe, *overrides, "--workspace", workspace, *options)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert not list(workspace.glob("*/*/record.json"))
    return result.stderr


def write_lines(path, count, **fields):
    path.write_text(
        "".join(json.dumps({"text": f"Document {i}. " + "word " * 40, **fields}) + "\n" for i in range(count))
    )
    return path


@pytest.mark.parametrize("command", ["run", "plan"])
def test_missing_source(tmp_path, command):
    message = refuse(tmp_path, tmp_path / "absent", command=command)
    assert str(tmp_path / "absent") in message


def test_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refuse(tmp_path, tmp_path / "empty")


def test_too_few_documents_says_how_many_are_missing(tmp_path):
    assert "18" in refuse(tmp_path, write_lines(tmp_path / "a.jsonl", 12))


def test_fewer_documents_than_asked(tmp_path):
    message = refuse(
        tmp_path, write_lines(tmp_path / "a.jsonl", 40), "corpus.split={train: 50, validation: 8, test: 8}"
    )
    assert "corpus.split=auto" in message or "smaller" in message


def test_wrong_field_names_the_fields_there_are(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"texts": f"Document {i}."}) + "\n" for i in range(40)))
    message = refuse(tmp_path, path)
    assert "texts" in message
    assert "corpus.text_field" in message


@pytest.mark.parametrize("damage", ["truncated gzip", "no parquet", "broken line"])
def test_unreadable_file_is_named(tmp_path, damage):
    if damage == "truncated gzip":
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(gzip.compress(b'{"text": "abc"}\n' * 1000)[:-20])
    elif damage == "no parquet":
        path = tmp_path / "a.parquet"
        path.write_bytes(b"PAR1 nothing PAR1")
    else:
        path = write_lines(tmp_path / "a.jsonl", 40)
        path.write_text('{"text": \n' * 40)
    assert path.name in refuse(tmp_path, path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.batch_sise=3", "batch_size"),
        ("train.learning_rate=-1", "train.learning_rate"),
        ("mixture.synthetic_fraction=2", "mixture.synthetic_fraction"),
        ("arms.simple.stream.ordering=stiched", "stitched"),
        ("arms.simple.stream.num_generations=5", "generate.rephrase.num_generations"),
        ("arms.simple.stream.ordering=latent_thoughts", "generate.thought"),
        ("arms.simple.stream.ordering=os:getcwd", "--allow-code"),
        ("generate.rephrase.style=wikipaedia", "wikipedia"),
    ],
)
def test_bad_recipe_values(tmp_path, override, expected):
    texts = write_lines(tmp_path / "a.jsonl", 40)
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(RECIPE.replace("SOURCE", str(texts)))
    result = megadocs("plan", recipe, override, "--workspace", tmp_path / "ws")
    assert result.returncode == 2, result.stderr
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_error_as_json(tmp_path):
    result = megadocs("plan", tmp_path / "absent.yaml", "--json")
    assert result.returncode == 2
    assert json.loads(result.stdout)["where"] == str(tmp_path / "absent.yaml")


def test_no_workspace(tmp_path):
    for verb in ("verify", "status"):
        result = megadocs(verb, tmp_path / "absent")
        assert result.returncode == 2
        assert "absent" in result.stderr


@pytest.mark.parametrize(("place", "code"), [("a file", 2), ("/proc/nowhere", 1)])
def test_workspace_that_cannot_be_one(tmp_path, place, code):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(RECIPE.replace("SOURCE", str(write_lines(tmp_path / "a.jsonl", 40))))
    workspace = write_lines(tmp_path / "file", 1) if place == "a file" else place
    result = megadocs("run", recipe, "--workspace", workspace, "--jobs", 1)
    assert result.returncode == code, result.stderr
    assert str(workspace) in result.stderr
    assert "Traceback" not in result.stderr


def test_help_answers_at_once():
    megadocs("--help")
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert megadocs("--help").returncode == 0
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5


def test_every_verb_has_help_with_an_example():
    listing = megadocs("--help").stdout
    from megadocs.cli import VERBS

    for verb in VERBS:
        assert f"  {verb} " in listing
        shown = megadocs(verb, "--help")
        assert shown.returncode == 0
        assert f"megadocs {verb}" in shown.stdout or "Commands:" in shown.stdout
