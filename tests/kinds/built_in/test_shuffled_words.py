"""The control without meaning: the same tokens, another order, no generation of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kinds.toy import Toy, run_toy
from megadocs.kinds import Tags, Written, orderings_of_role, row_kind, row_kinds
from megadocs.kinds.built_in.shuffled_words import shuffle_words
from megadocs.text.tokenizer import train_tokenizer

TEXT = "The cat sat on the mat; nobody knew why.\n\nIt was raining, again, and the cat did not care about it at all."
TOKENIZER = train_tokenizer([TEXT], 300)


def tokens(text: str) -> Counter[int]:
    return Counter(TOKENIZER.encode_rows([text])[0].tolist())


def test_words_move_and_tokens_stay() -> None:
    shuffled = shuffle_words(TEXT)
    assert shuffled != TEXT
    assert shuffled.startswith("The ")
    assert tokens(shuffled) == tokens(TEXT)
    assert shuffle_words(TEXT) == shuffled
    moved = sum(a != b for a, b in zip(shuffled.split(), TEXT.split(), strict=True))
    assert moved > len(TEXT.split()) / 2


@given(st.text(st.sampled_from("ab cd\n,.é'1"), max_size=60))
def test_any_text_keeps_its_tokens(text: str) -> None:
    assert tokens(shuffle_words(text)) == tokens(text)
    assert sorted(shuffle_words(text)) == sorted(text)


def test_characters_of_scripts_without_spaces_are_words() -> None:
    text = "\u5929\u6c14\u5f88\u597d\u6211\u4eec\u53bb\u516c\u56ed\u6563\u6b65"
    assert shuffle_words(text) != text
    assert sorted(shuffle_words(text)) == sorted(text)


def test_thoughts_are_shuffled_and_their_document_is_not() -> None:
    make = row_kind("shuffled_thoughts").text
    assert make is not None
    row = make("before after", [Written(7, TEXT)], Tags("<think>", "</think>"))
    assert row == f"before <think>{shuffle_words(TEXT)}</think>after"


def test_both_are_controls_of_their_method() -> None:
    controls = {spec.name: spec.contrast for spec in orderings_of_role("control")}
    for name, method in (("shuffled_words", "simple"), ("shuffled_thoughts", "latent_thoughts")):
        contrast = controls[name]
        assert contrast is not None and contrast.method == method


def test_a_recipe_generates_nothing_for_them(tmp_path: Path) -> None:
    generate = {"rephrase": {"num_generations": 2, "max_new_tokens": 60}, "thought": {"num_generations": 2}}
    methods = {name: {"stream.ordering": name} for name in ("simple", "latent_thoughts")}
    controls = {name: {"stream.ordering": name} for name in ("shuffled_words", "shuffled_thoughts")}
    toy: Toy = run_toy(tmp_path, generate, methods | controls)
    assert toy.outcome.experiment is not None
    assert len(toy.outcome.experiment.of_kind("generate")) == 2
    rephrases, shuffled = toy.texts("rephrase"), toy.texts("shuffled_rephrase")
    assert shuffled == {row: shuffle_words(text) for row, text in rephrases.items()}
    stretched = toy.texts("shuffled_thoughts")
    assert set(stretched) == set(toy.texts("latent_thoughts"))
    for item in toy.generations("thought"):
        assert f"<think>{shuffle_words(item['text'])}</think>" in stretched[item["document_id"], 2]
    table = toy.store().table
    lengths = {kind.name: int(table.num_tokens[table.kind == kind.code].sum()) for kind in row_kinds()}
    assert lengths["shuffled_rephrase"] == lengths["rephrase"]
    # the last word of a thought may join its closing tag in another way
    assert abs(lengths["shuffled_thoughts"] / lengths["latent_thoughts"] - 1) < 0.01
