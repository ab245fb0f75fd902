"""Walks in rounds: what is certainly needed now, under one budget, and what may begin ahead of it. Pure, no files.

    walks = Walks([LocalWalk(grid, start, seeds)], max_runs=80)
    walks.take_in([known])               # known: trial -> loss of whatever has ended, in any order
    walks.needed()                       # (walk, trial) of all open rounds, the earliest first
    walks.ahead(0, known, running)       # what the walk asks for next if the open round changes nothing

A walk takes in a round once all of its trials have ended, and knows nothing of other trials until it asks for them.
So its path, its certificate and the trials that count do not depend on the order in which trials end, on the number
of cores, or on what was begun ahead. A budget of runs is shared in a fixed order too: by rounds, walks taking turns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from megadocs.search.grid import Grid, Point
from megadocs.search.noise import Losses, Trial
from megadocs.search.walk import next_trials

#: A walk none of whose first trials succeeds is given up: something is wrong with all of them.
_MAX_FIRST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class LocalWalk:
    """The walk of `next_trials` over one grid."""

    grid: Grid
    start: Point
    seeds: Sequence[int]
    confidence: float = 0.95
    round_size: int = 2

    def propose(self, losses: Losses) -> list[Trial]:
        """The trials of the present stage, the next round first; empty when nothing more is to be learnt."""
        proposed = next_trials(self.grid, self.start, self.seeds, losses, confidence=self.confidence, round_size=None)
        # The start comes alone. Its neighbours are certain to follow unless it fails, so they may begin beside it.
        return proposed if losses else [*proposed, *(Trial(p, self.seeds[0]) for p in self.grid.neighbours(self.start))]


@dataclass(slots=True)
class Walk:
    """One walk as far as it has come."""

    chooser: LocalWalk  # proposes its trials
    rounds: list[list[Trial]] = field(default_factory=list)  # what it has asked for; the last one may be open
    ahead: list[Trial] = field(default_factory=list)  # what it asks for after the last round if that changes nothing
    losses: dict[Trial, float | None] = field(default_factory=dict)  # of the rounds that it has taken in
    is_finished: bool = False  # it asks for nothing more
    is_cut: bool = False  # the budget ends within or before its last round

    @property
    def open_round(self) -> list[Trial]:
        """The trials whose results it waits for."""
        return [] if self.is_finished or not self.rounds else self.rounds[-1]


class Walks:
    """Several walks under one budget.

    Args:
        max_runs: trials over all walks; None: as many as they ask for.
    """

    def __init__(self, choosers: Sequence[LocalWalk], *, max_runs: int | None = None) -> None:
        self.walks = [Walk(chooser) for chooser in choosers]
        self._round_size = max(chooser.round_size for chooser in choosers)
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
            for index, losses in enumerate(known):
                self._take_in(index, losses)

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
        for index, walk in enumerate(self.walks):
            for turn, trial in enumerate(walk.open_round if not walk.is_cut else []):
                if self._is_inside(index, turn):
                    found.append((len(walk.rounds), turn, index, trial))
        found.sort(key=lambda entry: entry[:3])
        return [(index, trial) for _, _, index, trial in found]

    def may_begin_ahead(self, num_unasked: int) -> bool:
        """Whether one more trial may begin before its walk asks for it, beside so many that have.

        At most half of the walks' own, because what the next round overtakes is wasted: 4.2 of some 20 runs on 40
        simulated searches, at most 8; without the bound 10 (benchmarks/bench_search.py). Nothing begins past a budget.
        """
        total = self.num_trials + num_unasked
        return num_unasked < max(1, self.num_trials // 2) and (self._max_runs is None or total < self._max_runs)

    def ahead(self, index: int, known: Losses, running: Collection[Trial]) -> Trial | None:
        """The next trial past a walk's open round that is neither known nor running: for a slot that would idle.

        It is wasted when the round makes another setting the best one.
        """
        walk = self.walks[index]
        waiting = walk.ahead if not (walk.is_cut or walk.is_finished) else []
        return next((trial for trial in waiting if trial not in known and trial not in running), None)

    def _ask(self, walk: Walk) -> None:
        losses = walk.losses.values()
        has_hope = len(losses) < _MAX_FIRST_FAILURES or any(loss is not None for loss in losses)
        proposed = walk.chooser.propose(walk.losses) if has_hope else []
        # The start makes a round of its own: everything else is measured from it.
        size = walk.chooser.round_size if walk.losses else 1
        walk.ahead = proposed[size:]
        if proposed:
            walk.rounds.append(proposed[:size])
        else:
            walk.is_finished = True

    def _is_inside(self, index: int, turn: int) -> bool | None:
        """Whether a trial of a walk's last round is within the budget; None while other walks are too far behind."""
        if self._max_runs is None:
            return True
        fewest, most = self._positions(index, turn)
        return True if most < self._max_runs else False if fewest >= self._max_runs else None

    def _positions(self, index: int, turn: int) -> tuple[int, int]:
        """Fewest and most trials before this one, by the rounds that are known and those that may still come.

        The budget's order is round by round, and within a round one trial of each walk in turn: with two walks a and b
        and rounds of two it is a0 b0 (the starts), then a1 b1 a2 b2, and so on. Before b2, the second trial of b's
        second round, stand five. Missing rounds of a walk that is behind are empty for the fewest, full for the most.
        """
        last = len(self.walks[index].rounds) - 1
        fewest = most = 0
        for other, walk in enumerate(self.walks):
            here = turn + (other < index)  # of this round: those of earlier turns, and of this turn in walks before
            sizes = [len(trials) for trials in walk.rounds[: last + 1]]
            known = sum(sizes[:last]) + min(here, sum(sizes[last:]))
            fewest, most = fewest + known, most + known
            unknown = 0 if walk.is_finished else last + 1 - len(sizes)
            if unknown:
                most += (unknown - 1) * self._round_size + min(here, self._round_size)
        return fewest, most
