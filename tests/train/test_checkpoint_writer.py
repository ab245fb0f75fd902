"""Saving in the background: a copy of the state, one save at a time, failures that are heard of."""

from __future__ import annotations

import threading

import pytest
import torch

from megadocs.errors import StoreError
from megadocs.model import build_model
from megadocs.train.checkpoint import CheckpointStore
from megadocs.train.checkpoint_writer import CheckpointWriter
from megadocs.train.distributed import World
from megadocs.train.optimiser import build_optimiser
from megadocs.train.run_state import RunState
from train.runs import MODEL, VOCAB, train_config

ONE_RANK = World(0, 1, torch.device("cpu"))


class SlowStore(CheckpointStore):
    """Waits for `go` before it writes; counts how many saves are under way."""

    def __init__(self, directory):
        super().__init__(directory, keep=10)
        self.go, self.under_way, self.most = threading.Event(), 0, 0

    def save(self, step, tensors, state):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        assert self.go.wait(20)
        super().save(step, tensors, state)
        self.under_way -= 1


class FullStore(CheckpointStore):
    def save(self, step, tensors, state):
        raise StoreError("no space")


@pytest.fixture
def run():
    model = build_model(MODEL, VOCAB, 16, seed=0)
    return RunState(model, build_optimiser(model, train_config()), None)


def writer_of(store, run):
    return CheckpointWriter(store, run, ONE_RANK, timeout_seconds=10)


def test_what_is_saved_is_the_state_at_the_start(tmp_path, run):
    store = SlowStore(tmp_path)
    weight = run.model.lm_head.weight
    before = weight.detach().clone()
    with writer_of(store, run) as writer:
        writer.start(5, {"loss": 1.0})
        with torch.no_grad():
            weight.zero_()  # training goes on
        assert not writer.is_written
        writer.publish(0.0)
        assert store.steps() == []
        store.go.set()
    found = store.find_newest(ONE_RANK)
    assert (found.step, found.state) == (5, {"loss": 1.0})
    found.read_into(run.tensors(step=5))
    assert torch.equal(weight, before)


def test_never_two_at_once(tmp_path, run):
    store = SlowStore(tmp_path)
    threading.Timer(1.0, store.go.set).start()
    with writer_of(store, run) as writer:
        writer.start(1, {})
        assert not store.go.is_set()  # came back at once
        writer.start(2, {})
        assert store.go.is_set()  # waited for the first
    assert store.most == 1
    assert store.steps() == [1, 2]


@pytest.mark.parametrize("ask", [lambda writer: writer.wait(), lambda writer: writer.start(2, {}), lambda writer: None])
def test_a_save_that_failed_is_heard_of(tmp_path, run, ask):
    with pytest.raises(StoreError, match="no space"), writer_of(FullStore(tmp_path, keep=1), run) as writer:
        writer.start(1, {})
        ask(writer)


def test_an_error_of_the_training_waits_for_the_save_and_stays_the_error(tmp_path, run):
    store = SlowStore(tmp_path)
    threading.Timer(0.2, store.go.set).start()
    with pytest.raises(ZeroDivisionError), writer_of(store, run) as writer:
        writer.start(3, {})
        raise ZeroDivisionError
    assert store.steps() == [3]
