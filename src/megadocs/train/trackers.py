"""Optional sinks beside `metrics.jsonl`: Weights & Biases, trackio, TensorBoard.

    with open_trackers(["wandb"], output_dir, config={...}) as track: track({"step": 10, "loss": 5.1, ...})

First rank only. Nothing is imported or contacted unless the recipe names it; `WANDB_MODE=offline` and the like are
the libraries' own and are honoured by leaving them alone. A run resumed in the same folder goes on under the same run
id, which lies in that folder, so that another run at the same path gets another one.

Nothing a tracker does may end a run: whether it cannot start (no key, no network), fails in the middle or at the end,
it is left out from there on with a warning; the metrics file is the truth. Packages that are not installed are found
before anything is generated (`require_trackers`).
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from megadocs.errors import UsageError
from megadocs.store.files import read_json, write_json_atomic

_log = logging.getLogger(__name__)
Sink = Callable[[dict[str, Any]], None]
#: A tracker that was started: what takes its records, and what ends it.
Opened = tuple[Sink, Callable[[], object]]
_ID_FILE = "tracker_run.json"


@contextmanager
def open_trackers(
    names: Sequence[str], output_dir: Path, config: dict[str, Any], warn: Callable[[str], None] | None = None
) -> Iterator[Sink]:
    """A function that sends a record to every tracker named, as long as it works; failures go to `warn`."""

    def leave_out(name: str, what: str, error: BaseException) -> None:
        text = f"tracker {name} {what} and is left out from here on: {error}"
        _log.warning(text)
        if warn is not None:
            warn(text)

    def end(name: str, finish: Callable[[], object]) -> None:
        try:
            finish()
        except (Exception, SystemExit) as error:
            leave_out(name, "did not finish", error)

    openers = {"wandb": _open_wandb, "trackio": _open_trackio, "tensorboard": _open_tensorboard}
    stack, sinks = ExitStack(), {}
    for name in names:
        try:
            sinks[name], finish = openers[name](output_dir, config)
        except (Exception, SystemExit) as error:  # some services' libraries end the process
            leave_out(name, "cannot be started", error)
            continue
        stack.callback(end, name, finish)

    def track(record: dict[str, Any]) -> None:
        for name, sink in list(sinks.items()):
            try:
                sink(record)
            except (Exception, SystemExit) as error:
                leave_out(name, "failed", error)
                del sinks[name]

    with stack:
        yield track


def require_trackers(names: Sequence[str]) -> None:
    """`UsageError` for a tracker whose package is not installed; asked before a run is paid for."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UsageError(
                f"the tracker {name} is not installed",
                where="train.trackers",
                remedy=f"pip install {name}, or remove it from train.trackers",
            )


def run_id(output_dir: Path) -> str:
    """16 hex digits that stay with the run's folder: a resumed run continues its curves, a new one begins its own."""
    path = output_dir / _ID_FILE
    if not path.is_file():
        write_json_atomic(path, {"id": secrets.token_hex(8)})
    return str(read_json(path)["id"])


def _numbers(record: dict[str, Any]) -> dict[str, float]:
    flat = record | {f"evaluation/{key}": value for key, value in record.get("evaluation", {}).items()}
    return {key: value for key, value in flat.items() if key != "step" and isinstance(value, int | float)}


def _open_wandb(output_dir: Path, config: dict[str, Any]) -> Opened:
    import wandb

    run = wandb.init(project="megadocs", id=run_id(output_dir), resume="allow", dir=str(output_dir), config=config)
    return (lambda record: run.log(_numbers(record), step=record["step"])), run.finish


def _open_trackio(output_dir: Path, config: dict[str, Any]) -> Opened:
    import trackio

    trackio.init(project="megadocs", name=run_id(output_dir), resume="allow", config=config)
    return (lambda record: trackio.log(_numbers(record), step=record["step"])), trackio.finish


def _open_tensorboard(output_dir: Path, config: dict[str, Any]) -> Opened:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(output_dir / "tensorboard"))

    def sink(record: dict[str, Any]) -> None:
        for key, value in _numbers(record).items():
            writer.add_scalar(key, value, record["step"])

    return sink, writer.close
