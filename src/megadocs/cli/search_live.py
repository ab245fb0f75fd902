"""What `megadocs search` shows while it runs: a live table on a terminal, plain lines elsewhere.

with open_search_display() as watcher:
    run_search(recipe, root, watcher=watcher)
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from megadocs.cli.console import duration, printable, progress_text, say, step_news

if TYPE_CHECKING:
    from megadocs.pipeline.execute.scheduler import StepState
    from megadocs.pipeline.tune.results import ArmSearch, SearchOutcome, TrialResult
    from megadocs.pipeline.tune.standing import Watcher

_LINE_SECONDS = 10.0


@contextmanager
def open_search_display() -> Iterator[Watcher]:
    """A watcher for the length of the block."""
    if not sys.stderr.isatty():
        yield PlainDisplay()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield LiveDisplay(live)


def setting_text(setting: Mapping[str, float]) -> str:
    """`real_epochs 8, learning_rate 0.003`."""
    return ", ".join(f"{name.rpartition('.')[2]} {value:g}" for name, value in setting.items())


class PlainDisplay:
    """A line for each trial that has ended, for each shared step, and every ten seconds for what runs."""

    def __init__(self) -> None:
        self._news = _News()
        self._last_running = time.monotonic()

    def step(self, state: StepState) -> None:
        """Say when a shared step starts and how it ends."""
        for line in self._news.of_step(state):
            say(line)

    def search(self, outcome: SearchOutcome) -> None:
        """Say what is new."""
        for line in self._news.of_trials(outcome):
            say(line)
        if time.monotonic() - self._last_running >= _LINE_SECONDS:
            self._last_running = time.monotonic()
            for cells in running_rows([asdict(trial) for trial in outcome.running]):
                say("  " + ", ".join(cell for cell in cells if cell))


class LiveDisplay:
    """Ended trials scroll by; below them stand the trials that run and how far each arm has come."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._news = _News()
        self._shared: dict[str, StepState] = {}

    def step(self, state: StepState) -> None:
        """Keep running shared steps in the table."""
        if state.status == "running":
            self._shared[state.step.name] = state
        else:
            self._shared.pop(state.step.name, None)
        self._print(self._news.of_step(state))
        if not self._news.has_trials:
            self._draw(None)

    def search(self, outcome: SearchOutcome) -> None:
        """Draw the table anew."""
        self._print(self._news.of_trials(outcome))
        self._draw(outcome)

    def _print(self, lines: Iterable[str]) -> None:
        """Above the table; what is too long goes on indented."""
        for line in lines:
            self._live.console.print(self._wrapped(line), highlight=False, markup=False)

    def _wrapped(self, line: str) -> str:
        return textwrap.fill(line, self._live.console.width, subsequent_indent="    ")

    def _draw(self, outcome: SearchOutcome | None) -> None:
        from rich.console import Group
        from rich.text import Text

        parts: list[Any] = []
        for name, state in self._shared.items():
            parts.append(Text(f"{name}  {progress_text(state.progress)}"))
        if outcome is not None:
            if outcome.running:
                parts.append(_running_table(outcome))
            parts += [Text(self._wrapped(line), style="bold") for line in standing_lines(outcome)]
        self._live.update(Group(*parts))


def _running_table(outcome: SearchOutcome) -> Any:
    """One row for each trial under way, one column for each axis of any arm; at home in 80 columns."""
    from rich.table import Table
    from rich.text import Text

    axes = list(dict.fromkeys(name for trial in outcome.running for name in trial.setting))
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("arm", overflow="ellipsis", vertical="bottom")  # the only one that gives way
    for name in axes:
        table.add_column(name.rpartition(".")[2].replace("_", "\n"), justify="right", no_wrap=True)
    for name in ("seed", "step", "loss", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for trial in outcome.running:
        row = asdict(trial)
        values = [f"{trial.setting[name]:g}" if name in trial.setting else "" for name in axes]
        seed = f"{trial.seed}{' ahead' if trial.is_ahead else ''}"
        loss = f"{trial.loss:.3f}" if trial.loss is not None else ""
        left = duration(trial.seconds_left) if trial.seconds_left is not None else ""
        table.add_row(*(Text(cell) for cell in (trial.arm, *values, seed, phase_text(row), loss, left)))
    return table


def phase_text(trial: Mapping[str, Any]) -> str:
    """`120/384`, or what a trial under way does when it does not train."""
    match trial["phase"]:
        case "train" if trial["num_steps"]:
            return f"{trial['step']}/{trial['num_steps']}"
        case "train":
            return "starting"
        case "evaluate":
            return "scoring"
        case "elsewhere":
            return "in another process"
        case _:
            return "waiting"


def running_rows(running: list[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Arm, setting, seed, step, loss so far, time left of each trial under way (`running` of search.json)."""
    for trial in running:
        step = f"{'step ' if trial['phase'] == 'train' and trial['num_steps'] else ''}{phase_text(trial)}"
        loss = f"loss {trial['loss']:.3f}" if trial["loss"] is not None else ""
        left = f"{duration(trial['seconds_left'])} left" if trial["seconds_left"] is not None else ""
        ahead = " (ahead)" if trial["is_ahead"] else ""
        yield trial["arm"], setting_text(trial["setting"]), f"seed {trial['seed']}{ahead}", step, loss, left


def standing_lines(outcome: SearchOutcome) -> Iterator[str]:
    """One line for each arm, one for the whole."""
    for arm in outcome.arms:
        best = best_result(arm)
        if best is not None:
            name = arm.space.arm.name
            yield f"{name}: {len(arm.counted)} runs, best {best.loss:.4f} at {setting_text(best.setting)}"
    if outcome.interrupted_by is not None:
        yield "stopping: running trials save where they are; once more ends them at once"
    use = outcome.utilisation
    yield f"{duration(use.seconds)}, {use.busy_fraction:.0%} of {use.num_slots} slots busy"


def best_result(arm: ArmSearch) -> TrialResult | None:
    """The trial with the lowest loss so far."""
    ended = [result for result in arm.counted.values() if result.loss is not None]
    return min(ended, key=lambda result: result.loss or 0.0, default=None)


class _News:
    """What has not been said yet."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self.has_trials = False

    def of_step(self, state: StepState) -> list[str]:
        """Start and end of a shared step."""
        return [f"{state.step.name}: {news}" for news in step_news(state)]

    def of_trials(self, outcome: SearchOutcome) -> list[str]:
        """Trials that have ended; those found in the workspace are counted only."""
        self.has_trials = True
        lines = []
        for arm in outcome.arms:
            results, name = list(arm.results.values()), arm.space.arm.name
            fresh = results[self._known.get(name, 0) :]
            self._known[name] = len(results)
            num_found = sum(result.loss is not None and not result.is_new for result in fresh)
            if num_found:
                lines.append(f"{name}: {num_found} runs were there already")
            lines += [f"{name}: {_result_text(result)}" for result in fresh if result.is_new or result.loss is None]
        return lines


def _result_text(result: TrialResult) -> str:
    where = f"{setting_text(result.setting)}, seed {result.seed}"
    if result.diverged is not None:
        return f"diverged, {where}: {printable(result.diverged)}"
    if result.loss is None:
        return f"FAILED, {where}: {printable(str(result.error))}"
    return f"{result.loss:.4f} in {duration(result.seconds)}, {where}"
