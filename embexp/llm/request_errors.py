"""The ways in which one request can fail, sorted by what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

from embexp.errors import EmbexpError

FailureKind = Literal["rate", "overload", "error", "corrected"]
_NO_HEADERS: Mapping[str, str] = {}
_OVERLOAD = {408, 498, 502, 503, 504, 529}
_TRY_AGAIN = re.compile(
    r"try again in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?", re.IGNORECASE
)
_LENGTH_WORDS = (
    "context length",
    "context_length",
    "reduce the length",
    "too large",
    "too long",
    "context size",
)
_FORMAT_WORDS = ("response_format", "response format", "json_schema", "json mode")
_LONGEST_QUOTE = 300


class RequestError(Exception):
    """A request that has no answer; the message is the reason, without any secret."""


class RetryableError(RequestError):
    """Send again: a rate limit, an overloaded service, a broken answer, or a setting that was corrected.

    Args:
        reason: What happened, in a few words.
        kind: ``rate`` and ``overload`` slow requests down; ``corrected`` does not count as a failure.
        wait: The seconds that the service asks to wait, None where it names none.
        headers: The response's headers, which may report limits.
    """

    def __init__(
        self,
        reason: str,
        *,
        kind: FailureKind = "error",
        wait: float | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.wait = wait
        self.headers = headers


class TooLongError(RequestError):
    """The prompt and its answer together exceed the model's context or the service's limit."""


class ModelGoneError(RequestError):
    """The service no longer serves this model, or not to this account."""


class UnsupportedFormatError(RequestError):
    """The model cannot answer in the requested response format."""


class RejectedError(RequestError):
    """The service refuses this one request for good."""


class BrokenJsonError(RequestError):
    """The model wrote ``text``, which is not the JSON that the service should have enforced."""

    def __init__(self, text: str) -> None:
        super().__init__("the model did not write valid JSON")
        self.text = text


def request_error(
    status: int, body: object, headers: Mapping[str, str], *, key_name: str, secret: str = ""
) -> Exception:
    """Return the exception for an HTTP error.

    Args:
        status: The HTTP status, 400 or above.
        body: The decoded JSON body, or its text.
        headers: The response's headers.
        key_name: The environment variable that holds the key, for the message.
        secret: The key itself; it is blanked wherever the service repeats it.
    """
    message, code = _message(body)
    message = (message.replace(secret, "***") if secret else message)[:_LONGEST_QUOTE]
    if status in (401, 403):
        return EmbexpError(
            f"The service refuses the key in {key_name} (HTTP {status}): check the key, that it may use this "
            "model, and that your network may reach the service; then run the same command again."
        )
    if status == 429 or status in _OVERLOAD or status >= 500 or status in (409, 425):
        kind: FailureKind = "rate" if status == 429 else "overload" if status in _OVERLOAD else "error"
        wait = requested_wait(headers, message if status == 429 else "")
        return RetryableError(f"HTTP {status} {message}".strip(), kind=kind, wait=wait, headers=headers)
    return _refusal(status, message, code, body)


def _refusal(status: int, message: str, code: str, body: object) -> Exception:
    words = message.lower()
    if "decommissioned" in code or code == "model_not_found" or "decommissioned" in words:
        return ModelGoneError(message)
    if status == 404:
        if "model" in words:
            return ModelGoneError(message)
        return EmbexpError(
            f"The service knows no such address (HTTP 404 {message}): check llm.base_url, the host for "
            "llm=groq, the address up to /v1 for llm=openai_compatible."
        )
    if status == 413 or "context_length" in code or any(word in words for word in _LENGTH_WORDS):
        return TooLongError(message)
    if code == "json_validate_failed":
        return BrokenJsonError(_failed_generation(body))
    if any(word in words for word in _FORMAT_WORDS):
        return UnsupportedFormatError(message)
    return RejectedError(f"HTTP {status} {message}".strip())


def _message(body: object) -> tuple[str, str]:
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        return str(error.get("message") or error), str(error.get("code") or "")
    return " ".join(str(error or "").split()), ""


def _failed_generation(body: object) -> str:
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    return str(error.get("failed_generation") or "") if isinstance(error, Mapping) else ""


def requested_wait(headers: Mapping[str, str], message: str = "") -> float | None:
    """Return the seconds that a response asks to wait, from its headers or its message; None without any."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(float(value) * scale, 0.0)
        except ValueError:
            return _until(value)
    match = _TRY_AGAIN.search(message)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, thousandths = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _until(date: str) -> float | None:
    from datetime import datetime, timezone

    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0)
