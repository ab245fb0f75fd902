"""Where a plan's times come from: this workspace, then earlier runs on this machine, then a table."""

from __future__ import annotations

import pytest

from megadocs.pipeline.price.rates import keep_rates, load_rates, rates_file
from megadocs.recipe import EngineConfig
from megadocs.store.artifact import Workspace

ENGINE = EngineConfig(kind="fake", model="fake")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEGADOCS_CACHE_DIR", str(tmp_path / "cache"))


def publish(workspace, step, name, rate, config=None, **summary):
    with workspace.build(step, name, config=config or {}, inputs={}) as build:
        build.summary.update(summary, rate_for_plan=rate)
    return workspace.find(step, name)


def generation(task, model="fake"):
    return {"task": task, "generate": {"engine": {"kind": "fake", "model": model}}}


def test_the_nearest_source_is_taken(tmp_path):
    first, second = Workspace(tmp_path / "first"), Workspace(tmp_path / "second")
    assert load_rates(first, ENGINE) == load_rates(second, ENGINE)
    assert (load_rates(first, ENGINE).train, load_rates(first, ENGINE).source) == (None, "default")
    done = [publish(first, "train", "a", 2e9), publish(first, "train", "b", 4e9)]
    done.append(publish(first, "generate", "c", 50.0, generation("rephrase"), accounting={"new_tokens": 20_000}))
    here = load_rates(first, ENGINE)
    assert (here.train, here.generate, here.source) == (3e9, {"rephrase": 50.0}, "workspace")
    keep_rates(done)
    elsewhere = load_rates(second, ENGINE)
    assert (elsewhere.train, elsewhere.generate, elsewhere.source) == (3e9, {"rephrase": 50.0}, "user")
    assert load_rates(second, EngineConfig(kind="fake", model="other")).generate == {}
    publish(second, "train", "d", 9e9)
    assert (load_rates(second, ENGINE).train, load_rates(second, ENGINE).source) == (9e9, "workspace")


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', "not JSON"])
def test_a_damaged_file_of_rates_is_no_error_and_is_replaced(tmp_path, content):
    workspace = Workspace(tmp_path / "ws")
    rates_file().parent.mkdir(parents=True)
    rates_file().write_text(content)
    assert load_rates(workspace, ENGINE).source == "default"
    keep_rates([publish(workspace, "train", "a", 2e9)])
    assert load_rates(Workspace(tmp_path / "other"), ENGINE).source == "user"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEGADOCS_CACHE_DIR", str(tmp_path / "file"))
    keep_rates([publish(Workspace(tmp_path / "ws"), "train", "a", 2e9)])
    assert load_rates(Workspace(tmp_path / "other"), ENGINE).source == "default"


def test_a_toys_training_says_nothing_of_other_workspaces(tmp_path):
    first, second = Workspace(tmp_path / "first"), Workspace(tmp_path / "second")
    toy = publish(first, "train", "a", 6e8, flops=1e9)
    keep_rates([toy])
    assert load_rates(second, ENGINE).source == "default"
    assert load_rates(first, ENGINE).train == 6e8  # its own workspace goes on with the same toy
    keep_rates([toy, publish(first, "train", "b", 9e9, flops=3e11)])
    assert load_rates(second, ENGINE).train == 9e9


def test_a_few_replies_say_nothing_of_other_workspaces(tmp_path):
    first, second = Workspace(tmp_path / "first"), Workspace(tmp_path / "second")
    few = publish(first, "generate", "a", 19.0, generation("rephrase"), accounting={"new_tokens": 900})
    keep_rates([few])
    assert load_rates(second, ENGINE).generate == {}
    assert load_rates(first, ENGINE).generate == {"rephrase": 19.0}  # mostly the engine's start, as it will be again
    many = publish(first, "generate", "b", 400.0, generation("thought"), accounting={"new_tokens": 38_000})
    keep_rates([few, many])
    assert load_rates(second, ENGINE).generate == {"thought": 400.0}
