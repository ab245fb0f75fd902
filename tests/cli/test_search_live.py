"""What a search shows while it runs and when it ends: it fits 80 columns, and says what stops."""

import io
import signal
from types import SimpleNamespace

import pytest
from rich.console import Console

from megadocs.cli.search import claim, result_lines
from megadocs.cli.search_live import LiveDisplay, running_rows, standing_lines
from megadocs.pipeline.tune.results import RunningTrial

SETTING = {
    "train.real_epochs": 128.0,
    "train.learning_rate": 0.00333,
    "train.weight_decay": 12.8,
    "mixture.synthetic_fraction": 0.75,
}


def running(**changes):
    values = {
        "arm": "latent_thoughts",
        "setting": SETTING,
        "seed": 0,
        "is_ahead": True,
        "phase": "train",
        "step": 120,
        "num_steps": 3840,
        "loss": 4.2654,
        "seconds_left": 200.0,
    }
    return RunningTrial(**values | changes)


def outcome_of(*trials, interrupted_by=None):
    use = SimpleNamespace(seconds=12.0, busy_fraction=0.91, num_slots=2)
    return SimpleNamespace(running=trials, arms=(), utilisation=use, interrupted_by=interrupted_by)


def drawn(outcome, width):
    """The lines of the live table on a terminal of this width."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    live = SimpleNamespace(console=console, update=console.print)
    LiveDisplay(live).search(outcome)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal_with_all_axes(width):
    other = running(arm="real_only", setting={"train.real_epochs": 8.0}, phase="evaluate", is_ahead=False, seed=2)
    lines = drawn(outcome_of(running(), other), width)
    assert all(len(line) <= width for line in lines)
    first, second, thoughts, real_only, standing = lines
    assert first.split() == ["real", "learning", "weight", "synthetic"]
    assert second.split() == ["arm", "epochs", "rate", "decay", "fraction", "seed", "step", "loss", "left"]
    values = [
        "latent_thoughts",
        "128",
        "0.00333",
        "12.8",
        "0.75",
        "0",
        "ahead",
        "120/3840",
        "4.265",
        "3",
        "min",
        "20",
        "s",
    ]
    if width == 120:
        assert thoughts.split() == values
    assert thoughts.split()[1:-4] == values[1:-4]  # nothing but the arm's name is ever cut
    assert real_only.split()[:4] == ["real_only", "8", "2", "scoring"]
    assert standing.strip() == "12 s, 91% of 2 slots busy"


def test_nothing_under_way_shows_no_empty_table():
    assert len(drawn(outcome_of(), 80)) == 1


def test_ctrl_c_is_answered_at_once():
    (stopping, _) = standing_lines(outcome_of(interrupted_by=signal.SIGINT))
    assert stopping.startswith("stopping: running trials save")


def test_plain_lines_name_what_a_trial_does():
    rows = [", ".join(cells) for cells in running_rows([vars_of(running()), vars_of(running(phase="waiting"))])]
    assert "seed 0 (ahead), step 120/3840, loss 4.265, 3 min 20 s left" in rows[0]
    assert "waiting" in rows[1]


def vars_of(trial):
    return {name: getattr(trial, name) for name in trial.__dataclass_fields__}


def neighbour(verdict, **changes):
    line = {"axis": "mixture.synthetic_fraction", "value": 0.75, "is_extended": False, "verdict": verdict}
    return line | {"loss": None, "margin": None, "margin_error": None, "num_pairs": 0} | changes


def finished(*verdicts):
    """A search of one arm as search.json holds it."""
    seen = {"loss": 15.1234, "margin": 0.1234, "margin_error": 0.0321, "num_pairs": 3, "is_extended": True}
    certificate = {
        "kind": "interior",
        "setting": SETTING,
        "loss": 5.5,
        "num_seeds": 3,
        "is_separated": True,
        "edges": (),
        "neighbours": [neighbour(verdict, **seen) for verdict in verdicts],
        "noise_sd": 0.01,
        "noise_freedom": 4,
    }
    cost = {"num_trials": 20, "num_new": 20, "num_settings": 12, "num_grid_settings": 720}
    cost |= {"num_wasted": 0, "num_tokens": 1_000_000, "flops": 1e12, "training_seconds": 50.0}
    arm = {
        "arm": "stitched",
        "certificate": certificate,
        "cost": cost,
        "test": None,
        "trials": [],
        "matched_epochs": None,
    }
    use = {"busy_fraction": 0.9, "num_slots": 2}
    search = {"name": "tuning", "ending": "finished", "arms": [arm], "left_out": {}, "seconds": 60.0}
    return search | {"utilisation": use, "running": [], "is_alive": False}


def test_neighbours_fit_eighty_columns():
    lines = list(result_lines(finished("worse", "not separated")))
    table = [line for line in lines if "synthetic_fraction  " in line or "verdict" in line]
    assert len(table) == 3
    assert all(len(line) <= 80 for line in table)
    assert table[2].endswith("not separated (3)")


def test_one_seed_is_not_called_a_tie():
    certificate = finished("not separated", "not separated")["arms"][0]["certificate"]
    certificate["is_separated"] = False
    assert claim(certificate).endswith("some neighbours are not separated from it")
    for line in certificate["neighbours"]:
        line["margin_error"] = None
    assert claim(certificate).endswith("too few seeds to know the noise, so no neighbour is separated from it")
