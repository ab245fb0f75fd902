"""The train / validation / test split: by source record, from hashes, decided before any text is generated.

Two ways (`corpus.split`):

- counts: source records are taken in hash order, first for validation, then for test, each until they hold the number
  of documents asked for and are 30 records or a fifth of the source (300 pieces of 5 speeches would say little about
  other speeches; where training would run short by it, the smallest number of records is taken). The number asked for
  is drawn from them at random, training documents over all other records. Validation and test stay the same when the
  training count changes.
- auto: validation and test get 20 % of the documents each (at least 8), whole records; the rest is real data, half of
  it 1x. Where a few long records leave no such division (one book), they are cut into contiguous blocks, which then
  stand for records; the report says so and names each block.

`train` is in drawing order: its first n documents are 1x, its first 2n are 2x, and so on. Nothing depends on the order
of files or records. Duplicates (same id or same text) are dropped, the first by id stays; all counts are in `report`.
With `corpus.near_duplicates: together` documents that share half of their 13-grams count as one record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from megadocs.corpus.losses import REMEDIES, refuse_losses
from megadocs.corpus.reading import DocumentStream
from megadocs.corpus.selection import Entry, drop_duplicates, read_entries
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig, SplitCounts
from megadocs.seeding import derive_seed, document_key, mix
from megadocs.text.near_duplicates import Uint64Array, near_duplicate_pairs
from megadocs.text.ngrams import ngram_hashes

MIN_DOCUMENTS = 30
MIN_HELD_OUT = 8
_HELD_OUT_PARTS = 5  # one fifth of the documents each for validation and test
_SPREAD_RECORDS = 30


@dataclass(frozen=True, slots=True)
class SplitCorpus:
    """A corpus, split."""

    train: list[Document]  # in drawing order; the first k * num_train_1x documents are the kx set, k up to max_multiple
    validation: list[Document]  # documents for choosing settings, of other source records than train and test
    test: list[Document]  # documents for reporting, likewise
    num_train_1x: int  # size of the 1x set
    max_multiple: int  # largest k
    report: dict[str, Any] = field(default_factory=dict)  # counts and the way the split was made (JSON-serialisable)
    #: documents that are written about and never trained on or scored as validation or test: the one exception to the
    #: rule that only training documents reach a generator. Empty unless the recipe asks for them.
    probe: list[Document] = field(default_factory=list)

    @property
    def held_out(self) -> dict[str, list[Document]]:
        """What must not stand in training text, by split: probe documents, where there are any, are written about."""
        return {
            "validation": self.validation,
            "test": self.test,
            **({"probe": self.probe} if self.probe else {}),
        }

    def train_multiple(self, multiple: int) -> list[Document]:
        """The kx training set.

        Raises:
            InputError: the corpus does not hold that many documents.
        """
        if multiple > self.max_multiple:
            raise InputError(
                f"the corpus holds {self.max_multiple}x of the training documents, {multiple}x was asked for",
                where="real_multiple",
                remedy="add documents, or lower corpus.split.train",
            )
        return self.train[: multiple * self.num_train_1x]


@dataclass(frozen=True, slots=True)
class _Plan:
    """Chosen entries (as indices) and what the report says about the choice."""

    entries: Sequence[Entry]
    train: list[int]
    validation: list[int]
    test: list[int]
    num_train_1x: int
    max_multiple: int
    report: dict[str, Any]
    probe: list[int] = field(default_factory=list)


def split_documents(documents: Iterable[Document], config: CorpusConfig) -> SplitCorpus:
    """Split documents as `config.split` says.

    A `DocumentStream` (or any re-iterable) is passed over twice and only the chosen documents are held; a one-shot
    iterator is read into memory first.

    Raises:
        InputError: too few documents; the message gives the numbers.
    """
    if isinstance(documents, Iterator):
        documents = list(documents)
    hashes: list[Uint64Array] | None = [] if config.near_duplicates == "together" else None
    entries = read_entries(documents if hashes is None else _hashed(documents, hashes))
    num_read = len(entries)
    intake = documents.intake.to_json() if isinstance(documents, DocumentStream) else {}
    entries, duplicates = drop_duplicates(entries)
    _refuse_empty(entries, intake, config)
    refuse_losses({**intake, "num_documents": num_read, "duplicates": duplicates}, config)
    joined: dict[str, Any] = {}
    if hashes is not None:
        entries, joined = _put_together(entries, hashes)
    plan = _plan_auto(entries, config) if config.split == "auto" else _plan_counts(entries, config.split, config)
    chosen = _collect(documents, plan)
    report = {
        **intake,
        "num_documents": num_read,
        "duplicates": duplicates,
        "num_distinct_documents": len(entries),
        "num_source_records": len({entry.group for entry in entries}),
        **joined,
        **plan.report,
        "num_train_1x": plan.num_train_1x,
        "max_multiple": plan.max_multiple,
        **{f"num_{name}": len(selected) for name, selected in chosen.items() if selected or name != "probe"},
        "not_used": len(entries) - sum(len(selected) for selected in chosen.values()),
    }
    return SplitCorpus(**chosen, num_train_1x=plan.num_train_1x, max_multiple=plan.max_multiple, report=report)


def _hashed(documents: Iterable[Document], hashes: list[Uint64Array]) -> Iterator[Document]:
    """The documents as they come; their distinct n-grams are noted on the way."""
    for document in documents:
        hashes.append(np.unique(ngram_hashes(document.text)))
        yield document


def _put_together(
    entries: Sequence[Entry], hashes: Sequence[Uint64Array]
) -> tuple[list[Entry], dict[str, list[dict[str, Any]]]]:
    """Entries of which near-duplicates belong to one group; the pairs, for the report."""
    pairs = near_duplicate_pairs([hashes[entry.position] for entry in entries])
    found = [pair for pair in pairs if entries[pair[0]].group != entries[pair[1]].group]
    group_of = {entry.group: entry.group for entry in entries}
    for first, second, _ in found:
        low, high = sorted((group_of[entries[first].group], group_of[entries[second].group]))
        group_of = {name: low if group == high else group for name, group in group_of.items()}
    told = [{"documents": [entries[i].id, entries[j].id], "share": round(share, 4)} for i, j, share in found]
    return [entry.in_group(group_of[entry.group]) for entry in entries], {"near_duplicates": told}


def _refuse_empty(entries: Sequence[Entry], intake: dict[str, Any], config: CorpusConfig) -> None:
    if entries:
        return
    rejected = intake.get("rejected", {})
    if not rejected:
        raise InputError("the source holds no documents", where=f"{config.source} (corpus.source)")
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    places = next(iter(intake["rejected_examples"].values()))
    known = {**REMEDIES, "empty": "name files that hold text"}
    remedies = dict.fromkeys(known[reason] for reason in rejected if reason in known)
    raise InputError(
        f"no usable document: every record was rejected ({reasons})",
        where=f"{config.source} (corpus.source): {places[0]}",
        remedy="; ".join(remedies) or "see the reasons; correct the records or the field names",
    )


def _collect(documents: Iterable[Document], plan: _Plan) -> dict[str, list[Document]]:
    places: dict[int, tuple[str, int, Entry]] = {}
    chosen: dict[str, list[Any]] = {}
    parts = {"train": plan.train, "validation": plan.validation, "test": plan.test, "probe": plan.probe}
    for name, indices in parts.items():
        chosen[name] = [None] * len(indices)
        for rank, index in enumerate(indices):
            places[plan.entries[index].position] = (name, rank, plan.entries[index])
    for position, document in enumerate(documents):
        name, rank, entry = places.get(position, ("", 0, None))
        if entry is not None and document.id == entry.id:
            meta = {**document.meta, "group": entry.group}
            chosen[name][rank] = Document(document.id, document.text, meta)
    if any(document is None for selected in chosen.values() for document in selected):
        raise InputError("the source changed while it was read", remedy="run again when nothing writes to it")
    return chosen


def _plan_counts(entries: Sequence[Entry], counts: SplitCounts, config: CorpusConfig) -> _Plan:
    pools = _pools(entries, counts, config.seed, spread=True)
    if len(pools["train"]) < counts.train * counts.max_multiple:
        pools = _pools(entries, counts, config.seed, spread=False)
    short = {name: (len(pool), getattr(counts, name)) for name, pool in pools.items()}
    if any(held < asked for held, asked in short.values()):
        raise _too_few(entries, counts, {name: held for name, (held, _) in short.items()}, config)
    max_multiple = min(counts.max_multiple, len(pools["train"]) // counts.train)
    train = _draw(entries, pools["train"], config.seed)[: counts.train * max_multiple]
    report: dict[str, Any] = {"split": "counts", "asked_max_multiple": counts.max_multiple}
    report["num_pool"] = {name: len(pool) for name, pool in pools.items()}
    return _Plan(
        entries=entries,
        train=train,
        validation=_draw(entries, pools["validation"], config.seed)[: counts.validation],
        test=_draw(entries, pools["test"], config.seed)[: counts.test],
        num_train_1x=counts.train,
        max_multiple=max_multiple,
        report=report,
        probe=_draw_probe(entries, pools["train"], train, counts.probe, config),
    )


def _draw_probe(
    entries: Sequence[Entry], pool: Sequence[int], train: Sequence[int], asked: int, config: CorpusConfig
) -> list[int]:
    """Documents of source records that no training document comes from; the other splits do not depend on them."""
    used = {entries[index].group for index in train}
    found = [index for index in _draw(entries, pool, config.seed) if entries[index].group not in used]
    if len(found) < asked:
        raise InputError(
            f"{asked} probe documents asked for; {len(found)} are left of records that no training document comes from",
            where=f"{config.source} (corpus.split.probe)",
            remedy="lower corpus.split.probe, corpus.split.train or corpus.split.max_multiple, or add documents",
        )
    return found[:asked]


def _pools(entries: Sequence[Entry], counts: SplitCounts, seed: int, *, spread: bool) -> dict[str, list[int]]:
    groups = _grouped(entries, seed)
    fifth = len(entries) // _HELD_OUT_PARTS
    pools = {}
    for name, asked in (("validation", counts.validation), ("test", counts.test)):
        pools[name] = _take_groups(groups, asked, num_groups=_SPREAD_RECORDS if spread else 1, enough=max(asked, fifth))
    pools["train"] = [index for members in groups.values() for index in members]
    return pools


def _plan_auto(entries: Sequence[Entry], config: CorpusConfig) -> _Plan:
    if len(entries) < MIN_DOCUMENTS:
        raise _below_minimum(len(entries), config)
    target = max(MIN_HELD_OUT, len(entries) // _HELD_OUT_PARTS)
    groups = _grouped(entries, config.seed)
    largest = target + target // 4
    validation = _take_groups(groups, target, largest=largest)
    test = _take_groups(groups, target, largest=largest)
    report: dict[str, Any] = {"split": "auto", "unit": "source record"}
    if min(len(validation), len(test)) < target:
        entries, blocks = _cut_into_blocks(entries, size=(target + 1) // 2)  # a held-out set is two blocks
        groups = _grouped(entries, config.seed)
        validation, test = _take_groups(groups, target), _take_groups(groups, target)
        report = {"split": "auto", "unit": "contiguous block", "warning": _BLOCK_WARNING}
        report["blocks"] = _describe_blocks(entries, blocks, validation, test)
    rest = _draw(entries, [index for members in groups.values() for index in members], config.seed)
    num_train_1x = len(rest) // 2
    return _Plan(
        entries=entries,
        train=rest[: 2 * num_train_1x],
        validation=_draw(entries, validation, config.seed),
        test=_draw(entries, test, config.seed),
        num_train_1x=num_train_1x,
        max_multiple=2,
        report=report,
    )


_BLOCK_WARNING = (
    "the documents come from so few long texts that they could not be kept apart by text: the long ones were cut into "
    "contiguous blocks, and blocks of one text stand on different sides. Held-out losses are therefore of text by the "
    "same author on the same subject, lower than on an unseen text; comparisons between arms remain fair."
)


def _grouped(entries: Sequence[Entry], seed: int) -> dict[str, list[int]]:
    """Group -> indices of its entries, groups in hash order."""
    members: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        members.setdefault(entry.group, []).append(index)
    split_seed = derive_seed(seed, "split")
    return {
        group: members[group]
        for group in sorted(members, key=lambda name: (mix(split_seed ^ document_key(name)), name))
    }


def _take_groups(
    groups: dict[str, list[int]], target: int, *, largest: int | None = None, num_groups: int = 1, enough: int = 0
) -> list[int]:
    """Remove whole groups in order until they hold `target` entries.

    Passes over groups that would exceed `largest` entries; goes on until there are `num_groups` groups or `enough`
    entries.
    """
    taken: list[int] = []
    num_taken = 0
    for group in list(groups):
        if len(taken) >= target and (num_taken >= num_groups or len(taken) >= enough):
            break
        if largest is None or len(taken) + len(groups[group]) <= largest:
            taken.extend(groups.pop(group))
            num_taken += 1
    return taken


def _draw(entries: Sequence[Entry], pool: Sequence[int], seed: int) -> list[int]:
    draw_seed = derive_seed(seed, "draw")
    return sorted(pool, key=lambda index: (mix(draw_seed ^ document_key(entries[index].id)), entries[index].id))


def _cut_into_blocks(entries: Sequence[Entry], size: int) -> tuple[list[Entry], dict[str, tuple[str, int, int]]]:
    """Give runs of consecutive pieces of long records a group of their own, "record[first:last]"."""
    by_group: dict[str, list[Entry]] = {}
    for entry in entries:
        by_group.setdefault(entry.group, []).append(entry)
    names: dict[str, str] = {}  # document id -> block
    blocks: dict[str, tuple[str, int, int]] = {}
    for group, members in by_group.items():
        members.sort(key=lambda entry: (entry.piece, entry.id))
        for start in range(0, len(members), size):
            run = members[start : start + size]
            name = f"{group}[{run[0].piece}:{run[-1].piece + 1}]"
            blocks[name] = (group, run[0].piece, run[-1].piece + 1)
            names.update({entry.id: name for entry in run})
    return [entry.in_group(names[entry.id]) for entry in entries], blocks


def _describe_blocks(
    entries: Sequence[Entry], blocks: dict[str, tuple[str, int, int]], validation: list[int], test: list[int]
) -> list[dict[str, Any]]:
    sides = {entries[index].group: "validation" for index in validation}
    sides.update({entries[index].group: "test" for index in test})
    described = [
        {"record": record, "first_piece": first, "end_piece": end, "side": sides.get(name, "train")}
        for name, (record, first, end) in blocks.items()
    ]
    return sorted(described, key=lambda block: (block["record"], block["first_piece"]))


def _below_minimum(num_documents: int, config: CorpusConfig) -> InputError:
    missing = MIN_DOCUMENTS - num_documents
    remedy = f"add {missing} documents or more"
    if config.pieces is None:
        remedy += ", or cut long ones into pieces: corpus.pieces.min_characters=600 corpus.pieces.max_characters=1200"
    else:
        remedy += ", or make the pieces shorter (corpus.pieces.min_characters, corpus.pieces.max_characters)"
    return InputError(
        f"{num_documents} documents, at least {MIN_DOCUMENTS} are needed: {missing} are missing",
        where=f"{config.source} (corpus.source)",
        remedy=remedy,
    )


def _too_few(entries: Sequence[Entry], counts: SplitCounts, held: dict[str, int], config: CorpusConfig) -> InputError:
    num_records = len({entry.group for entry in entries})
    asked = f"{counts.train} train + {counts.validation} validation + {counts.test} test"
    found = f"{held['train']} + {held['validation']} + {held['test']}"
    return InputError(
        f"{asked} documents asked for; the source holds {len(entries)} in {num_records} records, which gives {found} "
        "with no record on two sides",
        where=f"{config.source} (corpus.split)",
        remedy="use corpus.split=auto, smaller numbers, or more documents",
    )
