"""How many texts in use were cut: flags are counted over all replies, those that a policy rejected included."""

import pytest

from megadocs.generate.accounting import num_kept_cut


@pytest.mark.parametrize(("policy", "expected"), [("accept", 235), ("reject", 0), ("retry", 0)])
def test_only_texts_in_use_count_as_cut(policy, expected):
    accounting = {"requested": 768, "ok": 533, "rejected": 235, "flags": {"truncated": 235, "echo": 9}}
    assert num_kept_cut(accounting, {"truncated": policy}) == expected


def test_an_older_record_leaves_the_default_policy_out():
    assert num_kept_cut({"flags": {"truncated": 7}}, {"strip_preamble": True}) == 7


def test_a_task_without_the_flag_has_none():
    assert num_kept_cut({"flags": {}}, {"truncated": "accept"}) == 0
