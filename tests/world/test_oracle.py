"""An oracle predictor scores exactly the floor, in total and in every class of tokens.

The oracle knows the language and nothing of how documents are made into spans: for every prefix it lists what may come
next. It goes through the ordinary scoring, with an ordinary trained tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from megadocs.documents import Document
from megadocs.evaluate.document_losses import iter_alone_losses
from megadocs.evaluate.evaluation_set import build_evaluation_set
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE
from megadocs.evaluate.token_classes import ClassCollectors
from megadocs.pipeline.stages.world_classes import world_classes, world_floor
from megadocs.text.tokenizer import Tokenizer, train_tokenizer
from megadocs.world import WorldParameters, iter_world, parse_world
from megadocs.world.language import ATTRIBUTES, DOCUMENT_LEADS, HOP_LEADS, LEAD_WORDS, SYLLABLES, table_entry

_IMPOSSIBLE = -1e4


def next_words(world: WorldParameters, words: Sequence[str]) -> Mapping[str, float]:
    """Word (or "" for the end) -> its probability after `words`."""
    length = world.name_length
    syllables = dict.fromkeys(SYLLABLES[: world.syllables], 1 / world.syllables)
    opening = ["record", "of", *[None] * length, "."]
    if len(words) < len(opening):
        word = opening[len(words)]
        return syllables if word is None else {word: 1.0}
    subject, rest = list(words[2 : 2 + length]), list(words[len(opening) :])
    size, facts = LEAD_WORDS + 1 + length + 1, ATTRIBUTES[: world.facts]
    told: dict[str, list[str]] = {}
    while len(rest) >= size and rest[:2] != ["now", "about"]:
        told.setdefault(rest[LEAD_WORDS], rest[LEAD_WORDS + 1 : LEAD_WORDS + 1 + length])
        rest = rest[size:]
        facts = [name for name in facts if name != sentence_attribute(words, len(words) - len(rest), size)] or list(
            ATTRIBUTES[: world.facts]
        )
    num_sentences = (len(words) - len(opening) - len(rest)) // size
    if num_sentences < world.mentions * world.facts:
        leads = [(lead.split(), name) for lead in DOCUMENT_LEADS for name in facts]
        values: Mapping[str, list[str]] = told
    elif world.hops is None:
        return {"": 1.0}
    else:
        second = ["now", "about", *subject, "."]
        if len(rest) < len(second):
            return {second[len(rest)]: 1.0}
        rest = rest[len(second) :]
        left = list(ATTRIBUTES[: world.facts])
        while len(rest) >= size:
            left.remove(rest[LEAD_WORDS])
            rest = rest[size:]
        if not left:
            return {"": 1.0}
        leads = [(HOP_LEADS[world.hops].split(), name) for name in left]
        values = {name: follow(world, told, name) for name in ATTRIBUTES[: world.facts]}
    fitting = [
        sentence
        for sentence in ([*lead, name] for lead, name in leads)
        if sentence[: len(rest)] == rest[: LEAD_WORDS + 1]
    ]
    if len(rest) < LEAD_WORDS + 1:
        counts: dict[str, float] = {}
        for sentence in fitting:
            counts[sentence[len(rest)]] = counts.get(sentence[len(rest)], 0.0) + 1 / len(fitting)
        return counts
    place = len(rest) - LEAD_WORDS - 1
    if place == length:
        return {".": 1.0}
    return {values[rest[LEAD_WORDS]][place]: 1.0} if rest[LEAD_WORDS] in values else syllables


def sentence_attribute(words: Sequence[str], end: int, size: int) -> str:
    """The attribute of the sentence that ends before `end`."""
    return words[end - size + LEAD_WORDS]


def follow(world: WorldParameters, told: Mapping[str, Sequence[str]], name: str) -> list[str]:
    """The derived value of an attribute, hop by hop."""
    assert world.hops is not None
    names = list(ATTRIBUTES[: world.facts])
    result = [SYLLABLES.index(word) for word in told[name]]
    for hop in range(1, world.hops + 1):
        other = told[names[(names.index(name) + hop) % len(names)]]
        result = [table_entry(a, SYLLABLES.index(b), world.syllables) for a, b in zip(result, other, strict=True)]
    return [SYLLABLES[index] for index in result]


def oracle(world: WorldParameters, tokenizer: Tokenizer) -> ScoringModel:
    """The oracle over a tokenizer in which every word is one token."""

    def token(word: str, place: int) -> int:
        if not word:
            return tokenizer.eos_id
        (found,) = tokenizer.encode_batch([word if place == 0 else f" {word}"])[0].tolist()
        return int(found)

    def logits(tokens_BT: torch.Tensor) -> torch.Tensor:
        out = torch.full((*tokens_BT.shape, tokenizer.vocab_size), _IMPOSSIBLE, dtype=torch.float32)
        for line, row in enumerate(tokens_BT.tolist()):
            end = row.index(tokenizer.eos_id) if tokenizer.eos_id in row else len(row)
            words = tokenizer.decode(np.array(row[1:end], dtype=np.uint32)).split()
            for place in range(end):
                for word, probability in next_words(world, words[:place]).items():
                    out[line, place, token(word, place)] = math.log(probability)
        return out

    return ScoringModel.from_callable(logits, tokenizer.vocab_size)


@pytest.mark.parametrize(
    "source",
    [
        "world://documents=12,facts=3,mentions=2,name_length=2,syllables=8",
        "world://documents=12,seed=5,facts=3,mentions=1,name_length=1,syllables=8,hops=1",
    ],
)
def test_the_oracle_scores_the_floor_in_every_class(source: str) -> None:
    world = parse_world(source)
    documents = [Document(name, text, {"world": world.source}) for name, text in iter_world(world)]
    tokenizer = train_tokenizer([document.text for document in documents], vocab_size=1024)
    data = build_evaluation_set("test", documents, tokenizer).ordered()
    assert all(
        len(row) == len(d.text.split()) + 2 for row, d in zip(sorted(data.rows, key=len), documents, strict=True)
    )
    classes = world_classes(documents, tokenizer)
    parts = ClassCollectors(data, classes, 1)
    for batch in iter_alone_losses([oracle(world, tokenizer)], [SINGLE], data, context_length=256):
        parts.add(batch)
    floor = world_floor(documents, classes, has_start=False)
    scores = {table[0].set.removeprefix("test_"): table[0] for table in parts.scores()}
    assert set(scores) == set(floor)
    for name, expected in floor.items():
        assert int(scores[name].num_tokens.sum()) == expected["num_tokens"]
        assert float(scores[name].sum_nll.sum()) == pytest.approx(expected["nats"], abs=1e-3)
    assert sum(entry["num_tokens"] for entry in floor.values()) == data.num_tokens - len(data)
