"""What can go wrong with one request, sorted by what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

from embexp.errors import EmbexpError

Kind = Literal["rate", "overload", "error", "settled"]
NO_HEADERS: Mapping[str, str] = {}
OVERLOAD = {408, 498, 502, 503, 504, 529}
TRY_AGAIN = re.compile(
    r"try again in (?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?", re.IGNORECASE
)
LENGTH_WORDS = (
    "context length",
    "context_length",
    "reduce the length",
    "too large",
    "too long",
    "context size",
)
LONGEST_QUOTE = 300


class Fault(Exception):  # noqa: N818 (a reason to go on, not an error to show)
    """A request that has no answer yet; the message is the reason, without any secret."""


class Retry(Fault):
    """Ask again: a rate limit, an overloaded service, a broken answer, or a setting that was corrected.

    Args:
        reason: What happened, in a few words.
        kind: ``rate`` and ``overload`` slow the pace down; ``settled`` costs nothing.
        wait: The seconds that the service asked to wait, None where it named none.
        headers: The response's headers, for the limits that they teach.
    """

    def __init__(
        self,
        reason: str,
        *,
        kind: Kind = "error",
        wait: float | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        super().__init__(reason)
        self.kind: Kind = kind
        self.wait = wait
        self.headers = headers


class TooLong(Fault):
    """The prompt and the room for the answer do not fit the model or its limit."""


class ModelGone(Fault):
    """The service no longer serves this model, or not to this account."""


class FormatUnsupported(Fault):
    """The model cannot answer in the requested response format."""


class Rejected(Fault):
    """The service refuses this one request for good."""


class BrokenJson(Fault):
    """The model's answer is not the JSON that the service was told to enforce; ``text`` is what it wrote."""

    def __init__(self, text: str) -> None:
        super().__init__("the model did not write valid JSON")
        self.text = text


def fault(
    status: int, body: object, headers: Mapping[str, str], *, key_name: str, secret: str = ""
) -> Exception:
    """Return the exception that an HTTP error stands for.

    Args:
        status: The HTTP status, 400 or above.
        body: The decoded JSON body, or its text.
        headers: The response's headers.
        key_name: The environment variable that holds the key, for the remedy.
        secret: The key itself: it is blanked wherever the service repeats it.
    """
    message, code = _message(body)
    message = (message.replace(secret, "***") if secret else message)[:LONGEST_QUOTE]
    if status in (401, 403):
        return EmbexpError(
            f"The service refuses the key in {key_name} (HTTP {status}): check the key, that it may use this "
            "model, and that your network may reach the service; then run the same command again."
        )
    if status == 429 or status in OVERLOAD or status >= 500 or status in (409, 425):
        kind: Kind = "rate" if status == 429 else "overload" if status in OVERLOAD else "error"
        wait = wait_asked(headers, message if status == 429 else "")
        return Retry(f"HTTP {status} {message}".strip(), kind=kind, wait=wait, headers=headers)
    return _refusal(status, message, code, body)


def _refusal(status: int, message: str, code: str, body: object) -> Exception:
    words = message.lower()
    if "decommissioned" in code or code == "model_not_found" or "decommissioned" in words:
        return ModelGone(message)
    if status == 404:
        if "model" in words:
            return ModelGone(message)
        return EmbexpError(
            f"The service knows no such address (HTTP 404 {message}): check llm.base_url, the host for "
            "llm=groq, the address up to /v1 for llm=openai_compatible."
        )
    if status == 413 or "context_length" in code or any(word in words for word in LENGTH_WORDS):
        return TooLong(message)
    if code == "json_validate_failed":
        return BrokenJson(_failed_generation(body))
    if (
        "response_format" in words
        or "response format" in words
        or "json_schema" in words
        or "json mode" in words
    ):
        return FormatUnsupported(message)
    return Rejected(f"HTTP {status} {message}".strip())


def _message(body: object) -> tuple[str, str]:
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        return str(error.get("message") or error), str(error.get("code") or "")
    return " ".join(str(error or "").split()), ""


def _failed_generation(body: object) -> str:
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    return str(error.get("failed_generation") or "") if isinstance(error, Mapping) else ""


def wait_asked(headers: Mapping[str, str], message: str = "") -> float | None:
    """Return the seconds that a response asks to wait, from its headers or from its words."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(float(value) * scale, 0.0)
        except ValueError:
            return _until(value)
    found = TRY_AGAIN.search(message)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, thousandths = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _until(date: str) -> float | None:
    from datetime import datetime, timezone

    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0)
