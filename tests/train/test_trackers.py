"""Real trackers, offline: what they have on disk after a run that was broken and resumed."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys

import pytest

from megadocs.errors import UsageError
from megadocs.train.metrics_log import read_metrics
from megadocs.train.trackers import require_trackers, run_id
from train.runs import read_random, train, train_config


class Stop(Exception):
    pass


def train_in_two_parts(output_dir, tracker):
    """Twelve steps, broken off before step 7 and resumed; the loss of every step by the metrics file."""

    def stop(step):
        if step == 6:
            raise Stop
        return read_random(step)

    config = train_config(trackers=[tracker])
    with pytest.raises(Stop):
        train(output_dir, config=config, read_batch=stop)
    train(output_dir, config=config)
    return {record["step"]: record["loss"] for record in read_metrics(output_dir / "metrics.jsonl")}


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses = train_in_two_parts(tmp_path / "run", "tensorboard")
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert {"loss", "learning_rate", "grad_norm", "mfu"} <= set(events.Tags()["scalars"])
    logged = {event.step: event.value for event in events.Scalars("loss")}
    assert logged == pytest.approx(losses, rel=1e-6)


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    train_in_two_parts(tmp_path / "run", "wandb")
    files = list((tmp_path / "run/wandb").glob(f"offline-run-*/run-{run_id(tmp_path / 'run')}.wandb"))
    assert len(files) == 2  # one a start, both under the id that `wandb sync` joins them by
    assert all(b"grad_norm" in path.read_bytes() for path in files)


def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio")
    losses = train_in_two_parts(tmp_path / "run", "trackio")
    (database,) = (tmp_path / "trackio").glob("megadocs*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    assert {step for step, _ in rows} == set(losses)
    assert all("grad_norm" in str(metrics) for _, metrics in rows)


def stub(tmp_path, monkeypatch, text):
    """A package `wandb` that does what its service may do."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/wandb.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "stub"))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)


RUN = "class Run:\n    def log(self, *a, **k): {log}\n    def finish(self): {finish}\ndef init(**k): {init}\n"
FINE = {"log": "pass", "finish": "pass", "init": "return Run()"}


@pytest.mark.parametrize("broken", ["init", "log", "finish", "import"])
@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit"])
def test_nothing_that_a_tracker_does_ends_a_run(tmp_path, monkeypatch, caplog, broken, error):
    text = RUN.format(**FINE | {broken: f"raise {error}('no API key configured')"})
    stub(tmp_path, monkeypatch, "raise RuntimeError('broken package')" if broken == "import" else text)
    plain = train(tmp_path / "plain")
    warnings = []
    tracked = train(tmp_path / "run", config=train_config(trackers=["wandb"]), warn=warnings.append)
    assert len(warnings) == 1
    assert warnings[0].startswith("tracker wandb")
    assert tracked.final_loss == plain.final_loss
    assert (tmp_path / "run/model/config.json").is_file()
    assert "tracker wandb" in caplog.text
    assert train(tmp_path / "run", config=train_config(trackers=["wandb"])) == tracked  # finished, and stays so


def test_ids_stay_with_the_folder_and_a_new_run_gets_a_new_one(tmp_path):
    (tmp_path / "run").mkdir()
    first = run_id(tmp_path / "run")
    assert run_id(tmp_path / "run") == first
    (tmp_path / "run").rename(tmp_path / "moved")
    assert run_id(tmp_path / "moved") == first
    (tmp_path / "run").mkdir()  # the same path in a new workspace
    assert run_id(tmp_path / "run") != first


def test_a_missing_package_is_found_before_the_run(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="wandb is not installed"):
        require_trackers(["wandb"])
