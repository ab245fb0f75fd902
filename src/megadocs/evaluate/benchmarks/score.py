"""Scores of a benchmark by lm-evaluation-harness: its metrics, and what every item's choices got.

    results = score_benchmark([model], [SINGLE], tokenizer, find_benchmark("piqa"), add_bos=True)
    results[0].metrics["acc"], results[0].standard_errors["acc"], results[0].num_truncated

The harness makes the requests and the metrics; the models answer all averages in one pass. A likelihood that is not a
number makes every metric None: the largest of several NaN would look like an answer.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.tasks import Benchmark
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import Average
from megadocs.store.files import write_bytes_atomic
from megadocs.text.tokenizer import Tokenizer

#: Draws for the standard error of metrics that have no closed form; accuracies have one.
_BOOTSTRAP = 100


@dataclass(frozen=True, slots=True)
class Item:
    """One document of a task."""

    task: str  # the task (of a group, one of several)
    number: int  # the document's place in its split
    target: str  # the right answer, as the harness has it (a choice's number, or a text)
    log_likelihoods: Sequence[float]  # of each request, nats
    metrics: Mapping[str, float]  # what the harness says of this item


@dataclass(frozen=True, slots=True)
class BenchmarkScores:
    """What a model, or an average of models, got."""

    task: str
    split: str | None  # `test`, `validation`, `local`, ...; None for a group
    average: Average  # which members, and how they were averaged
    num_truncated: int  # requests longer than the models' context: they lost the beginning of their prompts
    chance: float | None  # accuracy of guessing; None where that is not defined
    metrics: Mapping[str, float | None]  # name -> value; None: not a number
    standard_errors: Mapping[str, float | None]  # name -> standard error over the items; None: not defined
    items: Sequence[Item]

    @property
    def metric(self) -> str:
        """The metric of the headline: `acc` where there is one, else the harness's first."""
        return "acc" if "acc" in self.metrics else next(iter(self.metrics))

    def summary(self) -> dict[str, Any]:
        """The result as JSON-ready values: every metric beside its `<metric>_stderr`."""
        return {
            "task": self.task,
            "split": self.split,
            "num_items": len(self.items),
            "num_truncated": self.num_truncated,
            "average": {"kind": self.average.kind, "members": list(self.average.members)},
            "metric": self.metric,
            **self.metrics,
            **{f"{name}_stderr": value for name, value in self.standard_errors.items()},
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BenchmarkScores:
        """The inverse of `to_json`."""
        average = Average(tuple(values["average"]["members"]), values["average"]["kind"])
        return cls(**{**values, "average": average, "items": [Item(**item) for item in values["items"]]})


def score_benchmark(
    members: Sequence[ScoringModel],
    averages: Sequence[Average],
    tokenizer: Tokenizer,
    benchmark: Benchmark,
    *,
    add_bos: bool,
    batch_tokens: int = 2048,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> list[BenchmarkScores]:
    """Scores of each average over the members, in one pass over the models.

    Args:
        members: K models of one vocabulary.
        averages: A averages over them (see `ensembles.build_averages`).
        add_bos: whether prompts start with BOS.
        batch_tokens: tokens of one forward pass, padding included.
        watch: called after every batch with the requests answered and all of them; may raise to stop.

    Raises:
        InputError: no such task, a record that is not the task's, or a task that lets the model write.
    """
    import lm_eval

    from megadocs.evaluate.benchmarks.language_model import AveragedLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    tasks = benchmark.open()
    _check_tasks(benchmark, tasks["tasks"])
    model = AveragedLM(members, tokenizer, averages, add_bos=add_bos, batch_tokens=batch_tokens, watch=watch)
    scores = []
    for index, average in enumerate(averages):
        model.average = index
        found = lm_eval.evaluate(model, tasks, limit=benchmark.num_items, bootstrap_iters=_BOOTSTRAP)
        scores.append(_scores_of(benchmark.name, average, tasks["tasks"], found, model))
    return scores


def _check_tasks(benchmark: Benchmark, tasks: Mapping[str, Any]) -> None:
    """Refuse what cannot be scored before a model runs: tasks of another kind, and records that make no prompt."""
    for name, task in tasks.items():
        if task.OUTPUT_TYPE == "generate_until":
            raise InputError(
                f"{name} lets the model write; only tasks that score likelihoods can be scored",
                where=f"evaluate.benchmarks: {benchmark.name}",
                remedy="run lm_eval on an exported model folder for tasks of generation",
            )
        used = _used_columns(task)
        for index, document in enumerate(task.eval_docs):
            if index == benchmark.num_items:
                break
            _check_document(name, index, document, task, used)


def _used_columns(task: Any) -> set[str]:
    """The columns that the task's templates read."""
    from jinja2 import Environment, TemplateSyntaxError, meta

    names: set[str] = set()
    for template in (task.config.doc_to_text, task.config.doc_to_target, task.config.doc_to_choice):
        try:
            names |= (
                meta.find_undeclared_variables(Environment().parse(template)) if isinstance(template, str) else set()
            )
        except TemplateSyntaxError:
            continue
    return names


def _check_document(name: str, number: int, document: Mapping[str, Any], task: Any, used: set[str]) -> None:
    """Refuse a record that the task's prompt cannot be made of.

    Raises:
        InputError: names the record, counted from 0.
    """

    def refuse(what: str) -> InputError:
        remedy = "give every record what the task's file reads, or leave it out"
        return InputError(f"record {number} of {name}: {what}", where=f"evaluate.benchmarks: {name}", remedy=remedy)

    if empty := sorted(column for column in used if column in document and document[column] is None):
        raise refuse(f"{empty[0]!r} is null, which a prompt would show as the word None")
    try:
        target = task.doc_to_target(document)
        choices = task.doc_to_choice(document) if task.OUTPUT_TYPE == "multiple_choice" else None
        task.doc_to_text(document)
    except Exception as error:  # templates and functions of others: whatever they raise is about the record
        raise refuse(f"no prompt can be made of it: {type(error).__name__} {error}") from error
    if choices is None or task.multiple_input:  # there the choices stand before what is scored
        return
    if not choices or not all(choices):
        raise refuse("it has an empty choice")
    if isinstance(target, int) and not 0 <= target < len(choices):
        raise refuse(f"choice {target} of {len(choices)} is to be the right one")
    if isinstance(target, str) and target not in choices and not target.isdecimal():
        raise refuse(f"the right choice {target[:60]!r} is not among the choices")


def _scores_of(
    name: str, average: Average, tasks: Mapping[str, Any], found: Mapping[str, Any], model: Any
) -> BenchmarkScores:
    metrics: dict[str, float | None] = {}
    errors: dict[str, float | None] = {}
    for key, value in found["results"][name].items():
        metric, separator, stage = key.partition(",")
        if not separator or not isinstance(value, int | float | str):
            continue
        label = metric if stage == "none" else f"{metric},{stage}"
        number = _number(value) if not model.has_nan else None
        if metric.endswith("_stderr"):
            errors[label.replace("_stderr", "", 1)] = number
        else:
            metrics[label] = number
    if not metrics:
        raise InputError(
            f"the group {name} has no metric of its own", where="evaluate.benchmarks", remedy="name its tasks"
        )
    items = [item for task in tasks for item in _items(task, found["samples"][task])]
    own = tasks.get(name)
    split = None if own is None else own.config.test_split or own.config.validation_split
    choices = [len(item.log_likelihoods) for item in items]
    is_choice = all(task.OUTPUT_TYPE == "multiple_choice" for task in tasks.values())
    chance = sum(1 / count for count in choices) / len(choices) if is_choice and items else None
    return BenchmarkScores(name, split, average, model.num_truncated, chance, metrics, errors, items)


def _items(task: str, samples: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    for sample in sorted(samples, key=lambda sample: int(sample["doc_id"])):
        values = [reply[0] if isinstance(reply, tuple | list) else reply for (reply, *_) in sample["resps"]]
        metrics = {name: float(sample[name]) for name in sample["metrics"] if isinstance(sample[name], int | float)}
        yield Item(task, int(sample["doc_id"]), str(sample["target"]), [float(value) for value in values], metrics)


def _number(value: float | str) -> float | None:
    """A metric that is a finite number; the harness writes "N/A" for a standard error that it does not know."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def write_items(path: str | Path, results: Sequence[BenchmarkScores]) -> None:
    """Write every item of every result into one Parquet file, one line each, the log-likelihoods included."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = [
        {
            "task": item.task,
            "average": result.average.kind,
            "members": list(result.average.members),
            "item": item.number,
            "target": item.target,
            "log_likelihoods": list(item.log_likelihoods),
            "metrics": list(item.metrics.items()),
        }
        for result in results
        for item in result.items
    ]
    schema = pa.schema(
        [
            ("task", pa.string()),
            ("average", pa.string()),
            ("members", pa.list_(pa.int32())),
            ("item", pa.int32()),
            ("target", pa.string()),
            ("log_likelihoods", pa.list_(pa.float64())),
            ("metrics", pa.map_(pa.string(), pa.float64())),
        ]
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines, schema=schema), buffer, compression="zstd")
    write_bytes_atomic(path, buffer.getvalue())
