"""Any Hugging Face folder or hub model, ready to be scored beside the models trained here.

    loaded = load_model("runs/quickstart/train/ab12/model", dtype="bfloat16")
    loaded = load_model("HuggingFaceTB/SmolLM2-135M")        # a hub name: this downloads
    score_windows(loaded.model, build_evaluation_set("test", documents, loaded.tokenizer), context_length=1024)

Plain Llamas run in megadocs' own `Llama`; whatever differs from them in transformers, from safetensors only and never
with code from the folder. A model brings its own tokenizer: losses per token of two tokenizers do not compare, bits per
byte do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, InputError
from megadocs.evaluate.scoring_model import Dtype, ScoringModel, as_scoring_model
from megadocs.hub_errors import hub_errors
from megadocs.model.hf_import import import_hf, is_plain_llama
from megadocs.model.pretrained import weights_digest
from megadocs.store.artifact import RECORD, iter_problems
from megadocs.store.files import read_json
from megadocs.text.tokenizer import BOS_TOKEN, Tokenizer, load_tokenizer

_FILES = ["config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"]
#: How families call their number of layers; the deepest models have a few hundred.
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer", "decoder_layers")
_MOST_LAYERS = 10_000
_FETCH_AGAIN = "copy or download the model again"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model, its tokenizer and what identifies its numbers."""

    model: ScoringModel  # ready to be scored
    tokenizer: Tokenizer
    source: str  # what was asked for (a path or hub name)
    weights_sha256: str  # over the configuration and every weight file: two models share it only if they are the same
    #: a BOS stands before a prompt: for models trained here, which saw one before every document though their
    #: `tokenizer.json` puts none there by itself; for others as their tokenizer does.
    begins_with_bos: bool
    boundary: bool = False  # a train artifact whose arm kept attention inside rows or documents: it is scored so
    #: tokens of a window that a train artifact was trained in; None: a model from elsewhere.
    context_length: int | None = None

    def identity(self) -> dict[str, str]:
        """What a cached result of this model is keyed by."""
        found = {"weights": self.weights_sha256, "tokenizer": self.tokenizer.fingerprint, "dtype": self.model.dtype}
        return found | ({"attention": "within documents"} if self.boundary else {})


def load_model(
    source: str, *, dtype: Dtype | None = None, device: str = "cpu", revision: str | None = None
) -> LoadedModel:
    """Load a model and its tokenizer.

    Args:
        source: a folder with `config.json`, safetensors and `tokenizer.json`; a `train/<fingerprint>` of a workspace,
            which holds one; or a hub name (which is downloaded).
        dtype: compute type; None: the one that a train artifact was trained and scored in, float32 for other models.
        device: `cpu` or `cuda`.
        revision: hub revision; None: the default branch.

    Raises:
        InputError: no such device, nothing there, no safetensors, or a tokenizer that has more ids than the model.
        DamagedError: a model of a workspace whose files are not those of its record (another tokenizer, say).
    """
    _require_device(device)
    folder = _model_folder(Path(source)) if Path(source).is_dir() else _download(source, revision)
    trained = _checked_record(folder)
    config = _read_config(folder)
    network = import_hf(folder) if is_plain_llama(config) else _load_other(folder)
    model = as_scoring_model(network.to(device), dtype=dtype or trained.get("train", {}).get("dtype", "float32"))
    tokenizer = load_tokenizer(str(folder))
    if tokenizer.vocab_size > model.vocab_size:
        raise InputError(
            f"the tokenizer has {tokenizer.vocab_size} ids, the model {model.vocab_size}",
            where=str(folder),
            remedy="put the tokenizer the model was trained with into its folder",
        )
    return LoadedModel(
        model,
        tokenizer,
        source,
        weights_digest(folder),
        begins_with_bos=bool(trained) or tokenizer.bos_token == BOS_TOKEN or tokenizer.puts_bos,
        boundary=trained.get("stream", {}).get("attention_boundary", "none") != "none",
        context_length=trained.get("train", {}).get("context_length"),
    )


def check_one_tokenizer(members: Sequence[LoadedModel]) -> None:
    """`InputError` for members of different tokenizers, attention boundaries or prompts: they cannot be averaged."""
    for member in members[1:]:
        if member.begins_with_bos != members[0].begins_with_bos:
            raise InputError(
                f"of {member.source} and {members[0].source} one sees a BOS before a prompt",
                where="--model",
                remedy="score them apart, or name both as they lie in their workspaces (train/<fingerprint>)",
            )
        if member.tokenizer.fingerprint != members[0].tokenizer.fingerprint:
            raise InputError(
                f"{member.source} has another tokenizer than {members[0].source}",
                where="--model",
                remedy="an ensemble averages models of one tokenizer: score the others on their own",
            )
        if member.boundary != members[0].boundary:
            raise InputError(
                f"of {member.source} and {members[0].source} one was trained with an attention boundary",
                where="--model",
                remedy="score them separately: a model is scored with the boundary it was trained with",
            )


def _require_device(device: str) -> None:
    """`InputError` for `cuda` where PyTorch sees no GPU."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        remedy = "use --device cpu, or install PyTorch for CUDA and check that nvidia-smi lists a GPU"
        raise InputError("PyTorch sees no GPU here", where=f"--device {device}", remedy=remedy)


def _model_folder(folder: Path) -> Path:
    """The folder itself, or the model inside a train artifact."""
    inside = folder / "model"
    return inside if not (folder / "config.json").is_file() and (inside / "config.json").is_file() else folder


def _read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a folder that need not be ours: nothing is said about deleting it."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError("no model is here", where=str(folder), remedy="give a Hugging Face folder with config.json")
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"not JSON: {error}", where=str(path), remedy=_FETCH_AGAIN) from error
    if not isinstance(config, dict):
        raise DamagedError("not a model's configuration", where=str(path), remedy=_FETCH_AGAIN)
    for name in _LAYERS:
        if isinstance(config.get(name), int | float) and config[name] > _MOST_LAYERS:  # libraries would build them all
            raise DamagedError(f"{name} is {config[name]:,}", where=str(path), remedy=_FETCH_AGAIN)
    return config


def _checked_record(folder: Path) -> Mapping[str, Any]:
    """What the model of a train artifact was trained with; empty for a model from elsewhere.

    Raises:
        DamagedError: its files are not those of the record: other weights, another tokenizer.
    """
    if folder.name != "model" or not (folder.parent / RECORD).is_file():
        return {}
    record = read_json(folder.parent / RECORD)
    own = {name.removeprefix("model/"): facts for name, facts in record["files"].items() if name.startswith("model/")}
    for problem in iter_problems(folder, own):
        remedy = f"delete {folder.parent} and run again: only this step is repeated"
        raise DamagedError(problem.what, where=problem.path, remedy=remedy)
    config: Mapping[str, Any] = record.get("config", {})
    return config


def _load_other(folder: Path) -> Any:
    """A causal language model of another family, through transformers."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    load: Any = AutoModelForCausalLM.from_pretrained
    settings = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
    try:
        model, found = load(str(folder), dtype=torch.float32, output_loading_info=True, **settings)
    except SafetensorError as error:
        raise DamagedError(f"not whole safetensors: {error}", where=str(folder), remedy=_FETCH_AGAIN) from error
    except (OSError, ValueError, ImportError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(
            f"transformers cannot load the model: {type(error).__name__} {error}",
            where=str(folder),
            remedy="check config.json, and that the weights are safetensors",
        ) from error
    if found["missing_keys"] or found["mismatched_keys"]:  # transformers would fill these with random numbers
        wrong = sorted(str(key) for key in [*found["missing_keys"], *found["mismatched_keys"]])
        raise DamagedError(
            f"{len(wrong)} weights are missing or of another shape: {', '.join(wrong[:5])}",
            where=str(folder),
            remedy="check that config.json and the weights belong together",
        )
    return model


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES))
    except hub_errors() as error:
        raise InputError(
            f"neither a folder nor a model on the hub: {type(error).__name__}",
            where=name,
            remedy="give a Hugging Face folder, or a hub name while online",
        ) from error
