"""The whole chain with the fake engine, as a user runs it: a process, its exit code, its workspace."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.corpora import write_recipe, write_texts


def megadocs(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "megadocs", *map(str, arguments)], capture_output=True, text=True, check=False, **kwargs
    )


def run(recipe, workspace, *overrides):
    return megadocs("run", recipe, *overrides, "--workspace", workspace, "--jobs", 2)


def results_of(workspace):
    return json.loads((workspace / "results.json").read_text())


def summaries(workspace, step):
    return [json.loads(path.read_text())["summary"] for path in sorted(workspace.glob(f"{step}/*/record.json"))]


@pytest.fixture(scope="session")
def original(tmp_path_factory, split_tokenizer):
    """A finished run: recipe, workspace, what it printed. Not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(root / "toy.yaml", write_texts(root / "texts", 40), split_tokenizer)
    done = run(recipe, root / "ws")
    assert done.returncode == 0, done.stderr
    return recipe, root / "ws", done


@pytest.fixture
def finished(original, tmp_path):
    """A copy of the finished run."""
    recipe, workspace, done = original
    return recipe, Path(shutil.copytree(workspace, tmp_path / "ws")), done


def test_run_reports_verifies_and_reuses(finished):
    recipe, workspace, done = finished
    assert "Synthetic text was" in done.stderr
    assert "arm real_4x was left out: needs 48 training documents, the corpus has 24" in done.stderr
    results = results_of(workspace)
    assert {arm["arm"] for arm in results["arms"]} == {"real_only", "real_2x", "simple", "stitched", "latent_thoughts"}
    verified = megadocs("verify", workspace, "--json")
    assert verified.returncode == 0
    assert json.loads(verified.stdout)["problems"] == []

    before = (workspace / "report.html").read_bytes()
    again = run(recipe, workspace)
    assert "0 steps done" in again.stderr
    assert (workspace / "report.html").read_bytes() == before
    assert json.loads(megadocs("status", workspace, "--json").stdout)["counts"]["train"] == 10


def test_the_floor_counts_the_real_rows_and_each_kind_of_synthetic_ones(finished):
    _, workspace, _ = finished
    results = results_of(workspace)
    real, *others = results["floor"]["models"]
    facts = {arm["arm"]: arm for arm in results["arms"]}
    assert real["text"] == "real"
    assert real["num_tokens"] == facts["real_only"]["real_tokens"]
    assert {row["text"] for row in others} == {"rephrase", "latent_thoughts"}
    assert all(row["num_tokens"] > real["num_tokens"] for row in others)
    headline = results["sets"][0]
    assert results["floor"]["num_targets"] == headline["num_tokens"]
    assert any("trigram model of the same text" in sentence for sentence in results["answer"])


def test_token_accounting_adds_up(finished):
    _, workspace, _ = finished
    for books in (summary["accounting"] for summary in summaries(workspace, "generate")):
        assert books["requested"] == 24
        assert books["requested"] == books["ok"] + books["rejected"] + books["failed"] + books["skipped"]
    for record in sorted(workspace.glob("rows/*/rows.json")):
        rows = json.loads(record.read_text())
        assert rows["num_tokens"] == sum(segment["num_tokens"] for segment in rows["segments"])
    for summary in summaries(workspace, "train"):
        assert summary["num_tokens"] == summary["num_steps"] * 4 * 64
        assert sum(stream["num_windows_trained"] for stream in summary["streams"]) == summary["num_steps"] * 4
        for stream in summary["streams"]:
            assert stream["num_tokens"] == stream["num_windows"] * 64 + stream["num_dropped_tokens"]


def test_the_plan_of_an_empty_workspace_has_the_steps_that_are_trained(finished, tmp_path):
    """The corpus is small enough for the plan to make the tokenizer and to count: nothing is estimated but replies."""
    recipe, workspace, _ = finished
    lines = json.loads(megadocs("plan", recipe, "--workspace", tmp_path / "empty", "--json").stdout)["lines"]
    planned = {line["fingerprint"]: line["num_steps"] for line in lines if line["kind"] == "train"}
    records = {path.parent.name: json.loads(path.read_text()) for path in workspace.glob("train/*/record.json")}
    assert planned == {name: record["summary"]["num_steps"] for name, record in records.items()}
    assert len(planned) == 10
    assert not (tmp_path / "empty").exists()


def test_more_generations_leave_finished_runs_valid(finished):
    recipe, workspace, _ = finished
    grown = run(
        recipe,
        workspace,
        "generate.rephrase.num_generations=3",
        "arms.g2={stream.ordering: simple, stream.num_generations: 2, mixture.synthetic_fraction: 0.75}",
        "arms.g3={stream.ordering: simple, stream.num_generations: 3, mixture.synthetic_fraction: 0.75}",
        "arms.simple={stream.ordering: simple, stream.num_generations: 2, mixture.synthetic_fraction: 0.75}",
        "arms.stitched={stream.ordering: stitched, stream.num_generations: 2, mixture.synthetic_fraction: 0.75}",
    )
    assert grown.returncode == 0, grown.stderr
    trained = [line for line in grown.stderr.splitlines() if ": done" in line and " train " in line]
    assert len(trained) == 2  # g3 with two seeds; the other arms are the runs that were there
    sent = [summary["accounting"]["num_sent"] for summary in summaries(workspace, "generate")]
    assert sorted(sent) == [12, 24, 24]  # the third generation alone was written


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_goes_on_to_the_same_results(finished, tmp_path, number):
    recipe, workspace, _ = finished
    other = tmp_path / "interrupted"
    process = start(recipe, other)
    wait_for(lambda: list(other.glob("train/*/record.json")), process)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert not list(other.glob("report/*/record.json"))
    assert run(recipe, other).returncode == 0
    assert results_of(other)["sets"] == results_of(workspace)["sets"]


def test_killed_run_goes_on_to_the_same_results(finished, tmp_path):
    recipe, workspace, _ = finished
    other, draw = tmp_path / "killed", random.Random(0)
    for _ in range(5):
        process = start(recipe, other)
        time.sleep(draw.uniform(0.5, 3.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert run(recipe, other).returncode == 0
    assert results_of(other)["sets"] == results_of(workspace)["sets"]
    assert megadocs("verify", other).returncode == 0


def test_two_runs_share_the_work(toy_recipe, tmp_path):
    workspace = tmp_path / "shared"
    processes = [start(toy_recipe, workspace) for _ in range(2)]
    assert [process.wait(240) for process in processes] == [0, 0]
    assert megadocs("verify", workspace).returncode == 0
    assert all(summary["accounting"]["pending"] == 0 for summary in summaries(workspace, "generate"))


def test_damaged_segment_is_named(finished):
    recipe, workspace, _ = finished
    tokens = sorted(workspace.glob("segments/*/tokens.bin"))[0]
    data = bytearray(tokens.read_bytes())
    data[7] ^= 1
    tokens.chmod(0o644)
    tokens.write_bytes(data)
    verified = megadocs("verify", workspace)
    assert verified.returncode == 1
    assert str(tokens) in verified.stderr
    refused = run(recipe, workspace, "seeds=[0, 1, 2]")
    assert refused.returncode == 1
    assert tokens.parent.name in refused.stderr
    assert "Traceback" not in refused.stderr


def start(recipe, workspace):
    return subprocess.Popen(
        [sys.executable, "-m", "megadocs", "run", str(recipe), "--workspace", str(workspace), "--jobs", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(condition, process, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_verbs_that_read_a_finished_workspace(finished, tmp_path):
    recipe, workspace, _ = finished
    books = json.loads(megadocs("generate", "status", recipe, "--workspace", workspace, "--json").stdout)
    assert [(entry["task"], entry["ok"], entry["pending"]) for entry in books] == [
        ("rephrase", 24, 0),
        ("thought", 24, 0),
    ]
    exported = megadocs("generate", "export", recipe, "--workspace", workspace, "--output", tmp_path / "out")
    assert exported.returncode == 0
    published = {
        table["kind"][0].as_py(): table for table in map(pq.read_table, workspace.glob("generate/*/*.parquet"))
    }
    for path in (tmp_path / "out").glob("*.parquet"):
        table = pq.read_table(path)
        assert table.drop_columns("reason").equals(published[table["kind"][0].as_py()])
    audit = json.loads(megadocs("generate", "audit", recipe, "--workspace", workspace, "--json").stdout)
    assert set(audit["overlap"]) == {"validation", "test"}
    shown = json.loads(megadocs("streams", "show", recipe, "--workspace", workspace, "--json").stdout)
    tokens = {(stream["arm"], stream["facts"]["name"]): stream["facts"]["num_tokens"] for stream in shown}
    assert tokens["simple", "simple"] == tokens["stitched", "stitched"]  # the same rows in another order
    runs = sorted(workspace.glob("train/*"))[:2]
    compared = json.loads(megadocs("compare", *runs, "--json").stdout)
    assert {row["set_name"] for row in compared["sets"]} == {"validation", "test"}
    assert megadocs("analyze", workspace, "--tables", tmp_path / "tables").returncode == 0
    assert (tmp_path / "tables" / "losses.csv").is_file()


def test_an_export_without_a_damaged_record_is_no_success(finished):
    recipe, workspace, _ = finished
    log = next((workspace / "ledger" / "rephrase").glob("*.log"))
    raw = bytearray(log.read_bytes())
    raw[len(raw) // 2] ^= 1
    log.write_bytes(raw)
    exported = megadocs("generate", "export", recipe, "--workspace", workspace, "--json")
    assert exported.returncode == 3
    lines = exported.stderr.splitlines()
    assert lines[0].endswith("rephrase.parquet: 23 of 24 generations with a text")
    assert lines[1] == "  1 pending: `megadocs generate run RECIPE`"
    counts = json.loads(exported.stdout)
    assert [counts[task]["exported"] for task in ("rephrase", "thought")] == [23, 24]


def test_a_reader_that_goes_is_no_failure_of_ours(finished):
    recipe, workspace, _ = finished
    command = [sys.executable, "-m", "megadocs", "streams", "show", recipe, "--workspace", workspace]
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        shown = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (141, "")


def test_failed_generations_are_counted_retried_and_their_users_set_aside(toy_recipe, tmp_path):
    workspace = tmp_path / "failing"
    common = ("stream.max_missing_fraction=1", "seeds=[0]")
    done = run(toy_recipe, workspace, *common, "generate.engine.options={broken: 0.2}")
    assert done.returncode == 3, done.stderr
    failed = sum(summary["accounting"]["failed"] for summary in summaries(workspace, "generate"))
    assert failed > 0
    books = [summary["accounting"] for summary in summaries(workspace, "generate")]
    for one in books:
        if one["failed"]:
            assert (
                f"{one['failed']} of {one['requested']} generations are missing: {one['failed']} failed" in done.stderr
            )
    assert "another address or other engine options" in done.stderr  # what opens them again
    retried = megadocs("generate", "retry", toy_recipe, *common, "--workspace", workspace)
    assert retried.returncode == 0, retried.stderr
    assert list(workspace.glob("superseded/generate/*"))
    assert run(toy_recipe, workspace, *common).returncode == 0
    assert sum(summary["accounting"]["failed"] for summary in summaries(workspace, "generate")) == 0
