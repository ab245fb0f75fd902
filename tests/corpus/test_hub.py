"""Hub datasets without a network: names, splits, laziness, offline and failing hubs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from megadocs.corpus import hub, iter_documents, source_digest
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig

FILES = {
    None: [
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/test-0.parquet",
    ],
    "refs/convert/parquet": ["default/validation/0000.parquet"],
}


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A fake hub; the list holds the names of the files fetched so far."""
    import pyarrow as pa
    from pyarrow import parquet

    names: list[str] = []

    def dataset_info(self: Any, repo: str, revision: str | None) -> SimpleNamespace:
        listed = FILES[revision]
        return SimpleNamespace(sha=f"sha-{revision}", siblings=[SimpleNamespace(rfilename=name) for name in listed])

    def download(repo: str, name: str, repo_type: str, revision: str) -> str:
        assert (repo, repo_type) == ("org/name", "dataset")
        names.append(name)
        path = tmp_path / name.replace("/", "_")
        parquet.write_table(pa.table({"text": [f"{name} {index}" for index in range(3)]}), path)
        return str(path)

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return names


def texts(source: str, **options: Any) -> list[str]:
    return [document.text for document in iter_documents(CorpusConfig(source=source, **options))]


def test_a_split_is_found_by_file_name(fetched: list[str]) -> None:
    assert len(texts("hf://org/name:train")) == 6
    assert fetched == FILES[None][1:3]
    assert len(texts("hf://org/name")) == 9


def test_a_split_of_the_hubs_own_conversion(fetched: list[str]) -> None:
    assert len(texts("hf://org/name:validation")) == 3


def test_files_are_fetched_only_when_needed(fetched: list[str]) -> None:
    assert len(texts("hf://org/name:train", limit=2)) == 2
    assert fetched == FILES[None][1:2]


def test_digest_reads_no_file(fetched: list[str]) -> None:
    one = source_digest(CorpusConfig(source="hf://org/name:train"))
    assert one != source_digest(CorpusConfig(source="hf://org/name:test"))
    assert fetched == []


def test_an_unknown_split_names_the_files(fetched: list[str]) -> None:
    with pytest.raises(InputError, match="no Parquet file of split 'dev'"):
        texts("hf://org/name:dev")


@pytest.mark.parametrize("source", ["hf://", "hf://name", "hf://a/b/c", "hf://a/b:", "hf://../x:y z"])
def test_names_that_are_not_understood(source: str) -> None:
    with pytest.raises(InputError, match="not understood"):
        hub.parse_hub_source(source)


def test_name_with_revision_and_split() -> None:
    assert hub.parse_hub_source("hf://org/name@v1.0:train") == hub.HubDataset("org/name", "v1.0", "train")


def test_offline_without_a_cache_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        texts("hf://no-such-org/no-such-name")
    assert "HF_HUB_OFFLINE" in str(caught.value.remedy)


def test_offline_reads_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "datasets--org--name" / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (tmp_path / "datasets--org--name" / "refs").mkdir()
    (tmp_path / "datasets--org--name" / "refs" / "main").write_text(commit)
    parquet.write_table(pa.table({"text": ["cached"]}), snapshot / "train.parquet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    import huggingface_hub._snapshot_download as snapshot_module

    monkeypatch.setattr(snapshot_module.constants, "HF_HUB_CACHE", str(tmp_path))
    assert texts("hf://org/name:train") == ["cached"]
