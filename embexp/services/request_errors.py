"""The ways in which one request can fail, sorted by what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Literal

from embexp.errors import EmbexpError

FailureKind = Literal["rate", "overload", "error", "corrected"]
KEPT = "All answers so far are kept"
_NO_HEADERS: Mapping[str, str] = {}
_OVERLOAD = {408, 498, 502, 503, 504, 529}
_WAIT_IN_MESSAGE = re.compile(
    r"(?:try again|retry) (?:in|after) (?:(\d+)\s*h(?:ours?)?\s*)?(?:(\d+)\s*m(?:in(?:ute)?s?)?(?!s)\s*)?"
    r"(?:([\d.]+)\s*s(?:ec(?:ond)?s?)?)?(?:([\d.]+)\s*ms)?",
    re.IGNORECASE,
)
_CONTEXT_WORDS = ("context length", "context_length", "context size", "context window", "reduce the length")
_LARGE_WORDS = ("too large", "too long", "must be reduced", "reduce your message size")
_LENGTH_PARAMETERS = ("max_tokens", "max_completion_tokens")
_FORMAT_WORDS = (
    *("response_format", "response format", "json_schema", "json schema", "json mode", "json_object"),
    *("grammar", "structured output", "guided_json", "guided decoding", "response_mime_type"),
)
_GRAMMAR_WORDS = ("grammar", "json_schema", "json schema", "structured output")
_POLICY_CODES = ("content_filter", "content_policy", "datainspectionfailed", "data_inspection_failed")
_POLICY_WORDS = (
    *("content management policy", "content policy", "content_policy", "content filter", "content_filter"),
    *("safety system", "was flagged", "moderation", "inappropriate content", "prohibited content"),
)
_NO_CREDIT = (
    *("insufficient_quota", "insufficient quota", "insufficient balance", "insufficient_balance"),
    *("insufficient credits", "credit balance is too low", "billing_hard_limit", "billing hard limit"),
    "billing_not_active",
)
_DAY = re.compile(
    r"per[ _-]?(?:day|week|month)|\b(?:[RT]PD|daily|weekly|monthly)\b|/(?:day|month)\b", re.IGNORECASE
)
_MINUTE = re.compile(r"per[ _-]?(?:minute|second)|\b[RT]PM\b", re.IGNORECASE)
_NO_MODEL = (
    *("invalid model", "not a valid model", "unknown model", "model not found", "no such model"),
    "unsupported model",
)
_NO_ACCESS = ("blocked", "permission", "access", "not allowed", "enable", "entitled")
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
        charged: False where the service has refused the request or never had it, None where an answer may be
            on its way or lost, True where an unusable answer has arrived.
    """

    def __init__(
        self,
        reason: str,
        *,
        kind: FailureKind = "error",
        wait: float | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        charged: bool | None = False,
    ) -> None:
        super().__init__(reason)
        self.charged = charged
        self.kind: FailureKind = kind
        self.wait = wait
        self.headers = headers


class UnreachableError(RetryableError):
    """Nothing answers, or not in time; before the first answer of a run that is hardly a passing failure."""


class TooLongError(RequestError):
    """The prompt and its answer together exceed the model's context or the service's limit."""


class ModelGoneError(RequestError):
    """The service no longer serves this model, or not to this account."""


class UnsupportedFormatError(RequestError):
    """The model cannot answer in the requested response format."""


class FilteredError(RequestError):
    """The service's content filter refuses the prompt: this one passage, not the service, is the reason."""


class RejectedError(RequestError):
    """The service refuses this one request for good, or until a parameter of it is changed.

    Args:
        reason: What the service said.
        named: The fields of the request's body that it names as the cause.
    """

    def __init__(self, reason: str, *, named: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.named = named


class BrokenJsonError(RequestError):
    """The model wrote ``text``, which is not the JSON that the service should have enforced."""

    def __init__(self, text: str) -> None:
        super().__init__("the model did not write valid JSON")
        self.text = text


def request_error(
    status: int,
    body: object,
    headers: Mapping[str, str],
    *,
    key_name: str | None,
    secret: str = "",
    group: str = "llm",
) -> Exception:
    """Return the exception for an HTTP error.

    Args:
        status: The HTTP status, 300 or above.
        body: The decoded JSON body, or its text.
        headers: The response's headers.
        key_name: The environment variable that holds the key, for the message; None where there is no key.
        secret: The key itself; it is blanked wherever the service repeats it.
        group: The config group whose keys the message names.
    """
    message, code = _message(body)
    message = (message.replace(secret, "***") if secret else message)[:_LONGEST_QUOTE]
    if status < 400:
        return _moved(status, headers, group)
    if status == 407:
        return EmbexpError(
            "The proxy wants a user and a password (HTTP 407): write them into HTTP_PROXY or HTTPS_PROXY, as "
            "in http://USER:PASSWORD@HOST:PORT, or name the service's host in NO_PROXY."
        )
    if 400 <= status < 500 and status != 429 and _is_policy(message, code):
        return FilteredError(message)
    if status in (401, 403):
        return _denied(status, message, code, key_name, group)
    if status == 402 or (status in (400, 429) and _names(_NO_CREDIT, message, code)):
        return _no_credit(status, message)
    if status == 429:
        return _limited(message, body, headers)
    if status >= 500 and _names(_GRAMMAR_WORDS, message):
        return UnsupportedFormatError(message)
    if status in _OVERLOAD or status >= 500 or status in (409, 425):
        kind: FailureKind = "overload" if status in _OVERLOAD else "error"
        wait = requested_wait(headers)
        return RetryableError(f"HTTP {status} {message}".strip(), kind=kind, wait=wait, headers=headers)
    return _refusal(status, message, code, body, group)


def _moved(status: int, headers: Mapping[str, str], group: str) -> EmbexpError:
    target = headers.get("location", "another address")
    return EmbexpError(
        f"The service sends requests on to {target} (HTTP {status}): set {group}.base_url to the address "
        "that it names, up to /v1, with https:// where it says so."
    )


def _denied(status: int, message: str, code: str, key_name: str | None, group: str) -> Exception:
    words = f"{code} {message}".lower()
    if status == 403 and "model" in words and any(word in words for word in _NO_ACCESS):
        return ModelGoneError(f"HTTP 403: {message}")
    if not key_name:
        return EmbexpError(
            f"The service wants a key (HTTP {status}) and none is given: put it into an environment variable "
            f"and name that in {group}.api_key_env."
        )
    said = f": {message}" if status == 403 and message else ""
    return EmbexpError(
        f"The service refuses the key in {key_name} (HTTP {status}{said}): check the key, that it may use "
        "this model, and that your network may reach the service; then run the same command again."
    )


def _no_credit(status: int, message: str) -> EmbexpError:
    return EmbexpError(
        f"The account has no credit left, or its spending limit is reached (HTTP {status}: {message}). "
        f"{KEPT}: add credit or raise the limit at the service, and run the same command again."
    )


def _limited(message: str, body: object, headers: Mapping[str, str]) -> Exception:
    """Return the exception for HTTP 429: too large a request, a spent limit, or one that passes."""
    wait = requested_wait(headers, message)
    if _names(_LARGE_WORDS, message):
        return TooLongError(message)
    # Some services name the limit in the message, others, as Gemini, only in the details beside it.
    in_message = _DAY.search(message) or _MINUTE.search(message)
    said = message if in_message else json.dumps(body, default=str)
    if _DAY.search(said) and not _MINUTE.search(said):
        return limit_spent(f"The service's limit is used up (HTTP 429: {message})", wait)
    if "exceeded your current quota" in message.lower() and wait is None and not _MINUTE.search(said):
        return _no_credit(429, message)
    return RetryableError(f"HTTP 429 {message}".strip(), kind="rate", wait=wait, headers=headers)


def limit_spent(reason: str, wait: float | None) -> EmbexpError:
    """Return the error for a limit that no reasonable wait gets past, with when to go on.

    Args:
        reason: Which limit, as the beginning of a sentence.
        wait: The seconds until it allows requests again; None where that is not known.
    """
    when = "tomorrow, or when your service's day begins"
    if wait is not None:
        moment = datetime.now().astimezone() + timedelta(seconds=wait)
        when = f"from {moment:%Y-%m-%d %H:%M %Z} on"
    return EmbexpError(f"{reason}. {KEPT}: run the same command again {when}; it goes on from there.")


def _refusal(status: int, message: str, code: str, body: object, group: str) -> Exception:
    words = message.lower()
    if "decommissioned" in code or code == "model_not_found" or "decommissioned" in words:
        return ModelGoneError(message)
    if status in (404, 405):
        if "model" in words or code == "DeploymentNotFound":
            return ModelGoneError(message)
        return wrong_address(f"HTTP {status} {message}", group=group)
    if _names(_NO_MODEL, message):
        return ModelGoneError(message)
    named = tuple(_named_fields(body))
    if status == 413 or _names(_CONTEXT_WORDS, message, code):
        return TooLongError(message)
    about_length = any(name in words for name in _LENGTH_PARAMETERS) and "input" not in words
    if _names(_LARGE_WORDS, message) and not about_length:
        return TooLongError(message)
    if code == "json_validate_failed":
        return BrokenJsonError(_failed_generation(body))
    if _names(_FORMAT_WORDS, message) or "response_format" in named:
        return UnsupportedFormatError(message)
    return RejectedError(f"HTTP {status} {message}".strip(), named=named)


def wrong_address(said: str, *, group: str = "llm") -> EmbexpError:
    """Return the error for an address at which there is no such service."""
    form = "the host for llm=groq, the address up to /v1 for llm=openai_compatible"
    return EmbexpError(
        f"The service knows no such address ({said}): check {group}.base_url, "
        f"{form if group == 'llm' else 'the address up to /v1'}."
    )


def raise_error_of(
    payload: object,
    headers: Mapping[str, str],
    *,
    key_name: str | None = "llm.api_key_env",
    secret: str = "",
    group: str = "llm",
) -> None:
    """Raise the error that a payload holds in place of an answer, if it holds one.

    Routers answer with status 200 before they ask the model's host, and LM Studio at an unknown address.

    Args:
        payload: The decoded body of a successful response.
        headers: Its headers.
        key_name, secret, group: As for ``request_error``.
    """
    error = payload.get("error") if isinstance(payload, Mapping) else None
    if not error:
        return
    text = str(error.get("message") or error) if isinstance(error, Mapping) else str(error)
    if "endpoint" in text.lower():
        raise wrong_address(text.replace(secret, "***") if secret else text, group=group)
    code = error.get("code") if isinstance(error, Mapping) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    raise request_error(status, payload, headers, key_name=key_name, secret=secret, group=group)


def _names(words: tuple[str, ...], *texts: str) -> bool:
    lowered = " ".join(texts).lower()
    return any(word in lowered for word in words)


def _is_policy(message: str, code: str) -> bool:
    return _names(_POLICY_CODES, code) or _names(_POLICY_WORDS, message)


def _error_part(body: object) -> object:
    """Return what describes the error: Gemini wraps it in a list, most others in ``error``."""
    if isinstance(body, list) and body:
        body = body[0]
    return body.get("error", body) if isinstance(body, Mapping) else body


def _message(body: object) -> tuple[str, str]:
    """Return the error's message and its code, with its type and inner code where it has them."""
    error = _error_part(body)
    if not isinstance(error, Mapping):
        return " ".join(str(error or "").split()), ""
    text = error.get("message") or error.get("detail") or error
    if isinstance(text, list):  # FastAPI's list of fields
        text = "; ".join(_field_message(entry) for entry in text)
    codes = [error.get("code"), error.get("type") if error.get("code") is None else None]
    inner = error.get("innererror")
    if isinstance(inner, Mapping):
        codes.append(inner.get("code"))
    return " ".join(str(text).split()), " ".join(str(code) for code in codes if code)


def _field_message(entry: object) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)
    place = entry.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return f"{where}: {entry.get('msg')}"


def _named_fields(body: object) -> Iterator[str]:
    """Yield the fields of the request's body that an error names in a place of their own."""
    error = _error_part(body)
    if not isinstance(error, Mapping):
        return
    if isinstance(error.get("param"), str):
        yield str(error["param"]).removeprefix("body.").partition(".")[0]
    details = error.get("detail")
    for entry in details if isinstance(details, list) else []:
        place = entry.get("loc") if isinstance(entry, Mapping) else None
        fields = [str(part) for part in place if part != "body"] if isinstance(place, list) else []
        yield from fields[:1]


def _failed_generation(body: object) -> str:
    error = _error_part(body)
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
    match = _WAIT_IN_MESSAGE.search(message)
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds, thousandths = (float((part or "0").rstrip(".")) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max((moment - datetime.now(timezone.utc)).total_seconds(), 0.0)
