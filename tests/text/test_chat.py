"""Templates of models read here: which one counts, as in transformers, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megadocs.errors import InputError
from megadocs.text.chat import load_chat
from megadocs.text.tokenizer import train_tokenizer

MESSAGES = [{"role": "user", "content": "one two"}]
IN_CONFIG, IN_FILE = "config {{ messages[0]['content'] }}", "file {{ messages[0]['content'] }}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train_tokenizer(["one two three file config other"] * 9, vocab_size=280).save(tmp_path)
    return tmp_path


def set_config(folder: Path, **values: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def rendered(folder: Path) -> str:
    chat = load_chat(folder)
    return chat.decode(chat.prompt(MESSAGES))


@pytest.mark.parametrize(
    "in_config, in_file",
    [
        (IN_CONFIG, None),
        (IN_CONFIG, IN_FILE),
        (None, IN_FILE),
        ([{"name": "default", "template": IN_CONFIG}, {"name": "tool_use", "template": "other"}], None),
        ([{"name": "default", "template": IN_CONFIG}], IN_FILE),
        (IN_CONFIG, "{% for message in messages %}\n    {{ message['content'] }}  \n{% endfor %}\n"),
    ],
)
def test_the_template_is_the_one_that_transformers_takes(folder: Path, in_config: Any, in_file: str | None) -> None:
    from transformers import AutoTokenizer

    set_config(folder, chat_template=in_config)
    if in_file is not None:
        (folder / "chat_template.jinja").write_text(in_file)
    reference = AutoTokenizer.from_pretrained(folder)
    assert rendered(folder) == reference.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("data", [b"\xff\xfe{\x00", "größer".encode("latin-1")])
def test_a_template_that_is_not_utf8_is_one_message(folder: Path, data: bytes) -> None:
    (folder / "chat_template.jinja").write_bytes(data)
    with pytest.raises(InputError, match="the chat template cannot be read") as caught:
        load_chat(folder)
    assert str(caught.value.where).endswith("chat_template.jinja")


@pytest.mark.parametrize("data", [b"\xff{}", b"{", b"[" * 100_000])
def test_a_configuration_that_is_none_is_one_message(folder: Path, data: bytes) -> None:
    (folder / "generation_config.json").write_bytes(data)
    with pytest.raises(InputError, match="not JSON"):
        load_chat(folder)


def test_a_template_without_end_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("x" * 1_100_000)
    with pytest.raises(InputError, match="longer than a million"):
        load_chat(folder)
