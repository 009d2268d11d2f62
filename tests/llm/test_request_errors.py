from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from embexp.errors import EmbexpError
from embexp.services import request_errors as errors


def of(status: int, message: str = "", code: str = "", headers: dict[str, str] | None = None) -> Exception:
    body = {"error": {"message": message, "code": code}}
    return errors.request_error(status, body, headers or {}, key_name="GROQ_API_KEY", secret="gsk_secret")


@pytest.mark.parametrize(
    ("status", "message", "code", "expected"),
    [
        (400, "The model has been decommissioned", "model_decommissioned", errors.ModelGoneError),
        (
            404,
            "The model `x` does not exist or you do not have access to it",
            "model_not_found",
            errors.ModelGoneError,
        ),
        (404, "no such model", "", errors.ModelGoneError),
        (413, "Request too large", "rate_limit_exceeded", errors.TooLongError),
        (400, "Please reduce the length of the messages", "context_length_exceeded", errors.TooLongError),
        (400, "exceeds the available context size", "", errors.TooLongError),
        (400, "does not support response format `json_schema`", "", errors.UnsupportedFormatError),
        (400, "Failed to generate JSON", "json_validate_failed", errors.BrokenJsonError),
        (400, "temperature is too high", "", errors.RejectedError),
        (422, "unprocessable", "", errors.RejectedError),
    ],
)
def test_a_refusal_is_sorted_by_what_to_do(status: int, message: str, code: str, expected: type) -> None:
    assert type(of(status, message, code)) is expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "rate"), (503, "overload"), (498, "overload"), (408, "overload"), (500, "error"), (409, "error")],
)
def test_passing_failures_are_retried(status: int, kind: str) -> None:
    problem = of(status)
    assert isinstance(problem, errors.RetryableError)
    assert problem.kind == kind


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run_without_repeating_the_key(status: int) -> None:
    problem = of(status, "Invalid API Key gsk_secret")
    assert isinstance(problem, EmbexpError)
    assert "GROQ_API_KEY" in str(problem)
    assert "gsk_secret" not in str(problem)


def test_a_key_in_any_other_message_is_blanked() -> None:
    assert str(of(400, "you sent gsk_secret")) == "HTTP 400 you sent ***"


def test_a_wrong_address_names_the_setting() -> None:
    assert "llm.base_url" in str(of(404, "Unknown request URL"))


def test_a_body_that_is_no_json_is_quoted() -> None:
    problem = errors.request_error(400, "<h1>Bad\n Request</h1>", {}, key_name="K")
    assert str(problem) == "HTTP 400 <h1>Bad Request</h1>"


def test_broken_json_keeps_what_the_model_wrote() -> None:
    body = {"error": {"message": "x", "code": "json_validate_failed", "failed_generation": "{oops"}}
    problem = errors.request_error(400, body, {}, key_name="K")
    assert isinstance(problem, errors.BrokenJsonError)
    assert problem.text == "{oops"


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "2"}, "", 2.0),
        ({"retry-after": "61"}, "", 61.0),
        ({"retry-after-ms": "250"}, "", 0.25),
        ({}, "Please try again in 4.77s.", 4.77),
        ({}, "Please try again in 9m38.016s.", 578.016),
        ({}, "Please try again in 644ms.", 0.644),
        ({}, "Please try again in 1h2m3s.", 3723.0),
        ({}, "Please try again later", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "-3"}, "", 0.0),
    ],
)
def test_the_wait_is_read(headers: dict[str, str], message: str, seconds: float | None) -> None:
    waited = errors.requested_wait(headers, message)
    assert waited == (pytest.approx(seconds) if seconds is not None else None)


def test_the_wait_may_be_a_date() -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=90), usegmt=True)
    assert errors.requested_wait({"retry-after": date}) == pytest.approx(90, abs=2)
