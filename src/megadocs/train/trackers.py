"""Optional sinks beside `metrics.jsonl`: Weights & Biases, trackio, TensorBoard.

    with open_trackers(["wandb"], output_dir, config={...}) as track: track({"step": 10, "loss": 5.1, ...})

First rank only. Nothing is imported or contacted unless the recipe names it; `WANDB_MODE=offline` and the like are
the libraries' own and are honoured by leaving them alone. A run resumed in the same folder goes on under the same run
id. A tracker that fails while running is dropped with a warning: training goes on, the metrics file is the truth.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from megadocs.errors import UsageError

_log = logging.getLogger(__name__)
Sink = Callable[[dict[str, Any]], None]


@contextmanager
def open_trackers(names: Sequence[str], output_dir: Path, config: dict[str, Any]) -> Iterator[Sink]:
    """A function that sends a record to every tracker named (UsageError if one is not installed)."""
    openers = {"wandb": _open_wandb, "trackio": _open_trackio, "tensorboard": _open_tensorboard}
    with ExitStack() as stack:
        sinks: dict[str, Sink] = {}
        for name in names:
            try:
                sinks[name] = openers[name](output_dir, config, stack)
            except ImportError as error:
                raise UsageError(
                    f"the tracker {name} is not installed ({error})",
                    where="train.trackers",
                    remedy=f"pip install {name}, or remove it from train.trackers",
                ) from error

        def track(record: dict[str, Any]) -> None:
            for name, sink in list(sinks.items()):
                try:
                    sink(record)
                except Exception as error:  # a third party's service: nothing it raises may end a run
                    _log.warning("tracker %s failed and is left out from here on: %s", name, error)
                    del sinks[name]

        yield track


def run_id(output_dir: Path) -> str:
    """The same 16 hex digits for the same folder, so that a resumed run continues its curves."""
    return hashlib.sha256(str(output_dir.resolve()).encode("utf-8")).hexdigest()[:16]


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    flat = record | {f"evaluation/{key}": value for key, value in record.get("evaluation", {}).items()}
    return {key: value for key, value in flat.items() if key != "step" and isinstance(value, int | float)}


def _open_wandb(output_dir: Path, config: dict[str, Any], stack: ExitStack) -> Sink:
    import wandb

    run = wandb.init(project="megadocs", id=run_id(output_dir), resume="allow", dir=str(output_dir), config=config)
    stack.callback(run.finish)
    return lambda record: run.log(_numbers(record), step=record["step"])


def _open_trackio(output_dir: Path, config: dict[str, Any], stack: ExitStack) -> Sink:
    import trackio

    trackio.init(project="megadocs", name=run_id(output_dir), resume="allow", config=config)
    stack.callback(trackio.finish)
    return lambda record: trackio.log(_numbers(record), step=record["step"])


def _open_tensorboard(output_dir: Path, config: dict[str, Any], stack: ExitStack) -> Sink:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(output_dir / "tensorboard"))
    stack.callback(writer.close)

    def sink(record: dict[str, Any]) -> None:
        for key, value in _numbers(record).items():
            writer.add_scalar(key, value, record["step"])

    return sink
