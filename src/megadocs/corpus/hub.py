"""Datasets of the Hugging Face hub: `hf://org/name`, `hf://org/name:split`, `hf://org/name@revision:split`.

The Parquet files of the repository are used; where it has none, those of the hub's own conversion (revision
`refs/convert/parquet`). Files are fetched one at a time, when the reader comes to them, into the hub's cache; with
`HF_HUB_OFFLINE=1` only the cache is used. No code of the repository is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from megadocs.corpus.sources import SourceFile
from megadocs.errors import InputError
from megadocs.hub_errors import hub_errors

PREFIX = "hf://"
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(:(?P<split>[\w.-]+))?")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<total>\d{5})\.parquet", re.IGNORECASE)
_CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A dataset on the hub as a recipe names it."""

    repo: str
    revision: str | None
    split: str | None

    @property
    def where(self) -> str:
        """The name for messages."""
        return f"{PREFIX}{self.repo} (corpus.source)"


@dataclass(frozen=True, slots=True)
class HubListing:
    """Names of a dataset's Parquet files at one commit."""

    dataset: HubDataset
    commit: str
    names: list[str]


def parse_hub_source(source: str) -> HubDataset:
    """Take `hf://org/name[@revision][:split]` apart."""
    match = _NAME.fullmatch(source.removeprefix(PREFIX))
    if match is None:
        raise InputError("hub name not understood", where=source, remedy="write hf://org/name or hf://org/name:train")
    return HubDataset(match["repo"], match["revision"], match["split"])


def list_hub_files(source: str) -> HubListing:
    """The Parquet files of a hub dataset, sorted, from the hub or (offline) from the cache.

    Raises:
        InputError: no such dataset, not reachable, or no Parquet file of that split.
    """
    dataset = parse_hub_source(source)
    revisions = [dataset.revision] if dataset.revision else [None, _CONVERTED]
    found: list[str] = []
    for revision in revisions:
        commit, names = _repository_files(dataset, revision)
        found = [name for name in names if name.lower().endswith(".parquet")]
        chosen = sorted(name for name in found if dataset.split is None or _in_split(name, dataset.split))
        if chosen:
            return HubListing(dataset, commit, chosen)
    known = ", ".join(sorted(found)[:8]) or "none"
    what = f"no Parquet file of split {dataset.split!r}" if dataset.split else "the dataset has no Parquet files"
    raise InputError(
        f"{what} (there are: {known})", where=dataset.where, remedy="name another split, or download it yourself"
    )


def iter_hub_files(listing: HubListing) -> Iterator[SourceFile]:
    """The files of a listing on disk, each fetched when it is asked for."""
    from huggingface_hub import hf_hub_download

    for name in listing.names:
        try:
            path = hf_hub_download(listing.dataset.repo, name, repo_type="dataset", revision=listing.commit)
        except hub_errors() as error:
            raise _unreachable(listing.dataset, error) from error
        yield SourceFile(Path(path), name)


def _repository_files(dataset: HubDataset, revision: str | None) -> tuple[str, list[str]]:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RevisionNotFoundError

    try:
        info = HfApi().dataset_info(dataset.repo, revision=revision)
        return str(info.sha), [str(sibling.rfilename) for sibling in info.siblings or []]
    except RevisionNotFoundError:
        return "", []
    except OfflineModeIsEnabled:
        try:
            root = Path(snapshot_download(dataset.repo, repo_type="dataset", revision=revision, local_files_only=True))
        except LocalEntryNotFoundError as error:
            if revision == _CONVERTED:
                return "", []
            raise _unreachable(dataset, error) from error
        names = [path.relative_to(root).as_posix() for path in root.rglob("*.parquet")]
        _refuse_part(names, dataset)
        return root.name, names
    except hub_errors() as error:
        raise _unreachable(dataset, error) from error


def _refuse_part(names: list[str], dataset: HubDataset) -> None:
    """A cache may hold a part of a dataset: files that are numbered i of n must all be there."""
    shards: dict[tuple[str, int], set[int]] = {}
    for name in names:
        if found := _SHARD.fullmatch(name):
            shards.setdefault((found["stem"], int(found["total"])), set()).add(int(found["index"]))
    for (stem, total), found_shards in shards.items():
        absent = sorted(set(range(total)) - found_shards)
        if absent and (dataset.split is None or _in_split(f"{stem}-", dataset.split)):
            raise InputError(
                f"the cache holds {total - len(absent)} of {total} files {stem}-*; number {absent[0]} is absent",
                where=dataset.where,
                remedy="fetch it once with the network (unset HF_HUB_OFFLINE)",
            )


def _in_split(name: str, split: str) -> bool:
    """`data/train-00000-of-00002.parquet`, `default/train/0000.parquet`, `train.parquet` are of split "train"."""
    *folders, file = name.split("/")
    return split in folders or re.match(rf"{re.escape(split)}[-._]", file) is not None


def _unreachable(dataset: HubDataset, error: Exception) -> InputError:
    message = (str(error).strip().splitlines() or [type(error).__name__])[0]
    remedy = "check the name and the network; gated datasets need HF_TOKEN; HF_HUB_OFFLINE=1 uses the cache only"
    return InputError(f"the dataset cannot be fetched: {message}", where=dataset.where, remedy=remedy)
