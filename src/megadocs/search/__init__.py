"""Local search on a grid: pure decisions, (grid, losses so far) -> next trials or certificate. No torch, no files."""

from megadocs.search.certificate import (
    Certificate,
    NeighbourLine,
    certify,
    cheapest_points,
    count_bounds,
)
from megadocs.search.forecast import play_searches
from megadocs.search.grid import Axis, Grid, Point, build_axis
from megadocs.search.noise import STOPPED, Losses, Trial
from megadocs.search.rounds import LocalWalk, Sampler, Walk, Walks
from megadocs.search.walk import next_trials

__all__ = [
    "STOPPED",
    "Axis",
    "Certificate",
    "Grid",
    "LocalWalk",
    "Losses",
    "NeighbourLine",
    "Point",
    "Sampler",
    "Trial",
    "Walk",
    "Walks",
    "build_axis",
    "certify",
    "cheapest_points",
    "count_bounds",
    "next_trials",
    "play_searches",
]
