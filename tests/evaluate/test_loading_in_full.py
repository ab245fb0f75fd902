"""Which files of a model are read, what its record says of it, and every way in which it is refused, in full."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
import transformers
from huggingface_hub.errors import HFValidationError
from safetensors import SafetensorError

from megadocs.errors import DamagedError, InputError
from megadocs.evaluate import load_model as module
from megadocs.evaluate.load_model import LoadedModel, check_one_tokenizer, load_model
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.model.pretrained import weights_digest
from megadocs.store.files import file_sha256

FETCH_AGAIN = "copy or download the model again"


def tokenizer_of(vocab_size=61, bos_token="<s>", puts_bos=False):
    return SimpleNamespace(vocab_size=vocab_size, bos_token=bos_token, puts_bos=puts_bos, fingerprint="t1")


@pytest.fixture(scope="module")
def saved(tmp_path_factory, make_llama):
    folder = tmp_path_factory.mktemp("saved")
    make_llama(1).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path, monkeypatch):
    """`<tmp>/art/model`, its files linked; its tokenizer is a stand-in."""
    path = tmp_path / "art" / "model"
    path.mkdir(parents=True)
    for file in saved.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(module, "load_tokenizer", lambda source: tokenizer_of())
    return path


def write_record(folder: Path, config) -> None:
    """The record of a train artifact, which has a file beside the model as well."""
    files = {
        f"model/{path.name}": {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in folder.iterdir()
    }
    record = {"files": {**files, "metrics.jsonl": {"bytes": 1, "sha256": "0"}}}
    (folder.parent / "record.json").write_text(json.dumps(record | ({} if config is None else {"config": config})))


def test_a_model_from_elsewhere_whole(folder, monkeypatch):
    sources = []
    tokenizer = tokenizer_of()
    monkeypatch.setattr(module, "load_tokenizer", lambda source: sources.append(source) or tokenizer)
    loaded = load_model(str(folder))
    assert sources == [str(folder)]
    assert (loaded.model.vocab_size, loaded.model.dtype, loaded.model.device) == (61, "float32", torch.device("cpu"))
    assert loaded == LoadedModel(loaded.model, tokenizer, str(folder), weights_digest(folder), False, False, None)
    assert loaded.boundary is False
    assert loaded.context_length is None
    assert loaded.identity() == {"weights": weights_digest(folder), "tokenizer": "t1", "dtype": "float32"}
    assert load_model(str(folder), dtype="bfloat16").identity()["dtype"] == "bfloat16"


@pytest.mark.parametrize("boundary", [None, "none", "document", "row"])
def test_a_train_artifact_whole(folder, boundary):
    """Named by the artifact or by the model inside it."""
    config = {"train": {"dtype": "bfloat16", "context_length": 512}}
    write_record(folder, config | ({} if boundary is None else {"stream": {"attention_boundary": boundary}}))
    for source in (folder, folder.parent):
        loaded = load_model(str(source))
        assert (loaded.source, loaded.model.dtype, loaded.context_length) == (str(source), "bfloat16", 512)
        assert loaded.boundary is (boundary in ("document", "row"))
        assert loaded.begins_with_bos is True
        within = {"attention": "within documents"} if loaded.boundary else {}
        assert loaded.identity() == {
            "weights": weights_digest(folder),
            "tokenizer": "t1",
            "dtype": "bfloat16",
            **within,
        }
    assert load_model(str(folder), dtype="float32").model.dtype == "float32"


@pytest.mark.parametrize("config", [None, {}, {"train": {}, "stream": {}}, {"other": 1}])
def test_a_record_that_says_less(folder, config):
    write_record(folder, config)
    loaded = load_model(str(folder))
    assert (loaded.model.dtype, loaded.context_length, loaded.boundary) == ("float32", None, False)
    assert loaded.begins_with_bos is bool(config)


@pytest.mark.parametrize(
    "bos_token, puts_bos, begins", [("<|bos|>", False, True), ("<s>", True, True), ("<s>", False, False)]
)
def test_a_bos_stands_before_a_prompt_as_the_tokenizer_has_it(folder, monkeypatch, bos_token, puts_bos, begins):
    monkeypatch.setattr(module, "load_tokenizer", lambda source: tokenizer_of(61, bos_token, puts_bos))
    assert load_model(str(folder)).begins_with_bos is begins


def test_a_record_beside_a_folder_of_another_name_is_not_its_own(folder):
    write_record(folder, {"train": {"dtype": "bfloat16"}})
    other = folder.rename(folder.parent / "weights")
    assert load_model(str(other)).model.dtype == "float32"


def test_changed_files_of_an_artifact_are_refused_in_full(folder):
    write_record(folder, {})
    (folder / "extra.txt").write_text("x")
    with pytest.raises(DamagedError) as caught:
        load_model(str(folder.parent))
    assert str(caught.value) == (
        f"is not in the record\n  where: {folder / 'extra.txt'}\n"
        f"  to do: delete {folder.parent} and run again: only this step is repeated"
    )


def test_a_folder_with_its_own_configuration_is_not_looked_into(folder):
    (folder.parent / "config.json").write_text("[]")
    with pytest.raises(DamagedError) as caught:
        load_model(str(folder.parent))
    assert caught.value.where == str(folder.parent / "config.json")


def test_a_tokenizer_with_more_ids_is_refused_in_full(folder, monkeypatch):
    monkeypatch.setattr(module, "load_tokenizer", lambda source: tokenizer_of(62))
    with pytest.raises(InputError) as caught:
        load_model(str(folder))
    assert str(caught.value) == (
        f"the tokenizer has 62 ids, the model 61\n  where: {folder}\n"
        "  to do: put the tokenizer the model was trained with into its folder"
    )


def test_a_folder_without_a_configuration_is_refused_in_full(tmp_path):
    with pytest.raises(InputError) as caught:
        load_model(str(tmp_path))
    assert str(caught.value) == (
        f"no model is here\n  where: {tmp_path}\n  to do: give a Hugging Face folder with config.json"
    )


@pytest.mark.parametrize(
    "content, what",
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[1]", "not a model's configuration"),
        *((f'{{"{name}": 10001}}', f"{name} is 10,001") for name in ("num_hidden_layers", "num_layers", "n_layers")),
        *((f'{{"{name}": 1e9}}', f"{name} is 1,000,000,000.0") for name in ("n_layer", "decoder_layers")),
        ('{"num_hidden_layers": 10000, "num_layers": 10002}', "num_layers is 10,002"),
        ('{"num_hidden_layers": "many", "n_layer": 10003}', "n_layer is 10,003"),
    ],
)
def test_configurations_that_are_refused_in_full(tmp_path, content, what):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(DamagedError) as caught:
        load_model(str(tmp_path))
    assert str(caught.value) == f"{what}\n  where: {path}\n  to do: {FETCH_AGAIN}"


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_device_that_is_not_there_is_refused_in_full_before_anything_is_read(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError) as caught:
        load_model("nothing/here", device=device)
    assert str(caught.value) == (
        f"PyTorch sees no GPU here\n  where: --device {device}\n"
        "  to do: use --device cpu, or install PyTorch for CUDA and check that nvidia-smi lists a GPU"
    )


def test_a_gpu_that_is_there_is_used(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    devices = []
    network = SimpleNamespace(to=lambda device: devices.append(device) or network)
    monkeypatch.setattr(module, "import_hf", lambda source: network)
    monkeypatch.setattr(
        module, "as_scoring_model", lambda network, dtype: ScoringModel(lambda tokens: tokens, 61, dtype=dtype)
    )
    assert load_model(str(folder), device="cuda:0").model.vocab_size == 61
    assert devices == ["cuda:0"]


class TestOtherFamilies:
    """Through transformers: what it is asked for, and what of its answers is refused."""

    @pytest.fixture
    def other(self, folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"attention_bias": True}))
        return folder

    def test_what_is_asked_for(self, other, monkeypatch):
        calls = []

        def load(*arguments, **settings):
            calls.append((arguments, settings))
            raise KeyError("no such family")

        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
        with pytest.raises(InputError) as caught:
            load_model(str(other))
        assert calls == [
            (
                (str(other),),
                {
                    "dtype": torch.float32,
                    "output_loading_info": True,
                    "use_safetensors": True,
                    "trust_remote_code": False,
                    "local_files_only": True,
                },
            )
        ]
        assert str(caught.value) == (
            f"transformers cannot load the model: KeyError 'no such family'\n  where: {other}\n"
            "  to do: check config.json, and that the weights are safetensors"
        )

    @pytest.mark.parametrize("kind", [OSError, ValueError, ImportError, TypeError, AttributeError, RuntimeError])
    def test_its_errors(self, other, monkeypatch, kind):
        def load(*arguments, **settings):
            raise kind("broken")

        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
        with pytest.raises(InputError, match=f"^transformers cannot load the model: {kind.__name__} broken"):
            load_model(str(other))

    def test_cut_weights(self, other, monkeypatch):
        def load(*arguments, **settings):
            raise SafetensorError("header too small")

        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", load)
        with pytest.raises(DamagedError) as caught:
            load_model(str(other))
        assert str(caught.value) == (
            f"not whole safetensors: header too small\n  where: {other}\n  to do: {FETCH_AGAIN}"
        )

    @pytest.mark.parametrize(
        "missing, mismatched, what",
        [
            ({"b", "a"}, set(), "2 weights are missing or of another shape: a, b"),
            (set(), {"c"}, "1 weights are missing or of another shape: c"),
            (set("fdb"), set("eca"), "6 weights are missing or of another shape: a, b, c, d, e"),
        ],
    )
    def test_weights_that_would_be_random(self, other, monkeypatch, missing, mismatched, what):
        found = {"missing_keys": missing, "mismatched_keys": mismatched, "unexpected_keys": {"x"}}
        monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: (None, found))
        with pytest.raises(DamagedError) as caught:
            load_model(str(other))
        assert str(caught.value) == (
            f"{what}\n  where: {other}\n  to do: check that config.json and the weights belong together"
        )


@pytest.mark.parametrize("revision", [None, "v1"])
def test_what_is_asked_of_the_hub(folder, monkeypatch, revision):
    calls = []

    def download(*arguments, **settings):
        calls.append((arguments, settings))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    loaded = load_model("some/model", **({} if revision is None else {"revision": revision}))
    patterns = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"]
    assert calls == [(("some/model",), {"revision": revision, "allow_patterns": patterns})]
    assert (loaded.source, loaded.weights_sha256) == ("some/model", weights_digest(folder))


def test_a_name_that_the_hub_does_not_know_is_refused_in_full(monkeypatch):
    def download(*arguments, **settings):
        raise HFValidationError("no")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(InputError) as caught:
        load_model("some/model")
    assert str(caught.value) == (
        "neither a folder nor a model on the hub: HFValidationError\n  where: some/model\n"
        "  to do: give a Hugging Face folder, or a hub name while online"
    )


def member(source, *, fingerprint="t1", **settings):
    return SimpleNamespace(
        source=source,
        tokenizer=SimpleNamespace(fingerprint=fingerprint),
        **{"begins_with_bos": True, "boundary": False} | settings,
    )


@pytest.mark.parametrize(
    "changes, error",
    [
        (
            {"begins_with_bos": False},
            "of c and a one sees a BOS before a prompt\n  where: --model\n"
            "  to do: score them apart, or name both as they lie in their workspaces (train/<fingerprint>)",
        ),
        (
            {"fingerprint": "t2"},
            "c has another tokenizer than a\n  where: --model\n"
            "  to do: an ensemble averages models of one tokenizer: score the others on their own",
        ),
        (
            {"boundary": True},
            "of c and a one was trained with an attention boundary\n  where: --model\n"
            "  to do: score them separately: a model is scored with the boundary it was trained with",
        ),
    ],
)
def test_members_that_cannot_be_averaged_are_refused_in_full(changes, error):
    with pytest.raises(InputError) as caught:
        check_one_tokenizer([member("a"), member("b"), member("c", **changes)])
    assert str(caught.value) == error
    with pytest.raises(InputError):
        check_one_tokenizer([member("a"), member("c", **changes)])
    check_one_tokenizer([member("a"), member("b"), member("b")])
    check_one_tokenizer([member("c", **changes)])
