"""Building a set: bytes are UTF-8, order comes from hashes."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.evaluate.document_losses import score_documents
from megadocs.evaluate.evaluation_set import EvaluationSet, build_evaluation_set
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.seeding import document_key, mix


class CharacterTokenizer:
    """One token per character, id 1 + place in the alphabet; 0 is BOS and EOS + 1 the end."""

    alphabet = sorted(set("naïve Straße 日本語 🙂 plain"))
    vocab_size = len(alphabet) + 2

    def encode_rows(self, texts):
        end = self.vocab_size - 1
        return [np.array([0, *(1 + self.alphabet.index(c) for c in t), end], dtype=np.uint32) for t in texts]


def test_bits_per_byte_of_non_ascii_text_counts_utf8_bytes():
    texts = ["naïve", "Straße", "日本語", "🙂", "plain"]
    tokenizer = CharacterTokenizer()
    documents = [Document(id=str(i), text=text) for i, text in enumerate(texts)]
    data = build_evaluation_set("text", documents, tokenizer)
    assert list(data.num_bytes) == [6, 7, 9, 4, 5]
    uniform = ScoringModel.from_callable(
        lambda tokens: torch.zeros(*tokens.shape, tokenizer.vocab_size), tokenizer.vocab_size
    )
    scores = score_documents(uniform, data, context_length=16)
    num_targets = sum(len(text) + 1 for text in texts)
    assert math.isclose(scores.bits_per_byte, num_targets * math.log2(tokenizer.vocab_size) / 31, rel_tol=1e-6)


def test_order_is_by_hash_and_stable():
    documents = [Document(id=c, text="plain") for c in "abcdefgh"]
    data = build_evaluation_set("text", documents, CharacterTokenizer())
    assert "".join(data.ordered().document_ids) == "".join(data.subset(range(7, -1, -1)).ordered().document_ids)
    assert "".join(data.ordered().document_ids) != "abcdefgh"
    assert "".join(data.ordered("given").document_ids) == "abcdefgh"


def set_of(**changed):
    parts = {
        "name": "held",
        "document_ids": ("a", "b"),
        "rows": [np.array([0, 1, 2]), np.array([0, 3])],
        "num_bytes": (9, 4),
    }
    return EvaluationSet(**{**parts, **changed})


@pytest.mark.parametrize(
    ("changed", "what", "remedy"),
    [
        (
            {"document_ids": (), "rows": [], "num_bytes": ()},
            "the evaluation set is empty",
            "give it at least one document",
        ),
        ({"document_ids": ("a", "a")}, "document ids repeat", "give every document an id of its own"),
    ],
)
def test_sets_that_cannot_be(changed, what, remedy):
    with pytest.raises(InputError) as caught:
        set_of(**changed)
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, "held", remedy)
    with pytest.raises(ValueError, match=r"^document_ids, rows and num_bytes differ in length$"):
        set_of(num_bytes=(9,))


@pytest.mark.parametrize(
    ("row", "what", "remedy"),
    [
        (
            [5],
            "document 'b' has 1 tokens: nothing to predict",
            "a row has two tokens at least, separators included: leave empty documents out",
        ),
        (
            [0, 4],
            "document 'b' holds token 4, but the model has 4",
            "encode the set with the tokenizer the model was trained with",
        ),
        (
            [0, -1],
            "document 'b' holds token -1, but the model has 4",
            "encode the set with the tokenizer the model was trained with",
        ),
    ],
)
def test_documents_that_a_model_cannot_score_are_named(row, what, remedy):
    with pytest.raises(InputError) as caught:
        set_of(rows=[np.array([0, 1, 2]), np.array(row)]).check(4)
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, "held", remedy)
    set_of().check(4)


def test_short_and_long_sides():
    data = set_of()
    assert (len(data), data.num_tokens) == (2, 5)
    short, long = data.short_and_long(3)
    assert (short.name, short.document_ids, short.num_bytes) == ("held_short", ["b"], [4])
    assert (long.name, long.document_ids, [row.tolist() for row in long.rows]) == ("held_long", ["a"], [[0, 1, 2]])
    assert data.short_and_long(2)[0] is None
    assert data.short_and_long(4)[1] is None
    assert data.subset([1]).name == "held"
    assert data.digest == data.subset([1, 0]).digest != set_of(num_bytes=(9, 5)).digest


def test_the_order_is_the_same_for_ever():
    """Where windows are cut follows from it: another order is another headline."""
    data = EvaluationSet("t", list("abcdefgh"), [np.array([0, n]) for n in range(8)], list(range(8)))
    ordered = data.ordered()
    seed = int.from_bytes(hashlib.sha256(b'[0,"evaluation_order"]').digest()[:8], "little")
    expected = sorted("abcdefgh", key=lambda name: mix(seed ^ document_key(name)))
    assert "".join(ordered.document_ids) == "".join(expected) == "hdfceabg"
    assert [int(row[1]) for row in ordered.rows] == ["abcdefgh".index(name) for name in expected] == ordered.num_bytes
    assert ordered.name == "t"


def test_the_digest_by_hand():
    data = set_of(document_ids=("ü", "b"), rows=[np.array([0, 1, 70_000], dtype=np.uint64), np.array([0, 3])])
    state = hashlib.sha256()
    for name, row, num_bytes in sorted(
        zip(data.document_ids, data.rows, data.num_bytes, strict=True),
        key=lambda line: data.ordered().document_ids.index(line[0]),
    ):
        state.update(b'["%s", %d, %d]' % ({"ü": b"\\u00fc", "b": b"b"}[name], num_bytes, len(row)))
        state.update(b"".join(int(token).to_bytes(4, "little") for token in row))
    assert data.digest == state.hexdigest()


def test_a_set_of_texts_whole():
    documents = [Document(id="x", text="naïve"), Document(id="y", text="")]
    data = build_evaluation_set("text", documents, CharacterTokenizer())
    end = CharacterTokenizer.vocab_size - 1
    letters = [1 + CharacterTokenizer.alphabet.index(letter) for letter in "naïve"]
    assert (data.name, data.document_ids, data.num_bytes) == ("text", ["x", "y"], [6, 0])
    assert [row.tolist() for row in data.rows] == [[0, *letters, end], [0, end]]
