"""Cuts stand between characters as a reader sees them: in pieces, in prompts, in truncated documents."""

from __future__ import annotations

import re
import tracemalloc

import pytest
import regex

from megadocs.corpus.pieces import cut_pieces
from megadocs.documents import Document
from megadocs.generate import plan_requests
from megadocs.generate.long_documents import fitting_spans
from megadocs.kinds import equal_cuts
from megadocs.recipe import GenerateConfig
from megadocs.text.characters import cut_position
from megadocs.text.tokenizer import train_tokenizer

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


@pytest.mark.parametrize("cluster", [cluster for cluster in CLUSTERS if cluster.strip()])
@pytest.mark.parametrize("task", ["thought", "continuation"])
def test_prompts_cut_documents_between_characters(cluster: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the cut: no thought stands inside an emoji, no prompt shows half of one."""
    text = cluster * 50
    monkeypatch.setattr("megadocs.generate.plan.split_tokenizer", lambda config, required: OneTokenACodePoint())
    section = {"num_generations": 7, "max_new_tokens": 32, **({"style": "go_on"} if task == "continuation" else {})}
    config = GenerateConfig.model_validate({"engine": {"kind": "fake", "model": "f"}, task: section})
    requests = plan_requests(config, task, [Document("d", text)])
    assert len(requests) == 7
    assert {request.split_character for request in requests} <= boundaries(text) - {0, len(text)}


def test_a_cut_beside_white_space_alone_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation keeps its number: those of a document that is not cut so are what they were."""
    config = GenerateConfig.model_validate(
        {"engine": {"kind": "fake", "model": "f"}, "thought": {"num_generations": 3, "max_new_tokens": 32}}
    )
    found = {}
    for text in ("one two three four", " " * 9 + "\u3000\n", "\n\n\n"):
        for request in plan_requests(config, "thought", [Document("d", text)]):
            cut = request.split_character
            assert cut is not None and text[:cut].strip() and text[cut:].strip()
            found.setdefault(text, []).append(request.generation)
    assert found == {"one two three four": [0, 1, 2]}
    monkeypatch.setattr("megadocs.generate.plan.split_tokenizer", lambda config, required: OneTokenACodePoint())
    text = " " * 20 + "words and more words"
    assert equal_cuts(OneTokenACodePoint().offsets(text), text, 3) == [10, 20, 30]
    requests = plan_requests(config, "thought", [Document("d", text)])
    assert [(request.generation, request.split_character) for request in requests] == [(2, 30)]


@pytest.mark.parametrize("policy", ["split"])
def test_a_large_document_is_split_in_windows(policy: str) -> None:
    """20 MB in parts of 2,048 tokens: 8 bytes a token are kept, and no encoding is longer than a million characters."""
    tokenizer = train_tokenizer(["words of a text "], 280)
    text = "words of a text " * 250_000  # 4 MB
    tracemalloc.start()
    spans = fitting_spans(text, 2048, policy, tokenizer)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "".join(text[slice(*(span.characters or (0, 0)))] for span in spans) == text
    assert peak < 300 * len(text)


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
