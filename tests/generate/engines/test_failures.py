"""What refusals of every dialect mean, what of them is kept, and that no document text is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from megadocs.generate.engines.failures import failure_of_answer, without_quotes
from megadocs.generate.engines.http_client import read_answer
from megadocs.generate.engines.protocol import EngineFailure

ANSWERS: list[tuple[int, Any, str, str]] = [
    (402, {"error": {"message": "Insufficient Balance", "type": "unknown_error"}}, "payment", "Insufficient Balance"),
    (429, {"error": {"message": "no quota", "type": "insufficient_quota"}}, "payment", "insufficient_quota"),
    (429, {"error": {"code": "billing_hard_limit_reached"}}, "payment", "billing_hard_limit_reached"),
    (400, {"error": {"type": "invalid", "message": "Your credit balance is too low"}}, "payment", "credit balance"),
    (429, {"error": {"message": "slow down; see your billing page", "code": "rate"}}, "rate_limited", "slow down"),
    (403, {"error": {"message": "no", "code": "content_filter"}}, "refused", "content_filter"),
    (400, {"error": {"code": "content_policy_violation", "message": "no"}}, "refused", "HTTP 400"),
    (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, "refused", "ResponsibleAI"),
    (400, {"error": {"code": "DataInspectionFailed"}}, "refused", "DataInspectionFailed"),
    (403, {"error": {"message": "Missing scopes"}}, "unauthorised", "Missing scopes"),
    (404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}, "bad_request", "`x`"),
    (404, {"detail": "Not Found"}, "bad_request", "Not Found"),
    (422, {"detail": [{"type": "extra", "loc": ["body", "seed"], "msg": "Extra"}]}, "bad_request", "extra (seed)"),
    (
        400,
        {"error": {"code": "unsupported_parameter", "param": "n", "message": "m"}},
        "bad_request",
        "parameter (n): m",
    ),
    (400, {"message": "This model's maximum context length is 100 tokens."}, "context_length", "100 tokens"),
    (400, {"error": {"message": "exceeds the available context size"}}, "context_length", "context size"),
    (400, {"error": {"type": "exceed_context_size_error"}}, "context_length", "exceed_context"),
    (400, {"error": {"code": "context_length_exceeded"}}, "context_length", "context_length"),
    (400, {"error": {"message": "prompt is too long: 300000 tokens"}}, "context_length", "300000"),
    (
        400,
        {"error": {"message": "chat template error: context is not there; invalid size of roles"}},
        "bad_request",
        "",
    ),
    (409, {"error": {"message": "busy"}}, "server_error", "busy"),
    (529, {"error": {"type": "overloaded_error"}}, "server_error", "overloaded_error"),
    (500, {"error": "CPU Generator does not use offset"}, "server_error", "does not use offset"),
    (400, ["odd"], "bad_request", "odd"),
    (400, None, "bad_request", "HTTP 400"),
    (400, {"error": {"message": ["odd"], "code": {"a": 1}, "param": 3}}, "bad_request", "HTTP 400"),
]


@pytest.mark.parametrize("status, body, kind, shown", ANSWERS)
def test_answers(status: int, body: Any, kind: str, shown: str) -> None:
    failure = failure_of_answer(status, {}, json.dumps(body).encode())
    assert (failure.kind, failure.status) == (kind, status)
    assert shown in failure.message
    assert f"HTTP {status}" in failure.message


def test_code_and_parameter_are_kept() -> None:
    error = {"code": "unsupported_parameter", "type": "invalid", "param": "max_tokens", "message": "no"}
    failure = failure_of_answer(400, {}, json.dumps({"error": error}).encode())
    assert (failure.code, failure.param) == ("unsupported_parameter invalid", "max_tokens")


def test_redirects_and_pages_say_what_came() -> None:
    assert "redirect to http://b/v1" in failure_of_answer(308, {"Location": "http://b/v1"}, b"").message
    page = failure_of_answer(404, {"Content-Type": "text/html"}, b"<html>")
    assert page.message == "HTTP 404: 6 bytes of text/html, not JSON"
    login = read_answer(200, {"Content-Type": "text/html"}, b"<html>")
    assert isinstance(login, EngineFailure)
    assert (login.kind, login.message) == ("malformed", "HTTP 200: 6 bytes of text/html, not JSON")


def test_an_error_within_a_200() -> None:
    limited = read_answer(200, {}, b'{"error": {"message": "slow", "code": 429}}')
    broken = read_answer(200, {}, b'{"error": {"message": "provider", "code": "x"}}')
    assert isinstance(limited, EngineFailure)
    assert isinstance(broken, EngineFailure)
    assert (limited.kind, broken.kind) == ("rate_limited", "server_error")


@pytest.mark.parametrize("document", ["The harbour froze early that winter.", "那年冬天港口很早就结冰了"])
def test_messages_hold_no_document_text(document: str) -> None:
    failure = EngineFailure("bad_request", f"HTTP 400 bad: cannot read '{document}' (sorry)", status=400)
    kept = without_quotes(failure, ["Rewrite this:", f"x {document} y"])
    assert kept.message.startswith("HTTP 400 bad: cannot read '")
    assert kept.message.endswith("[...]' (sorry)")
    assert document[:8] not in kept.message
    assert without_quotes(failure, ["something else"]) is failure
