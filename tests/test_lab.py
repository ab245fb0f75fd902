"""The scripts of `lab/` that made the student of `results/order`, to their end at toy size: texts, then training."""

from __future__ import annotations

import gzip
import importlib.util
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from megadocs.evaluate.context_use import repeat_score
from megadocs.evaluate.scoring_model import as_scoring_model
from megadocs.model.hf_import import import_hf
from megadocs.recipe.training import ModelConfig
from megadocs.text.tokenizer import load_tokenizer
from pipeline.corpora import VERBS, WORDS

LAB = Path(__file__).parents[1] / "lab"


def script(name: str) -> ModuleType:
    """A script as a module of its own: what a test changes in it stays there."""
    spec = importlib.util.spec_from_file_location(name, LAB / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # data classes look their module up
    spec.loader.exec_module(module)
    return module


def prose(draw: random.Random, sentences: int) -> str:
    """Sentences of made-up prose."""
    words = [(draw.choice(WORDS), draw.choice(VERBS), draw.choice(WORDS), draw.choice(WORDS)) for _ in range(sentences)]
    return " ".join(f"The {one} {verb} the {two}, as the {three} was before." for one, verb, two, three in words)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind that the script reads, and some that it must leave."""
    root, draw = tmp_path_factory.mktemp("tree"), random.Random(0)
    for number in range(30):
        paragraphs = [prose(draw, 6) for _ in range(5)]
        (root / f"{number:02}.rst").write_text("\n\n".join(["=====", *paragraphs, "short"]), encoding="utf-8")
    packed = "\n\n".join(["A packed page " + prose(draw, 6), "1234567890 " * 20])
    (root / "packed.txt.gz").write_bytes(gzip.compress(packed.encode()))
    page = f"<p>A page of &quot;marks&quot;: {prose(draw, 6)}</p><script>run({{}})</script>"
    (root / "page.html").write_text(page, encoding="utf-8")
    (root / "twice.md").write_bytes((root / "00.rst").read_bytes())
    (root / "code.py").write_text(prose(draw, 9), encoding="utf-8")
    (root / "link.txt").symlink_to(root / "01.rst")
    return root


def test_the_prose_of_a_tree(tree: Path) -> None:
    documents = script("order_text").read_documents([tree])
    assert sorted(map(len, documents)) == [1, 1, *[5] * 30]  # not the code, the link, nor the same paragraphs twice
    every = [paragraph for paragraphs in documents for paragraph in paragraphs]
    assert len(set(every)) == len(every) == 152
    assert sum(text.startswith("A packed page The ") for text in every) == 1
    (page,) = [text for text in every if text.startswith("A page of")]
    assert page.startswith('A page of "marks": The ') and "run(" not in page
    assert all(len(text) >= 80 and "=" not in text and "\n" not in text for text in every)


def test_records_have_the_shares_that_are_asked_for(tree: Path) -> None:
    text = script("order_text")
    documents = text.read_documents([tree])
    found = list(text.iter_records(documents, (0.0, 1.0, 0.0, 0.0), 40_000, seed=1))
    assert 40_000 <= sum(map(len, found)) < 44_000
    for record in found:  # a passage, and again: at once, or behind another text
        passage = record.split("\n\n")[0]
        assert record.count(passage[:60]) >= 2
    words_again = list(text.iter_records(documents, (0.0, 0.0, 1.0, 0.0), 20_000, seed=1))
    for record in words_again:
        counts = set(Counter(record.split()).values())
        assert min(counts) >= 2
    clauses = list(text.iter_records(documents, (0.0, 0.0, 0.0, 1.0), 20_000, seed=1))
    for record in clauses:
        half = (len(record) - 2) // 2
        passage, again = record[:half], record[half + 2 :]
        assert record[half : half + 2] == "\n\n"
        assert Counter(passage.split()) == Counter(again.split())
    assert any(record[: len(record) // 2 - 1] != record[len(record) // 2 + 1 :] for record in clauses)
    plain = list(text.iter_records(documents, (1.0,), 20_000, seed=1))
    assert plain != list(text.iter_records(documents, (1.0,), 20_000, seed=2))
    assert all(any(record[:80] in "\n\n".join(paragraphs) for paragraphs in documents) for record in plain)


def test_a_garbled_version_keeps_three_quarters_of_the_words(tree: Path) -> None:
    text = script("order_text")
    passage, rng = " ".join(f"word{number}" for number in range(4000)), random.Random(3)
    found = text.garbled(rng, passage, ["foreign"]).split()
    kept = [int(word[4:]) for word in found if word != "foreign"]
    assert len(set(kept)) == len(kept)
    assert 0.70 < len(kept) / 4000 < 0.80
    assert found.count("foreign") / len(found) == pytest.approx(0.167, abs=0.03)  # two on 0.3 of pieces of three words
    assert np.abs(np.diff(kept)).max() < 60 and np.any(np.diff(kept) < 0)  # a little out of order


def test_the_texts_are_written_whole_and_the_same_again(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = script("order_text")
    monkeypatch.setattr(text, "CHARACTERS", {"text": 30_000, "retold": 20_000, "prose": 10_000})
    for folder in ("one", "two"):
        text.main(str(tree), str(tmp_path / folder))
    for name, least in (("text", 30_000), ("retold", 20_000), ("prose", 10_000), ("tokenizer", 40_000)):
        data = (tmp_path / "one" / f"{name}.jsonl").read_bytes()
        assert data == (tmp_path / "two" / f"{name}.jsonl").read_bytes()
        records = [json.loads(line)["text"] for line in data.decode().splitlines()]
        assert sum(map(len, records)) >= least and all(records)
        assert f"{len(records):,} records" in capsys.readouterr().out or name != "text"


def test_a_student_is_trained_to_the_end_and_written(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every phase once, a few hundred updates: random tokens that repeat, text, text told again."""
    text, warm = script("order_text"), script("order_warm")
    monkeypatch.setattr(text, "CHARACTERS", {"text": 60_000, "retold": 60_000, "prose": 30_000})
    text.main(str(tree), str(tmp_path / "texts"))
    monkeypatch.setattr(warm, "VOCABULARY", 320)
    monkeypatch.setattr(warm, "LONGEST", 512)
    shape = ModelConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    monkeypatch.setattr(warm, "SHAPE", shape)
    phases = (
        warm.Phase(100, 2, 64, 1.0, 8, seed=0),
        warm.Phase(200, 4, 64, 0.1, 16, learning_rate=1e-2, decay=0.5, seed=1),
        warm.Phase(100, 4, 64, 0.0, 16, learning_rate=1e-2, decay=0.9, seed=2, text="retold"),
    )
    monkeypatch.setattr(warm, "PHASES", phases)
    capsys.readouterr()
    warm.main(str(tmp_path / "texts"), str(tmp_path / "student"))
    said = capsys.readouterr().out
    assert [int(number) for number in re.findall(r"^(\d+): loss", said, re.MULTILINE)] == [100, 100, 200, 100]
    losses = [float(number) for number in re.findall(r"loss ([\d.]+)", said)]
    assert losses[1] > losses[2] > losses[3]
    assert len(re.findall(r"repeat score [+-]\d\.\d+ at 96 tokens, [+-]\d\.\d+ at 512", said)) == 4

    tokenizer = load_tokenizer(str(tmp_path / "student"))
    model = import_hf(tmp_path / "student", context_length=64)
    assert model.config.hidden_size == 32 and model.config.vocab_size == 320
    own = torch.from_numpy(tokenizer.encode_rows([prose(random.Random(9), 8)])[0].astype(np.int64))[None, :64]
    with torch.no_grad():
        loss = model(own, loss_scale=1 / (own.shape[1] - 1)).item()
    assert loss < 0.6 * np.log(320)  # prose of these words, never seen
    assert np.isfinite(repeat_score(as_scoring_model(model), np.arange(2, 320), 64))


def test_windows_repeat_after_a_few_tokens_or_are_cut_from_the_text() -> None:
    warm = script("order_warm")
    rng, text = np.random.default_rng(0), torch.arange(5000)
    phase = warm.Phase(1, 1, 60, 1.0, 12)
    for _ in range(50):
        window = warm.draw_window(rng, phase, text, np.arange(7, 9)).numpy()
        assert len(window) == 60
        assert any(np.array_equal(window[period:], window[:-period]) for period in range(4, 13))
    cut = warm.draw_window(rng, warm.Phase(1, 1, 60, 0.0, 12), text, np.arange(7, 9)).numpy()
    assert np.array_equal(cut, np.arange(cut[0], cut[0] + 60))
    shares = [
        bool(np.all(np.diff(warm.draw_window(rng, warm.Phase(1, 1, 60, 0.3, 12), text, np.arange(7, 9)).numpy()) == 1))
        for _ in range(400)
    ]
    assert np.mean(shares) == pytest.approx(0.7, abs=0.08)
