"""What the report reads beside runs: searches, benchmarks, ensembles, further sets, from files made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megadocs.errors import DamagedError
from megadocs.pipeline.stages.run_records import open_run
from megadocs.pipeline.stages.score_records import benchmark_scores, ensemble_losses, extra_positions, extra_scores
from megadocs.pipeline.steps.search_records import read_searches
from megadocs.store.artifact import Artifact, Workspace

SEARCH: dict[str, Any] = {
    "name": "tuning",
    "ending": "finished",
    "seconds": 12.5,
    "arms": [
        {
            "arm": "real_only",
            "axes": {"train.real_epochs": [4, 8]},
            "seeds": [0],
            "certificate": {"kind": "edge", "neighbours": []},
            "test": None,
            "cost": {"num_trials": 1, "flops": 2.0, "training_seconds": 9.0},
            "trials": [{"setting": {"train.real_epochs": 8}, "seed": 0, "loss": 6.1, "seconds": 3.0, "is_new": True}],
        }
    ],
}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


def test_searches_without_their_timings(tmp_path: Path) -> None:
    assert read_searches(tmp_path) == []
    write(tmp_path / "search.json", SEARCH)
    (row,) = read_searches(tmp_path)
    assert (row["search"], row["arm"], row["cost"]) == ("tuning", "real_only", {"num_trials": 1, "flops": 2.0})
    assert row["trials"] == [{"setting": {"train.real_epochs": 8}, "seed": 0, "loss": 6.1}]
    write(tmp_path / "search.json", SEARCH | {"seconds": 99.0})
    assert read_searches(tmp_path) == [row]


def test_every_search_of_a_workspace(tmp_path: Path) -> None:
    write(tmp_path / "search.json", SEARCH)
    write(tmp_path / "searches" / "tuning.json", SEARCH)
    write(tmp_path / "searches" / "epochs.json", SEARCH | {"name": "epochs"})
    assert [row["search"] for row in read_searches(tmp_path)] == ["epochs", "tuning"]


@pytest.mark.parametrize("text", ["", "[]", '{"arms": [{}]}', '{"arms": 3, "name": "x"}'])
def test_a_damaged_search_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(DamagedError) as caught:
        read_searches(tmp_path)
    assert str(tmp_path / "search.json") in str(caught.value.where)


def publish(root: Path, kind: str, summary: dict[str, Any], columns: dict[str, list[Any]] | None = None) -> Artifact:
    workspace = Workspace(root)
    identity = f"{len(list(root.glob('*/*'))):020x}"
    with workspace.build(kind, identity, config={}, inputs={}) as build:
        build.summary.update(summary)
        if columns:
            pq.write_table(pa.table(columns), build.path / "scores.parquet")
    found = workspace.find(kind, identity)
    assert found is not None
    return found


def result(task: str, members: list[int], acc: float | None, kind: str = "logits") -> dict[str, Any]:
    average = {"kind": kind, "members": members}
    return {"task": task, "average": average, "acc": acc, "acc_norm": 0.5, "num_items": 40}


def test_benchmarks_of_runs_and_ensembles(tmp_path: Path) -> None:
    run = publish(tmp_path, "benchmark", {"results": [result("piqa", [0], 0.6)], "chance": 0.5})
    sizes = [result("piqa", [0], 0.6), result("piqa", [0, 1], 0.9, "probabilities"), result("piqa", [0, 1], 0.7)]
    pair = publish(tmp_path, "benchmark", {"results": sizes, "chance": 0.5})
    broken = publish(tmp_path, "benchmark", {"results": [result("sciq", [0], None)], "chance": 0.25})
    inputs = {
        "benchmark 1 piqa": run,
        "benchmark pair piqa": pair,
        "benchmark 1 sciq": broken,
        "benchmark 10 piqa": pair,
    }
    (score,) = benchmark_scores("real_only", 3, "1", inputs)
    assert (score.accuracy, score.seed, score.num_items, score.chance) == (0.6, 3, 40, 0.5)
    assert score.record == f"benchmark/{run.fingerprint}/record.json"
    (whole,) = benchmark_scores("pair", None, "pair", inputs)
    assert whole.accuracy == 0.7  # logits, all members


def test_ensembles_at_every_size_and_set(tmp_path: Path) -> None:
    def losses(key: str, loss: float) -> dict[str, Any]:
        size = {"average": "logits", "num_members": 2, "num_subsets": 1, "nats_per_token": loss}
        return {"losses": {key: {"sizes": [size | {"standard_deviation": None}]}}}

    own = publish(tmp_path, "ensemble", losses("test windowed", 5.5))
    further = publish(tmp_path, "extra_set", losses("long alone", 4.5))
    inputs = {"ensemble pair": own, "set pair long": further, "set 0 long": further}
    found = ensemble_losses([{"name": "pair", "arm": "real_only"}, {"name": "absent", "arm": "x"}], inputs)
    assert [(row.set, row.mode, row.num_members, row.loss) for row in found] == [
        ("test", "windowed", 2, 5.5),
        ("long", "alone", 2, 4.5),
    ]


def test_additional_sets_of_a_run(tmp_path: Path) -> None:
    columns = {"set": ["long"], "document_id": ["d"], "mode": ["alone"], "num_tokens": [3], "num_bytes": [9]}
    artifact = publish(tmp_path, "extra_set", {}, columns | {"sum_nll": [6.0]})
    (scores,) = extra_scores("real_only", 0, "4", {"set 4 long": artifact})
    assert (scores.set_name, scores.document_ids, scores.sum_nll.tolist()) == ("long", ("d",), [6.0])


def test_losses_by_position_of_a_run_and_of_a_whole_ensemble(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    def curve(average: str, members: list[int], loss: Any) -> dict[str, Any]:
        ranges = [{"from": 0, "to": None, "num_tokens": 9, "nats_per_token": loss}]
        return {"average": average, "members": members, "ranges": ranges}

    config = {"name": "long", "context_length": 64, "set": {"past": [32]}}
    curves = [curve("logits", [0], 5.0), curve("probabilities", [0, 1], 3.0), curve("logits", [0, 1], "NaN")]
    with workspace.build("extra_set", "a" * 20, config=config, inputs={}) as build:
        write(build.path / "positions.json", curves)
    artifact = workspace.find("extra_set", "a" * 20)
    assert artifact is not None
    (found,) = extra_positions("pair", None, "pair", {"set pair long": artifact})
    assert (found.arm, found.seed, found.set_name, found.context_length) == ("pair", None, "long", 64)
    assert found.ranges[0]["nats_per_token"] == "NaN"  # logits, all members
    assert found.past == {32: "long_past_32"}
    assert found.record == f"extra_set/{'a' * 20}/record.json"


def test_scores_that_are_not_those_of_their_record_are_not_compared(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.build("train", "aa", config={"seed": 0}, inputs={}):
        pass
    with workspace.build("evaluate", "bb", config={}, inputs={"train": "aa"}) as build:
        (build.path / "scores.parquet").write_bytes(b"scores")
    assert open_run(tmp_path / "train" / "aa").seed == 0
    (tmp_path / "evaluate" / "bb" / "scores.parquet").write_bytes(b"sc0res")
    with pytest.raises(DamagedError, match="SHA-256") as error:
        open_run(tmp_path / "train" / "aa")
    assert str(tmp_path / "evaluate" / "bb") in str(error.value.remedy)


def test_scores_that_are_no_parquet_and_records_without_a_part_are_damaged(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with workspace.build("train", "aa", config={"seed": 0}, inputs={}) as build:
        build.summary.update(streams=[], num_real_documents=4)
    with workspace.build("evaluate", "bb", config={}, inputs={"train": "aa"}) as build:
        (build.path / "scores.parquet").write_bytes(b"PAR1 cut short")
    run = open_run(tmp_path / "train" / "aa")
    with pytest.raises(DamagedError, match="cannot be read as Parquet") as error:
        run.scores()
    assert error.value.where == str(tmp_path / "evaluate" / "bb" / "scores.parquet")
    with pytest.raises(DamagedError, match="lacks 'num_real_tokens'") as error:
        run.facts()
    assert error.value.where == str(tmp_path / "train" / "aa" / "record.json")
