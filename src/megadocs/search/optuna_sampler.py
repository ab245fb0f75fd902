"""Optuna's TPE as the chooser of a search's first trials; the walk then certifies what it found. Extra `optuna`.

    sampler = OptunaSampler(LocalWalk(grid, start, seeds), num_trials=24)
    sampler.propose({})                 # the start, then what TPE suggests, a round at a time

TPE works on the indices of each axis' values. Its seed is fixed and it hears of results round by round, so that it
suggests the same whatever the order in which trials end. A suggestion that was tried before costs nothing: TPE is told
what is known, and asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megadocs.errors import UsageError
from megadocs.search.noise import STOPPED, Losses, Trial
from megadocs.search.rounds import LocalWalk

if TYPE_CHECKING:
    import optuna

#: So many suggestions in a row that are known already, and the walk takes over early.
_MAX_REPEATS = 30
#: What TPE is told of a trial without a loss: worse than any loss of a language model.
_NO_LOSS = 1e3


class OptunaSampler:
    """TPE for so many trials with the first seed, then the walk from the best of them.

    Args:
        walk: the grid, the start, the seeds, and what comes after.
        num_trials: that TPE chooses, the start included.

    Raises:
        UsageError: Optuna is not installed.
    """

    def __init__(self, walk: LocalWalk, num_trials: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UsageError(
                "Optuna is not installed", where="search.sampler", remedy="pip install 'megadocs[optuna]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._walk = walk
        self._num_trials = num_trials
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True))
        self._study.enqueue_trial(dict(zip(self._names(), walk.start, strict=True)))
        self._asked: dict[Trial, optuna.trial.Trial] = {}

    def propose(self, losses: Losses) -> list[Trial]:
        """Tell TPE what the last round brought and ask for the next one."""
        for trial in [trial for trial in self._asked if trial in losses]:
            self._study.tell(self._asked.pop(trial), _as_value(losses[trial]))
        proposed: list[Trial] = []
        for _ in range(_MAX_REPEATS):
            if len(losses) + len(proposed) >= self._num_trials or len(proposed) >= self._walk.round_size:
                break
            asked = self._study.ask()
            trial = Trial(self._point(asked), self._walk.seeds[0])
            if trial in losses:
                self._study.tell(asked, _as_value(losses[trial]))
            elif trial in self._asked:
                self._study.tell(asked, state=_pruned())
            else:
                self._asked[trial] = asked
                proposed.append(trial)
        return proposed or self._walk.propose(losses)

    def guess(self, losses: Losses) -> list[Trial]:
        """Nothing while TPE chooses: asking it changes what it says next."""
        return [] if len(losses) < self._num_trials else self._walk.guess(losses)

    def _names(self) -> list[str]:
        return [axis.name for axis in self._walk.grid.axes]

    def _point(self, asked: optuna.trial.Trial) -> tuple[int, ...]:
        axes = self._walk.grid.axes
        return tuple(asked.suggest_int(axis.name, 0, len(axis.values) - 1) for axis in axes)


def _as_value(loss: float | None) -> float:
    return _NO_LOSS if loss is None or loss == STOPPED else loss


def _pruned() -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState.PRUNED
