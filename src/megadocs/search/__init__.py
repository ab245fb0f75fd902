"""Local search on a grid: pure decisions, (grid, losses so far) -> next trials or certificate. No torch, no files."""

from megadocs.search.certificate import (
    Certificate,
    NeighbourLine,
    certify,
    cheapest_points,
    count_bounds,
)
from megadocs.search.grid import Axis, Grid, Point, build_axis
from megadocs.search.noise import DIVERGED, Losses, Trial
from megadocs.search.rounds import LocalWalk, Walk, Walks
from megadocs.search.walk import next_trials

__all__ = [
    "DIVERGED",
    "Axis",
    "Certificate",
    "Grid",
    "LocalWalk",
    "Losses",
    "NeighbourLine",
    "Point",
    "Trial",
    "Walk",
    "Walks",
    "build_axis",
    "certify",
    "cheapest_points",
    "count_bounds",
    "next_trials",
]
