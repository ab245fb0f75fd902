"""Ids by words equal the library's, to the last, for every pattern and every known character."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.text import tokenizer as tokenizer_module
from megadocs.text import word_ids
from megadocs.text.byte_level import PRE_TOKENIZERS, byte_characters, byte_level_bpe
from megadocs.text.tokenizer import Tokenizer, train_tokenizer

PROSE = [
    "It's the King's; they'LL go, won't they?  No: 12345 times.\n\n\tThe end \r\n of it\u2014\u201cso\u201d.",
    "a b c",
]
KNOWN = [chr(code) for code in word_ids._CODES]
#: What patterns tell apart, more often than chance would bring it.
PIECES = [
    "'s",
    "'LL",
    "'",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\xa0",
    "\x85",
    "\x1c",
    "word",
    "W\xe9",
    "7",
    "2026",
    "\xb2",
    "!",
    "--",
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.sampled_from(KNOWN)), max_size=30).map("".join)


def tokenizer_of(name: str) -> Tokenizer:
    """Bytes, a few merges, and the pre-tokenizer of this name."""
    vocabulary = {character: number for number, character in enumerate(byte_characters())}
    merges = [
        ("w", "o"),
        ("r", "d"),
        ("wo", "rd"),
        ("\u0120", "word"),
        ("'", "s"),
        ("\u010a", "\u010a"),
        ("\u0120", "\u0120"),
        ("1", "2"),
    ]
    for pair in merges:
        vocabulary["".join(pair)] = len(vocabulary)
    vocabulary["<eos>"] = len(vocabulary)
    spec = byte_level_bpe(vocabulary, merges, {"<eos>": vocabulary["<eos>"]}, name)
    return Tokenizer(spec, None, "<eos>")


TOKENIZERS = {name: tokenizer_of(name) for name in ("gpt-2", "llama-bpe", "qwen2")}


@pytest.mark.parametrize("name", TOKENIZERS)
@given(texts)
def test_the_same_ids_as_the_library(name: str, text: str) -> None:
    own = TOKENIZERS[name]
    assert own._words is not None
    assert own._words.knows(text)
    (expected,) = own._library_encodings([text])
    assert own.encode_batch([text])[0].tolist() == expected.ids


@pytest.mark.parametrize("name", TOKENIZERS)
def test_every_known_character_in_company(name: str) -> None:
    own = TOKENIZERS[name]
    company = [
        f"{before}{character}{after}"
        for character in KNOWN
        for before in ("a", " ", "\n", "1", "!", "'")
        for after in ("b", " ", "2", ".", "")
    ]
    found = own.encode_batch(company)
    assert [ids.tolist() for ids in found] == [encoding.ids for encoding in own._library_encodings(company)]


def test_texts_of_other_characters_go_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    own = train_tokenizer(PROSE, 300)
    mixed = ["plain words", "\u4e2d\u6587 and words", "\u017fo", "words", "\U0001f600"]
    asked = []
    library = own._library_encodings
    monkeypatch.setattr(own, "_library_encodings", lambda batch: asked.extend(batch) or library(batch))
    found = own.encode_batch(mixed)
    assert asked == [mixed[1], mixed[2], mixed[4]]
    assert [ids.tolist() for ids in found] == [encoding.ids for encoding in library(mixed)]


def test_with_many_cores_the_library_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    own = train_tokenizer(PROSE, 300)
    expected = [ids.tolist() for ids in own.encode_batch(PROSE)]
    monkeypatch.setattr(tokenizer_module, "usable_cores", lambda: word_ids.WORTH_CORES + 1)
    monkeypatch.setattr(own._words, "encode", lambda batch: pytest.fail("by words"))
    assert [ids.tolist() for ids in own.encode_batch(PROSE)] == expected


def test_a_full_table_is_begun_anew_by_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_ids, "_MAX_CHARACTERS", 400)
    own = train_tokenizer(PROSE, 300)
    batches = [[f"word{number} and {number * 7} others", PROSE[0]] for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(own.encode_batch, batches))
    assert [[ids.tolist() for ids in rows] for rows in found] == [
        [encoding.ids for encoding in own._library_encodings(batch)] for batch in batches
    ]
    assert own._words is not None
    assert sum(map(len, own._words._ids)) < 4000


@pytest.mark.parametrize("change", [
    {"normalizer": {"type": "NFC"}},
    {"pre_tokenizer": PRE_TOKENIZERS["smollm"]},
    {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
    {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}},
    {"added_tokens": [{"id": 0, "content": "  ", "special": False}]},
])  # fmt: skip
def test_tokenizers_whose_words_are_not_known(change: dict) -> None:
    vocabulary = {character: number for number, character in enumerate(byte_characters())}
    spec = byte_level_bpe(vocabulary, [], {}, "gpt-2")
    assert word_ids.build_word_ids(spec, list) is not None
    assert word_ids.build_word_ids({**spec, **change}, list) is None
