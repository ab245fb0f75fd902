"""Our models in lm-evaluation-harness against the harness's own Hugging Face models, item by item; and by hand."""

# ruff: noqa: E402  (the harness may be missing: what needs it is imported after that is known)

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

lm_eval = pytest.importorskip("lm_eval", reason="needs the extra `eval`")

from benchmark_records import RECORDS, write_lines
from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.language_model import MegadocsLM
from megadocs.evaluate.benchmarks.score import BenchmarkScores, score_benchmark, write_items
from megadocs.evaluate.benchmarks.tasks import find_benchmark
from megadocs.evaluate.ensembles import build_averages
from megadocs.evaluate.load_model import load_model
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE, Average
from megadocs.text.tokenizer import train_tokenizer

TEXTS = ["Question: what\nAnswer: yes no", "Question: which one\nAnswer: no, it is not so"] * 5


def harness(model, benchmark):
    """What the harness itself finds: every item's log-likelihoods, and its results."""
    found = lm_eval.evaluate(model, benchmark.open(), bootstrap_iters=1)
    samples = sorted(found["samples"][benchmark.name], key=lambda sample: sample["doc_id"])
    return [[reply[0][0] for reply in sample["resps"]] for sample in samples], found["results"][benchmark.name]


@pytest.fixture(scope="module")
def hf_model(model_folders):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model_folders[0], dtype="float32", device="cpu", batch_size=4)


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_equal_to_the_harness_item_by_item(name, record_files, model_folders, hf_model):
    loaded, benchmark = load_model(model_folders[0]), find_benchmark(name, source=str(record_files[name]))
    (ours,) = score_benchmark([loaded.model], [SINGLE], loaded.tokenizer, benchmark, add_bos=False)
    theirs, results = harness(hf_model, benchmark)
    adapted, _ = harness(MegadocsLM(model_folders[0], add_bos=False), benchmark)
    for item, other, third in zip(ours.items, theirs, adapted, strict=True):
        np.testing.assert_allclose(item.log_likelihoods, other, atol=1e-4)
        np.testing.assert_allclose(third, other, atol=1e-4)
    for metric, value in ours.metrics.items():
        assert value == pytest.approx(results[f"{metric},none"])
    assert ours.chance == pytest.approx(np.mean([1 / len(line) for line in theirs]))


def test_every_average_is_answered_by_one_pass(record_files, model_folders):
    members = [load_model(folder) for folder in model_folders]
    benchmark, averages = find_benchmark("sciq", source=str(record_files["sciq"])), build_averages(2)
    passes = []
    counted = [
        ScoringModel.from_callable(lambda t, m=m: passes.append(1) or m.model.open_head()(m.model.hidden(t)), 400)
        for m in members
    ]
    size = members[0].model.vocab_size
    counted = [ScoringModel(hidden=model.hidden, vocab_size=size) for model in counted]
    results = score_benchmark(counted, averages, members[0].tokenizer, benchmark, add_bos=True)
    num_passes = len(passes)
    score_benchmark(counted, averages[:1], members[0].tokenizer, benchmark, add_bos=True)
    assert len(passes) == 2 * num_passes
    for result, average in zip(results, averages, strict=True):
        chosen = [members[k].model for k in average.members]
        alone = Average(tuple(range(len(chosen))), average.kind)
        (expected,) = score_benchmark(chosen, [alone], members[0].tokenizer, benchmark, add_bos=True)
        for one, other in zip(result.items, expected.items, strict=True):
            np.testing.assert_allclose(one.log_likelihoods, other.log_likelihoods, atol=1e-6)


def test_an_ensemble_is_one_model_of_the_harness(record_files, model_folders):
    benchmark = find_benchmark("piqa", source=str(record_files["piqa"]))
    model = lm_eval.api.registry.get_model("megadocs").create_from_arg_string(
        f"pretrained={'+'.join(model_folders)},average=probabilities"
    )
    adapted, _ = harness(model, benchmark)
    members = [load_model(folder) for folder in model_folders]
    (ours,) = score_benchmark(
        [m.model for m in members], [Average((0, 1), "probabilities")], members[0].tokenizer, benchmark, add_bos=True
    )
    for item, other in zip(ours.items, adapted, strict=True):
        np.testing.assert_allclose(item.log_likelihoods, other, atol=1e-6)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def uniform_model(tokenizer):
    return ScoringModel.from_callable(lambda t: torch.zeros(*t.shape, tokenizer.vocab_size), tokenizer.vocab_size)


def score(model, tokenizer, tmp_path, records, name="piqa", **options):
    benchmark = find_benchmark(name, source=str(write_lines(tmp_path / f"{name}.jsonl", records)), **options)
    (result,) = score_benchmark([model], [SINGLE], tokenizer, benchmark, add_bos=True)
    return result


THREE = [
    {"goal": "what", "sol1": "yes", "sol2": "no, it is not so at all", "label": 0},
    {"goal": "what", "sol1": "yes", "sol2": "no, it is not so at all", "label": 1},
    {"goal": "which", "sol1": "qqqqqqqqq zzzz", "sol2": "no", "label": 1},
]


def test_accuracy_and_standard_error_by_hand(uniform_model, tokenizer, tmp_path):
    """Fewer tokens win under a uniform model: item 0 right, item 1 wrong, item 2 right."""
    result = score(uniform_model, tokenizer, tmp_path, THREE)
    assert [item.metrics["acc"] for item in result.items] == [1, 0, 1]
    assert result.metrics["acc"] == pytest.approx(2 / 3)
    assert result.standard_errors["acc"] == pytest.approx(np.std([1, 0, 1], ddof=1) / math.sqrt(3))
    ids = tokenizer.encode_batch(["Question: what\nAnswer:", "Question: what\nAnswer: yes"])
    expected = -(len(ids[1]) - len(ids[0])) * math.log(tokenizer.vocab_size)
    assert result.items[0].log_likelihoods[0] == pytest.approx(expected)
    assert (result.split, result.metric, result.chance) == ("local", "acc", 0.5)
    assert score(uniform_model, tokenizer, tmp_path, THREE, num_items=2).metrics["acc"] == 0.5


def test_examples_come_before_the_prompt(uniform_model, tokenizer, tmp_path):
    zero = score(uniform_model, tokenizer, tmp_path, THREE)
    many = score(uniform_model, tokenizer, tmp_path, THREE, num_fewshot=2)
    assert many.items[0].log_likelihoods == zero.items[0].log_likelihoods  # uniform: only what is scored counts
    widths = []
    model = ScoringModel.from_callable(
        lambda t: widths.append(t.shape[1]) or torch.zeros(*t.shape, tokenizer.vocab_size), tokenizer.vocab_size
    )
    score(model, tokenizer, tmp_path, THREE)
    without = max(widths)
    score(model, tokenizer, tmp_path, THREE, num_fewshot=2)
    assert max(widths) > 1.5 * without


def test_nan_is_not_an_answer(tokenizer, tmp_path):
    size = tokenizer.vocab_size
    model = ScoringModel.from_callable(lambda t: torch.full((*t.shape, size), torch.nan), size)
    result = score(model, tokenizer, tmp_path, THREE)
    assert set(result.metrics.values()) == {None}
    assert result.summary()["acc"] is None


def test_cut_prompts_are_counted(tokenizer, tmp_path):
    size = tokenizer.vocab_size
    model = ScoringModel.from_callable(lambda t: torch.zeros(*t.shape, size), size, max_context=64)
    records = [*THREE, {"goal": "what " * 600, "sol1": "yes", "sol2": "no", "label": 0}]
    assert score(model, tokenizer, tmp_path, records).num_truncated == 2  # both choices of the last


def test_a_choice_whose_tokens_go_into_its_context_is_no_win(tmp_path):
    """The tokenizer has one token for "Answer: yes": cut behind the context's tokens, "yes" would cost nothing."""
    import tokenizers

    parts = list("Answer: yes")
    heads = ["".join(parts[: size + 1]) for size in range(len(parts))]
    names = ["<s>", "</s>", *dict.fromkeys("Question: d\nAnswer: yes no"), *heads[1:]]
    merges = list(zip(heads, parts[1:], strict=False))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({name: i for i, name in enumerate(names)}, merges))
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    from megadocs.text.tokenizer import load_tokenizer

    loaded = load_tokenizer(str(tmp_path))
    whole, context = loaded.encode_batch(["Answer: yes", "Answer:"])
    assert len(whole) == len(context) == 1
    size = loaded.vocab_size
    model = ScoringModel.from_callable(lambda t: torch.zeros(*t.shape, size), size)
    records = [{"goal": "d", "sol1": "no", "sol2": "yes", "label": 1}]
    (item,) = score(model, loaded, tmp_path, records).items
    assert item.log_likelihoods == pytest.approx([-3 * math.log(size), -4 * math.log(size)])  # " no", " yes"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"goal": None}, "record 1: 'goal' is 'None'"),
        ({"sol1": 5}, "record 1: 'sol1' is '5'"),
        ({"sol1": ""}, "record 1: 'sol1' is ''"),
        ({"goal": "x \ud800"}, "record 1: holds half of a surrogate pair"),
        ({"label": 2}, "record 1 of piqa: choice 2 of 2 is to be the right one"),
        ({"label": None}, "record 1: 'label' is 'None'"),
    ],
)
def test_damaged_records_are_named(uniform_model, tokenizer, tmp_path, changes, complaint):
    with pytest.raises(InputError, match=complaint):
        score(uniform_model, tokenizer, tmp_path, [THREE[0], {**THREE[0], **changes}])


def test_a_null_that_a_template_would_show_as_a_word_is_refused(uniform_model, tokenizer, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "task.yaml").write_text(
        "task: nulls\noutput_type: multiple_choice\ncustom_dataset: !function made.load\ntest_split: test\n"
        'doc_to_text: "Question: {{q}}"\ndoc_to_choice: [a, b]\ndoc_to_target: 0\nmetric_list: [{metric: acc}]\n'
    )
    (tmp_path / "t" / "made.py").write_text(
        "import datasets\ndef load(**_):\n"
        "    return {'test': datasets.Dataset.from_list([{'q': 'x', 'unused': None}, {'q': None, 'unused': None}])}\n"
    )
    benchmark = find_benchmark("nulls", folders=[tmp_path / "t"])
    with pytest.raises(InputError, match="record 1 of nulls: 'q' is null"):
        score_benchmark([uniform_model], [SINGLE], tokenizer, benchmark, add_bos=True)


def test_a_task_that_lets_the_model_write_is_refused(uniform_model, tokenizer, tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "task.yaml").write_text(
        "task: writes\noutput_type: generate_until\ncustom_dataset: !function made.load\ntest_split: test\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: "{{q}}"\ngeneration_kwargs: {until: ["."]}\n'
        "metric_list: [{metric: exact_match}]\n"
    )
    (tmp_path / "t" / "made.py").write_text(
        "import datasets\ndef load(**_):\n    return {'test': datasets.Dataset.from_list([{'q': 'x'}])}\n"
    )
    benchmark = find_benchmark("writes", folders=[tmp_path / "t"])
    with pytest.raises(InputError, match="writes lets the model write"):
        score_benchmark([uniform_model], [SINGLE], tokenizer, benchmark, add_bos=True)


def test_a_scorer_stops_when_asked(uniform_model, tokenizer, record_files):
    class Stop(Exception):
        pass

    def watch(done, total):
        raise Stop

    benchmark = find_benchmark("sciq", source=str(record_files["sciq"]))
    with pytest.raises(Stop):
        score_benchmark([uniform_model], [SINGLE], tokenizer, benchmark, add_bos=True, watch=watch)


def test_items_and_json_hold_everything(uniform_model, tokenizer, tmp_path):
    result = score(uniform_model, tokenizer, tmp_path, THREE)
    assert BenchmarkScores.from_json(json.loads(json.dumps(result.to_json()))) == result
    write_items(tmp_path / "items.parquet", [result])
    rows = pq.read_table(tmp_path / "items.parquet").to_pylist()
    assert [row["log_likelihoods"] for row in rows] == [list(item.log_likelihoods) for item in result.items]
    assert [dict(row["metrics"])["acc"] for row in rows] == [1, 0, 1]


def test_rolling_likelihood_equals_the_harness(model_folders, hf_model):
    from lm_eval.api.instance import Instance

    texts = ["Water boils. " * 40, "short", "Which is hot? " * 90]
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=i) for i, text in enumerate(texts)
    ]
    theirs = hf_model.loglikelihood_rolling(requests)
    ours = MegadocsLM(model_folders[0]).loglikelihood_rolling(requests)
    np.testing.assert_allclose(ours, [reply[0] if isinstance(reply, tuple) else reply for reply in theirs], rtol=1e-5)
