"""The rule that gives up a run: when it speaks, what it leaves behind."""

import pytest

from megadocs.errors import HopelessError
from megadocs.pipeline.stages.stop_rule import StopRule

RULE = {"after": 0.5, "above": 4.0}


def test_it_speaks_only_late_enough_and_above_the_bound(tmp_path):
    rule = StopRule(RULE, tmp_path)
    rule.check(49, 100, 9.0)
    rule.check(50, 100, 4.0)
    rule.check(100, 100, 9.0)  # a run that is done is done
    with pytest.raises(HopelessError, match=r"4\.100 after 50 of 100 steps, above 4\.000"):
        rule.check(50, 100, 4.1)


def test_a_stopped_run_is_known_without_training_it_again(tmp_path):
    with pytest.raises(HopelessError):
        StopRule(RULE, tmp_path).check(60, 100, 5.0)
    with pytest.raises(HopelessError):
        StopRule(RULE, tmp_path)
    StopRule(RULE | {"above": 6.0}, tmp_path)  # a gentler rule lets it go on
    assert not list(tmp_path.iterdir())


def test_without_a_rule_nothing_stops_and_nothing_is_left(tmp_path):
    with pytest.raises(HopelessError):
        StopRule(RULE, tmp_path).check(60, 100, 5.0)
    StopRule(None, tmp_path).check(60, 100, 5.0)
    assert not list(tmp_path.iterdir())
