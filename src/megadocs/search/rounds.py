"""Walks in rounds: what is certainly needed now, under one budget, and what may be begun on a guess. Pure, no files.

    walks = Walks([LocalWalk(grid, start, seeds)], round_size=2, max_runs=80)
    walks.take_in([known])               # known: trial -> loss of whatever has ended, in any order
    walks.needed()                       # (walk, trial) of all open rounds, the earliest first
    walks.guess(0, known, running)       # what the walk will ask for if the trials that run end as expected

A walk takes in a round once all of its trials have ended, and knows nothing of other trials until it asks for them.
So its path, its certificate and the trials that count do not depend on the order in which trials end, on the number
of cores, or on what was guessed. A budget of runs is shared in a fixed order too: by rounds, the walks taking turns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from megadocs.search.grid import Grid, Point
from megadocs.search.noise import Losses, Trial
from megadocs.search.walk import expected_losses, next_trials

#: A guess looks so many rounds ahead; further ones come true too seldom.
_MAX_DEPTH = 3

#: A walk none of whose first trials succeeds is given up: something is wrong with all of them.
_MAX_FIRST_FAILURES = 5


class Sampler(Protocol):
    """Chooses the trials of one walk."""

    def propose(self, losses: Losses) -> list[Trial]:
        """The next round; empty when nothing more is to be learnt. Asked once for each round, in order."""

    def guess(self, losses: Losses) -> list[Trial]:
        """What `propose` would say to these losses; empty when it cannot tell."""


@dataclass(frozen=True, slots=True)
class LocalWalk:
    """The walk of `next_trials` as a sampler."""

    grid: Grid
    start: Point
    seeds: Sequence[int]
    confidence: float = 0.95
    round_size: int = 2
    trust_stopped: bool = False

    def propose(self, losses: Losses) -> list[Trial]:
        """See `next_trials`."""
        return next_trials(
            self.grid,
            self.start,
            self.seeds,
            losses,
            confidence=self.confidence,
            round_size=self.round_size,
            trust_stopped=self.trust_stopped,
        )

    def guess(self, losses: Losses) -> list[Trial]:
        """The same: the decision is pure."""
        return self.propose(losses)


@dataclass(slots=True)
class Walk:
    """One walk as far as it has come.

    Attributes:
        sampler: chooses its trials.
        rounds: what it has asked for; the last one may be open.
        losses: of the rounds that it has taken in.
        is_finished: it asks for nothing more.
        is_cut: the budget ends within or before its last round.
    """

    sampler: Sampler
    rounds: list[list[Trial]] = field(default_factory=list)
    losses: dict[Trial, float | None] = field(default_factory=dict)
    is_finished: bool = False
    is_cut: bool = False

    @property
    def open_round(self) -> list[Trial]:
        """The trials whose results it waits for."""
        return [] if self.is_finished or not self.rounds else self.rounds[-1]


class Walks:
    """Several walks under one budget.

    Args:
        samplers: of each walk.
        round_size: no sampler proposes more at once.
        max_runs: trials over all walks; None: as many as they ask for.
    """

    def __init__(self, samplers: Sequence[Sampler], *, round_size: int, max_runs: int | None = None) -> None:
        self.walks = [Walk(sampler) for sampler in samplers]
        self._round_size = round_size
        self._max_runs = max_runs
        for walk in self.walks:
            self._ask(walk)

    @property
    def num_trials(self) -> int:
        """Trials that the walks have asked for, as far as the budget goes."""
        total = sum(len(trials) for walk in self.walks for trials in walk.rounds)
        return total if self._max_runs is None else min(total, self._max_runs)

    @property
    def is_finished(self) -> bool:
        """Whether no walk waits for anything, by its own end or the budget's."""
        return all(walk.is_finished or walk.is_cut for walk in self.walks)

    def take_in(self, known: Sequence[Losses]) -> None:
        """Let all walks go on as far as results (a table for each walk) are known and the budget surely reaches."""
        num_before = -1
        while (num_now := sum(len(walk.rounds) for walk in self.walks)) != num_before:
            num_before = num_now  # what one walk asks for may show another how far the budget reaches
            for number, losses in enumerate(known):
                self._take_in(number, losses)

    def _take_in(self, number: int, known: Losses) -> None:
        walk = self.walks[number]
        while not walk.is_finished and not walk.is_cut:
            inside = [self._is_inside(number, turn) for turn in range(len(walk.rounds[-1]))]
            mine = [trial for trial, is_in in zip(walk.rounds[-1], inside, strict=True) if is_in is not False]
            if None in inside or any(trial not in known for trial in mine):
                return
            walk.losses |= {trial: known[trial] for trial in mine}
            if False in inside:
                walk.is_cut = True
            else:
                self._ask(walk)

    def needed(self) -> list[tuple[int, Trial]]:
        """(walk, trial) of the open rounds that are certainly within the budget, in its order."""
        found = []
        for number, walk in enumerate(self.walks):
            for turn, trial in enumerate(walk.open_round if not walk.is_cut else []):
                if self._is_inside(number, turn):
                    found.append((len(walk.rounds), turn, number, trial))
        found.sort(key=lambda entry: entry[:3])
        return [(number, trial) for _, _, number, trial in found]

    def guess(self, number: int, known: Losses, running: Collection[Trial]) -> Trial | None:
        """A trial that is neither known nor running, which the walk asks for next if the missing ones end as expected.

        Args:
            number: of the walk.
            known: everything that has ended.
            running: everything that is under way.
        """
        walk = self.walks[number]
        losses, trials = dict(walk.losses), walk.open_round if not walk.is_cut else []
        for _ in range(_MAX_DEPTH):
            fresh = [trial for trial in trials if trial not in known and trial not in running]
            if fresh or not trials:
                return fresh[0] if fresh else None
            ended = {trial: known[trial] for trial in trials if trial in known}
            missing = [trial for trial in trials if trial not in known]
            expected = expected_losses(missing, losses | ended)
            losses |= ended | {trial: expected.get(trial, 0.0) for trial in missing}
            trials = walk.sampler.guess(losses)
        return None

    def _ask(self, walk: Walk) -> None:
        losses = walk.losses.values()
        has_hope = len(losses) < _MAX_FIRST_FAILURES or any(loss is not None for loss in losses)
        proposed = walk.sampler.propose(walk.losses) if has_hope else []
        if proposed:
            walk.rounds.append(proposed)
        else:
            walk.is_finished = True

    def _is_inside(self, number: int, turn: int) -> bool | None:
        """Whether a trial of a walk's last round is within the budget; None while other walks are too far behind."""
        if self._max_runs is None:
            return True
        fewest, most = self._positions(number, turn)
        return True if most < self._max_runs else False if fewest >= self._max_runs else None

    def _positions(self, number: int, turn: int) -> tuple[int, int]:
        """Fewest and most trials before this one, by the rounds that are known and those that may still come."""
        last = len(self.walks[number].rounds) - 1
        fewest = most = 0
        for other, walk in enumerate(self.walks):
            here = turn + (other < number)
            sizes = [len(trials) for trials in walk.rounds[: last + 1]]
            fewest += sum(sizes[:last]) + min(here, sum(sizes[last:]))
            unknown = 0 if walk.is_finished else last + 1 - len(sizes)
            most += sum(sizes[:last]) + min(here, sum(sizes[last:]))
            if unknown:
                most += (unknown - 1) * self._round_size + min(here, self._round_size)
        return fewest, most
