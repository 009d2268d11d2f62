"""What a service's payload says: the text of the answer, a refusal, or an error that comes as success."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from embexp.services.request_errors import RetryableError, raise_error_of

CONTENT_FILTER = "content_filter"
REFUSAL = "refusal"
REFUSED = (CONTENT_FILTER, REFUSAL)
"""Finish reasons of answers in which the model or its service declines the one request."""
_FILTERED = ("content_filter", "safety", "prohibited_content", "recitation", "blocklist", "sensitive")


class Content(NamedTuple):
    """The text of an answer, and how it ended: ``stop``, ``length``, or one of ``REFUSED``."""

    text: str
    finish_reason: str


def content_of(payload: object, headers: Mapping[str, str], *, empty_ok: bool = False) -> Content:
    """Return the content of a chat payload.

    An answer without content is a refusal of this request, unless its tokens were used up before: services
    filter answers, and models decline, without a word.

    Args:
        payload: The decoded body of a successful response.
        headers: Its headers.
        empty_ok: Whether an empty text is an answer: a base model may have nothing to add.

    Raises:
        RetryableError: The payload is no chat completion.
        EmbexpError: It is an error that no request gets past.
    """
    choices = payload.get("choices") if isinstance(payload, Mapping) else None
    if not isinstance(payload, Mapping) or not isinstance(choices, list) or not choices:
        raise_error_of(payload, headers)
        shown = str(payload)[:80]
        raise RetryableError(f"the answer holds no choices: {shown!r}", headers=headers, charged=True)
    choice = choices[0] if isinstance(choices[0], Mapping) else {}
    if isinstance(choice.get("error"), Mapping):
        raise_error_of(choice, headers)
    message = choice.get("message")
    fields = message if isinstance(message, Mapping) else {}
    text, finish = _text(fields.get("content")), str(choice.get("finish_reason") or "stop")
    if finish.lower() in _FILTERED:
        return Content("", CONTENT_FILTER)
    if text.strip() or (empty_ok and fields.get("content") == ""):
        return Content(text, finish)
    if fields.get("refusal"):
        return Content(str(fields["refusal"]), REFUSAL)
    if finish == "length":
        return Content("", finish)
    # Some servers put the whole answer where thoughts belong.
    thoughts = _text(fields.get("reasoning_content") or fields.get("reasoning"))
    return Content(thoughts, finish) if thoughts.strip() else Content("", REFUSAL)


def _text(content: Any) -> str:
    """Return the text of a message's content, without the parts of a list that are thoughts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    return "".join(text for text in texts if isinstance(text, str))
