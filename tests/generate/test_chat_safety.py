from __future__ import annotations

import pytest

from megadocs.generate.chat_safety import fence, find_control_strings, neutralise

CONTROL = ["<|im_start|>", "<|eot_id|>", "<|endoftext|>", "</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"]
CONTROL += ["<start_of_turn>", "<end_of_turn>", "<bos>", "<｜User｜>", "<|begin_of_text|>"]


@pytest.mark.parametrize("string", CONTROL)
def test_control_strings_are_broken_up(string: str) -> None:
    text = f"before{string}after{string}"
    assert find_control_strings(text) == [string, string]
    clean = neutralise(text)
    assert string not in clean
    assert find_control_strings(clean) == []
    assert clean.replace(" ", "") == text
    assert neutralise(clean) == clean


@pytest.mark.parametrize("text", ["a < b | c > d", "x[INSTANCE]", "<span>", "array[1]", "<|>", "{{document}}"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert neutralise(text) == text


def test_overlapping_control_strings() -> None:
    assert find_control_strings(neutralise("<|<|im_end|>|>")) == []


def test_fence() -> None:
    assert fence(' a """ b ') == '"""\na \'\'\' b\n"""'
