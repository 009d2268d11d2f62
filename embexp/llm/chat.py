"""The chat protocol of Groq and most other services: request bodies, response formats, replies."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from embexp.errors import EmbexpError
from embexp.llm.llm import Request
from embexp.llm.parameters import ModelParameters
from embexp.llm.replies import CONTENT_FILTER, content_of
from embexp.services.request_errors import (
    FilteredError,
    ModelGoneError,
    RejectedError,
    RetryableError,
    UnsupportedFormatError,
)

log = logging.getLogger(__name__)


_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Reply:
    """A response as it came: text, model, finish reason, tokens and headers."""

    text: str
    model: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Client(Protocol):
    """Sends single requests to a service, or to a model in this process."""

    @property
    def model(self) -> str:
        """The model that the next request goes to; a fallback once a model is no longer served."""

    @property
    def knows_repeats(self) -> bool:
        """Whether the service answers a request that it has seen under the same id at no further charge."""

    async def send(self, request: Request, sent_id: str) -> Reply:
        """Send one request once.

        Args:
            request: The request.
            sent_id: Its id; the same one again if the answer to it may only have been lost.

        Raises:
            RequestError: There is no answer; the class says what to do.
            EmbexpError: No request can succeed: the key is refused or the address is wrong.
        """

    async def close(self) -> None:
        """Release connections and memory."""


def approximate_tokens(text: str) -> int:
    """Return the approximate number of tokens of a text: its UTF-8 bytes by four, rounded up.

    English has about four letters per token; scripts with three bytes per letter about one or a little more
    tokens per letter.
    """
    return -(-len(text.encode("utf-8", errors="replace")) // _BYTES_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """Return the approximate number of tokens of a request's prompt, with its schema and chat template."""
    schema = approximate_tokens(json.dumps(request.schema)) if request.schema else 0
    return schema + sum(approximate_tokens(message.content) + 4 for message in request.messages)


Format = Literal["json_schema", "json_object", "text"]
_FORMATS: tuple[Format, ...] = ("json_schema", "json_object", "text")
_Post = Callable[[dict[str, Any]], Awaitable[tuple[object, Mapping[str, str]]]]


class Chat:
    """Turns requests into request bodies and payloads into replies; learns what each model supports.

    Args:
        models: The model, then its fallbacks.
        options: Returns further body fields for a model, such as its reasoning effort.
        length_key: The body field for the longest answer ("max_tokens", "max_completion_tokens").
        completes: True for a base model, which completes the request's text instead of a chat.
        extra_body: Further fields of every body, as the user gave them.
    """

    def __init__(
        self,
        models: Sequence[str],
        *,
        options: Callable[[str], Mapping[str, Any]],
        length_key: str,
        completes: bool = False,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        self._models = list(models)
        self._options = options
        self._length_key = length_key
        self.completes = completes
        self.extra_body = dict(extra_body or {})
        self._parameters = ModelParameters(required=tuple(self.extra_body))
        self._formats: dict[str, Format] = {}

    @property
    def model(self) -> str:
        """The model in use."""
        return self._models[0]

    async def send(self, request: Request, post: _Post) -> Reply:
        """Send a request through ``post`` and read the reply.

        Raises:
            RetryableError: A passing failure, or a format, parameter or model was replaced: send it again.
            RejectedError: The service refuses this request, whatever its form.
            EmbexpError: None of the models is served any more.
        """
        model = self.model
        form = self.form(model)
        body = self._completion_body(request) if self.completes else self.body(request, model, form)
        try:
            payload, headers = await post(body)
        except FilteredError as error:
            log.debug("A prompt was refused: %s", error)
            return Reply("", model, CONTENT_FILTER, 0, 0)
        except (UnsupportedFormatError, ModelGoneError, RejectedError) as error:
            self.correct(error, request, form, body)
            raise RetryableError(f"{model}: {error}", kind="corrected", wait=0.0) from error
        if self.completes:
            return read_reply(_as_chat(payload), headers, request, model, empty_ok=True)
        return read_reply(payload, headers, request, model)

    def correct(
        self,
        error: UnsupportedFormatError | ModelGoneError | RejectedError,
        request: Request,
        form: Format,
        body: Mapping[str, Any],
    ) -> None:
        """Learn from a refusal, so that the request can be sent again in another form.

        Args:
            error: The refusal.
            request: What was refused.
            form: The response format in which it was sent.
            body: The body that was sent.

        Raises:
            RejectedError: There is no other form.
            EmbexpError: There is no other model or response format.
        """
        model = str(body["model"])
        if isinstance(error, ModelGoneError):
            self.drop(model, str(error))
        elif isinstance(error, UnsupportedFormatError):
            if request.schema is None or self.completes:
                raise RejectedError(str(error)) from error
            self.lower(model, str(error), form)
        elif not self._parameters.learn(model, body, error):
            raise error

    def body(self, request: Request, model: str | None = None, form: Format | None = None) -> dict[str, Any]:
        """Return the JSON body of a request to a model in a response format; those in use by default."""
        model = model or self.model
        form = form or self.form(model)
        messages = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": request.temperature,
            self._length_key: request.max_tokens,
            **self._options(model),
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        if request.schema is not None:
            self._add_schema(body, request, form)
        return self._parameters.fit(model, {**body, **self.extra_body})

    def _completion_body(self, request: Request) -> dict[str, Any]:
        """Return the JSON body for a base model, which completes the messages joined by blank lines."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": "\n\n".join(turn.content for turn in request.messages),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
        }
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        return self._parameters.fit(self.model, {**body, **self.extra_body})

    def _add_schema(self, body: dict[str, Any], request: Request, form: Format) -> None:
        if form == "json_schema":
            schema = {"name": request.schema_name, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
            return
        if form == "json_object":
            body["response_format"] = {"type": "json_object"}
        text = json.dumps(request.schema, ensure_ascii=False)
        rule = f"Answer with one JSON object and nothing else. It must follow this JSON schema:\n{text}"
        body["messages"] = [{"role": "system", "content": rule}, *body["messages"]]

    def form(self, model: str) -> Format:
        """Return the response format that requests to a model use."""
        return self._formats.get(model, _FORMATS[0])

    def lower(self, model: str, reason: str, form: Format) -> None:
        """Use a simpler response format for a model from now on.

        Args:
            model: The model.
            reason: What the service said.
            form: The format that it refused.

        Raises:
            EmbexpError: There is no simpler one.
        """
        if self.form(model) != form:
            return  # another request got the same refusal
        if form == _FORMATS[-1]:
            raise EmbexpError(f"{model} refuses plain text answers too: {reason}")
        self._formats[model] = _FORMATS[_FORMATS.index(form) + 1]
        log.info("%s does not support %s answers; using %s instead.", model, form, self._formats[model])

    def drop(self, model: str, reason: str) -> None:
        """Switch to the next fallback, with a warning.

        Raises:
            EmbexpError: There is none.
        """
        if self.model != model:
            return
        if len(self._models) == 1:
            raise EmbexpError(
                f"The service does not serve {model} ({reason}) and no fallback is left: set llm.model or "
                "llm.fallback_models to models that your account may use."
            )
        del self._models[0]
        log.warning(
            "THE MODEL %s IS NO LONGER AVAILABLE (%s): using %s from now on.", model, reason, self.model
        )


def _as_chat(payload: object) -> object:
    """Return a text completion in the shape of a chat completion."""
    choices = payload.get("choices") if isinstance(payload, Mapping) else None
    if not isinstance(payload, Mapping) or not isinstance(choices, list):
        return payload
    chat_choices = [{**choice, "message": {"content": choice.get("text")}} for choice in choices]
    return {**payload, "choices": chat_choices}


def read_reply(
    payload: object, headers: Mapping[str, str], request: Request, model: str, *, empty_ok: bool = False
) -> Reply:
    """Return the reply in a chat payload; tokens that the service does not count are estimated.

    Args:
        payload: The decoded body of a successful response.
        headers: Its headers.
        request: What was asked.
        model: The model that was asked.
        empty_ok: Whether an empty text is an answer: a base model may have nothing to add.

    Raises:
        RetryableError: The payload is no chat completion.
        EmbexpError: It is an error that no request gets past.
    """
    content = content_of(payload, headers, empty_ok=empty_ok)
    fields: Mapping[str, Any] = payload if isinstance(payload, Mapping) else {}
    usage = fields.get("usage")
    counts = usage if isinstance(usage, Mapping) else {}
    return Reply(
        text=content.text,
        model=str(fields.get("model") or model),
        finish_reason=content.finish_reason,
        prompt_tokens=_count(counts.get("prompt_tokens"), prompt_tokens(request)),
        completion_tokens=_count(counts.get("completion_tokens"), approximate_tokens(content.text)),
        headers=headers,
    )


def _count(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise
