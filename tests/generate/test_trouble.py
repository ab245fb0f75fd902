"""When a run stops: the error is about the refusal that was counted, whatever came after it."""

from __future__ import annotations

import typing

import pytest

from megadocs.generate.engines.protocol import EngineFailure, EngineInfo, FailureKind
from megadocs.generate.trouble import MAX_DEATHS, NUM_SAME_ANSWERS, Trouble, fatal_error

INFO = EngineInfo({"model": "m"}, 2048, 4, address="http://127.0.0.1:9/v1")
NOT_FOUND = EngineFailure("bad_request", "HTTP 404: no such path", status=404)
TIMEOUT = EngineFailure("timeout", "no complete reply within 5 s")


def test_the_eighth_equal_refusal_ends_the_run() -> None:
    trouble = Trouble(INFO, has_served=False)
    errors = [trouble.report_failure(NOT_FOUND, 0.0) for _ in range(NUM_SAME_ANSWERS)]
    assert errors[:-1] == [None] * (NUM_SAME_ANSWERS - 1)
    assert errors[-1] is not None
    assert errors[-1].what == "the first 8 answers refused alike: HTTP 404: no such path"
    assert errors[-1].where == INFO.address
    assert "/v1" in str(errors[-1].remedy)


@pytest.mark.parametrize("last", [TIMEOUT, EngineFailure("rate_limited", "HTTP 429", status=429)])
def test_the_end_of_the_work_names_the_refusal_not_the_weather_after_it(last: EngineFailure) -> None:
    trouble = Trouble(INFO, has_served=False)
    for failure in (NOT_FOUND, NOT_FOUND, last):
        assert trouble.report_failure(failure, 0.0) is None
    error = trouble.conclude()
    assert error is not None
    assert error.what == "the first 2 answers refused alike: HTTP 404: no such path"


def test_weather_alone_is_no_refusal() -> None:
    trouble = Trouble(INFO, has_served=False)
    trouble.report_failure(TIMEOUT, 0.0)
    assert trouble.conclude() is None
    assert not trouble.is_deciding


def test_refusals_of_two_kinds_stand_for_their_requests() -> None:
    trouble = Trouble(INFO, has_served=False)
    trouble.report_failure(NOT_FOUND, 0.0)
    trouble.report_failure(EngineFailure("bad_request", "HTTP 400: no", status=400), 0.0)
    assert not trouble.holds_back("bad_request", 404)
    assert trouble.conclude() is None


def test_a_document_of_its_own_fault_counts_for_nothing_in_a_ledger_with_replies() -> None:
    trouble = Trouble(INFO, has_served=True)
    filtered = EngineFailure("refused", "HTTP 400 content_filter", status=400)
    assert all(trouble.report_failure(filtered, 0.0) is None for _ in range(20))
    assert not trouble.holds_back("refused", 400)


def test_deaths_without_a_reply_between_end_the_run() -> None:
    trouble = Trouble(INFO, has_served=False)
    errors = [
        trouble.report_failure(EngineFailure("connection", "the server ended", death=(0, pid)), 0.0)
        for pid in range(MAX_DEATHS)
    ]
    assert errors[:-1] == [None] * (MAX_DEATHS - 1)
    assert errors[-1] is not None
    assert errors[-1].what.startswith(f"the server died {MAX_DEATHS} times")


@pytest.mark.parametrize("kind", typing.get_args(FailureKind))
def test_every_class_of_failure_has_a_remedy(kind: FailureKind) -> None:
    error = fatal_error(EngineFailure(kind, "it said no"), INFO)
    assert error.what == "it said no"
    assert error.remedy


def test_a_proxy_is_not_the_servers_key() -> None:
    failure = EngineFailure("unauthorised", "the proxy refuses: HTTP 407", status=407, code="proxy")
    assert "HTTPS_PROXY" in str(fatal_error(failure, INFO).remedy)
    assert "KEY" not in str(fatal_error(failure, INFO).remedy)
