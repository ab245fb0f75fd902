"""Cuts stand between characters as a reader sees them: in pieces, in prompts, in truncated documents."""

from __future__ import annotations

import re
import tracemalloc

import pytest
import regex

from megadocs.corpus.pieces import cut_pieces
from megadocs.generate.long_documents import fitting_spans
from megadocs.text.characters import cut_position

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
CLUSTERS = [
    "e\u0301",
    FAMILY,
    "\U0001f1e9\U0001f1ea",
    "\u1112\u1161\u11ab",
    "\u0915\u094d\u0937\u093f",
    "a",
    "\r\n",
    "z\u0323\u0307",
]


class OneTokenACodePoint:
    def offsets(self, text: str) -> list[tuple[int, int]]:
        self.length = len(text)
        return [(place, place + 1) for place in range(len(text))]


def boundaries(text: str) -> set[int]:
    return {0, *(found.end() for found in regex.finditer(r"\X", text))}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_position_moves_to_a_boundary(cluster: str) -> None:
    text = "xy" + cluster * 5 + "z"
    for position in range(len(text) + 1):
        found = cut_position(text, position)
        assert found in boundaries(text)
        assert position - len(cluster) < found <= max(position, len(cluster) + 2)
        for after in range(position):
            if after in boundaries(text):
                assert cut_position(text, position, after=after) > after


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("policy", ["split", "truncate"])
def test_documents_are_cut_between_characters(cluster: str, policy: str) -> None:
    text = (cluster * 40 + "word ") * 4
    spans = fitting_spans(text, 37, policy, OneTokenACodePoint())  # type: ignore[arg-type]
    cuts = [place for span in spans for place in span.characters or ()]
    assert set(cuts) <= boundaries(text)
    if policy == "split":
        shown = "".join(text[slice(*span.characters)] for span in spans if span.characters)
        assert text.endswith(shown)
        assert not text.removesuffix(shown).strip()  # white space alone is no part
    assert all(text[slice(*(span.characters or (0, None)))].strip() for span in spans)


@pytest.mark.parametrize("cluster", [cluster for cluster in CLUSTERS if cluster.strip()])
def test_pieces_are_cut_between_characters(cluster: str) -> None:
    text = cluster * 300
    pieces = cut_pieces(text, 30, 60)
    assert "".join(pieces) == text
    assert all(len(cluster) * (len(piece) // len(cluster)) == len(piece) for piece in pieces)


def test_white_space_is_no_part() -> None:
    text = "a" * 40 + "\n\n" + " " * 400 + "b" * 40
    parts = fitting_spans(text, 50, "split", OneTokenACodePoint())
    shown = [text[slice(*(span.characters or (0, None)))] for span in parts]
    assert all(part.strip() for part in shown)
    assert re.sub(r"\s", "", "".join(shown)) == "a" * 40 + "b" * 40
    assert fitting_spans(" " * 200 + "text", 50, "truncate", OneTokenACodePoint())[0].skip == "too_long"


@pytest.mark.parametrize("policy", ["truncate", "skip"])
def test_a_large_document_is_read_no_further_than_it_takes(policy: str) -> None:
    """20 MB cost 2.6 GB and 28 s when all of it was tokenised for 2,048 tokens."""
    text, tokenizer = "words of a text " * 1_250_000, OneTokenACodePoint()
    tracemalloc.start()
    spans = fitting_spans(text, 2048, policy, tokenizer)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tokenizer.length < 20_000
    assert peak < 30_000_000  # of which 20 MB are the text as bytes
    assert spans[0].characters == ((0, 2048) if policy == "truncate" else None)


def test_a_tokenizer_that_does_not_know_the_script_is_refused() -> None:
    import json

    import tokenizers

    from megadocs.errors import InputError
    from megadocs.text.tokenizer import Tokenizer

    model = tokenizers.models.WordLevel({"[UNK]": 0, "</s>": 1, "a": 2, "b": 3}, unk_token="[UNK]")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["[UNK]", "</s>"])
    tokenizer = Tokenizer(json.loads(made.to_str()), None, "</s>")
    tokenizer.refuse_unknown(["a b a b c"], "here")
    with pytest.raises(InputError, match="does not know 100% of the text"):
        tokenizer.refuse_unknown(["слово за словом"], "here")
