"""What is missing is said (exit code 3) with what opens it again, and is opened by it: run, retry, another recipe."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.command import Command
from megadocs.generate.accounting import OPENED_BY
from megadocs.generate.ledger import load_index, segment_paths

OPTIONS = "generate.engine.options="


def num_records(workspace: Path, task: str = "rephrase") -> int:
    return len(load_index(workspace / "ledger" / task))


@pytest.mark.parametrize(
    ("state", "recipe"),
    [
        ("rejected", [OPTIONS + '{odd: "empty:1.0"}']),
        ("skipped", ["generate.long_documents=skip", "generate.engine.context_tokens=400"]),
    ],
)
def test_every_state_is_explained_and_opens_by_what_is_named(
    megadocs: Command, base: Path, tmp_path: Path, state: str, recipe: list[str]
) -> None:
    workspace = ("--workspace", tmp_path / "w")
    long = [
        line.replace(" number", " more" * 500 + " number")
        for line in (tmp_path / "in" / "a.jsonl").read_text().splitlines()
    ]
    if state == "skipped":
        (tmp_path / "in" / "a.jsonl").write_text("\n".join(long) + "\n")
    for _ in range(2):  # the second run finds everything published, and says the same
        found = megadocs("generate", "run", base, *recipe, *workspace)
        assert found.code == 3
        assert f"8 of 8 generations are missing: 8 {state}" in found.stderr
        assert OPENED_BY[state] in found.stderr
    for command in (("generate", "export"), ("rows",)):
        assert megadocs(*command, base, *recipe, *workspace).code == 3
    rows = megadocs("rows", base, *recipe, *workspace)
    assert f"there are no rows to build: 8 of 8 generations are missing: 8 {state}" in rows.stderr
    # The reason is gone: a reply would be good now.
    mended = {
        "failed": [OPTIONS + "{latency_seconds: 0.001}"],
        "rejected": [],
        "skipped": ["generate.long_documents=skip"],
    }
    if state == "rejected":  # the same recipe: only asking again helps, and what was built on them is made anew
        retried = megadocs("generate", "retry", base, *mended[state], *workspace)
        assert retried.code == 0, retried.text
        assert "8 ok of 8" in retried.stderr
    again = megadocs("generate", "run", base, *mended[state], *workspace)
    assert again.code == 0, again.text
    assert megadocs("generate", "export", base, *mended[state], *workspace).code == 0
    assert megadocs("rows", base, *mended[state], *workspace).code == 0


def test_retry_takes_a_class_and_explains_what_it_cannot_open(megadocs: Command, base: Path, tmp_path: Path) -> None:
    workspace = ("--workspace", tmp_path / "w")
    odd = [OPTIONS + '{broken: 0.4, odd: "filtered:0.4"}', "generate.rephrase.num_generations=3"]
    assert megadocs("generate", "run", base, *odd, *workspace).code == 3
    for only, words in (("skipped", "context_tokens"), ("nonsense", "use one of")):
        refused = megadocs("generate", "retry", base, *odd, "--only", only, *workspace)
        assert refused.code == 2
        assert words in refused.stderr
    nothing = megadocs("generate", "retry", base, *odd, "--only", "timeout", *workspace)
    assert "no generation is timeout" in nothing.stderr
    assert nothing.code == 3  # some are missing all the same
    before = num_records(tmp_path / "w")
    for _ in range(6):
        megadocs("generate", "retry", base, *odd, "--only", "failed", "--only", "filtered", *workspace)
    assert num_records(tmp_path / "w") == before
    assert megadocs("generate", "run", base, *odd, *workspace).code in (0, 3)


def test_a_policy_changed_later_applies_to_what_is_there(megadocs: Command, base: Path, tmp_path: Path) -> None:
    workspace = ("--workspace", tmp_path / "w")
    echo = OPTIONS + '{odd: "echo:1.0"}'
    assert megadocs("generate", "run", base, echo, *workspace).code == 0
    strict = megadocs("generate", "run", base, echo, "generate.gates.echo=reject", *workspace)
    assert strict.code == 3
    assert "8 rejected (echo 8)" in strict.stderr
    assert megadocs("generate", "export", base, echo, *workspace).code == 0


def test_every_task_that_the_recipe_names_is_written(megadocs: Command, base: Path, tmp_path: Path) -> None:
    """Tasks that no arm uses, and more generations than an arm uses: run, status and export mean the same ones."""
    workspace = ("--workspace", tmp_path / "w")
    more = [
        "generate.thought={num_generations: 4, max_new_tokens: 32}",
        "generate.rephrase.num_generations=3",
        "arms.simple.stream.num_generations=2",
    ]
    assert megadocs("generate", "run", base, *more, *workspace).code == 0
    assert (num_records(tmp_path / "w"), num_records(tmp_path / "w", "thought")) == (24, 32)
    status = megadocs("generate", "status", base, *more, *workspace)
    assert status.stdout.count("+ 0 pending") == 2
    assert megadocs("generate", "export", base, *more, *workspace).code == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "file"])
def test_a_damaged_ledger_is_found_and_made_whole(megadocs: Command, base: Path, tmp_path: Path, damage: str) -> None:
    workspace = tmp_path / "w"
    more = ["generate.rephrase.num_generations=3"]
    assert megadocs("generate", "run", base, *more, "--workspace", workspace).code == 0
    assert megadocs("verify", workspace).code == 0
    before = {path.name: path.read_bytes() for path in (workspace / "generate").glob("*/generations.parquet")}
    path = segment_paths(workspace / "ledger" / "rephrase")[0]
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-20])
    else:
        path.unlink()
    assert megadocs("verify", workspace).code == 1
    exported = megadocs("generate", "export", base, *more, "--workspace", workspace)
    assert exported.code == 3
    assert "pending: `megadocs generate run RECIPE`" in exported.stderr
    # An engine that fails every request: what was published is taken back, not asked for again.
    mended = megadocs("generate", "run", base, *more, "--workspace", workspace)
    assert mended.code == 0
    assert "taken back from generate/" in mended.stderr
    assert megadocs("verify", workspace).code == 0
    assert megadocs("generate", "export", base, *more, "--workspace", workspace).code == 0
    assert {p.name: p.read_bytes() for p in (workspace / "generate").glob("*/generations.parquet")} == before
    assert not (workspace / "superseded").exists()


def test_what_is_in_the_workspace_outlives_its_source(megadocs: Command, base: Path, tmp_path: Path) -> None:
    workspace = ("--workspace", tmp_path / "w")
    assert megadocs("rows", base, *workspace).code == 0
    shutil.move(tmp_path / "in", tmp_path / "elsewhere")
    assert megadocs("generate", "export", base, *workspace).code == 0
    assert "8 ok" in megadocs("generate", "status", base, *workspace).stdout
    assert megadocs("streams", "export", base, "--arm", "simple", "--output", tmp_path / "out", *workspace).code == 0
    assert megadocs("streams", "show", base, *workspace).code == 0
    status = megadocs("status", tmp_path / "w")
    assert "from the workspace; its source cannot be read" in status.stdout
    assert "0 steps done" in megadocs("rows", base, *workspace).stderr
    other = megadocs("rows", base, "corpus.seed=7", *workspace)  # no corpus of these settings is there
    assert (other.code, "no such file" in other.stderr) == (2, True)
