"""Groq's batches: half the price, no rate limits, answers within a day; a batch survives a kill."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Interval
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from embexp.errors import EmbexpError
from embexp.llm.chat import Chat, Reply, prompt_tokens, read_reply
from embexp.llm.engine import completion_of_reply
from embexp.llm.groq import GroqLLM, connect_for_batches, groq_error, groq_key, sdk_errors
from embexp.llm.journal import Journal, request_key
from embexp.llm.llm import Answer, Completion, Request, Usage
from embexp.llm.prices import batch_discount
from embexp.llm.rate_limiter import RESUME
from embexp.llm.replies import CONTENT_FILTER
from embexp.progress import progress
from embexp.ranges import Seconds
from embexp.services.request_errors import (
    FilteredError,
    ModelGoneError,
    RejectedError,
    RequestError,
    RetryableError,
    TooLongError,
    UnsupportedFormatError,
    request_error,
)
from embexp.storage.files import write_json

log = logging.getLogger(__name__)


T = TypeVar("T")
_Answers = list[tuple[str, Completion]]
_DONE = ("completed", "failed", "expired", "cancelled")
_ROUNDS = 4
"""How often requests that a batch left unanswered are put into another one."""


class _GroqBatches:
    """Answers requests in batches; see ``embexp.llm.llm.LLM``.

    Args:
        settings: The configuration.
        chat: Request bodies, replies and fallbacks.
        journal: Where answers are written before they are yielded; a running batch is noted beside it.
    """

    chat = True

    def __init__(self, settings: GroqBatchLLM, chat: Chat, journal: Journal) -> None:
        self.name = settings.model
        self._settings = settings
        self._chat = chat
        self._journal = journal
        self._prices = settings.price_list(discount=batch_discount())
        self._key = groq_key(settings.api_key_env)
        self._sdk = connect_for_batches(settings.base_url, self._key, settings.timeout_seconds)
        self._note = journal.path.with_name(f"{journal.path.stem}.batch.json")
        self._usage = Usage()
        self._failures: dict[str, str] = {}
        self._corrected: set[tuple[str, str]] = set()

    def usage(self) -> Usage:
        """Return what this run's requests cost, without those answered from the journal."""
        return self._usage

    def close(self) -> None:
        """Close the connections."""
        self._sdk.close()

    def complete(self, requests: Iterable[Request]) -> Generator[Answer, None, None]:
        """Yield one answer for each request, in their order, a batch at a time.

        A batch that an earlier process left running is waited for first.

        Raises:
            EmbexpError: The service fails for good, or the budget does not allow the next batch.
        """
        self._collect_left_over()
        source = iter(requests)
        while group := list(islice(source, self._settings.batch_size)):
            keys = [request_key(request, self._journal.identity) for request in group]
            self._answer(dict(zip(keys, group, strict=True)))
            for key, request in zip(keys, group, strict=True):
                recorded = self._journal.find(key)
                yield Answer(request, recorded, None if recorded else self._failures.get(key, "no answer"))

    def _answer(self, group: Mapping[str, Request]) -> None:
        """Write every answer of a group to the journal, or keep the reason why there is none."""
        for _ in range(_ROUNDS):
            open_keys = [
                key for key in group if self._journal.find(key) is None and key not in self._failures
            ]
            if not open_keys:
                return
            todo = {key: group[key] for key in open_keys}
            self._check_budget(todo)
            self._submit(todo)
            self._collect(todo)
        for key in group:
            self._failures.setdefault(key, f"no answer after {_ROUNDS} batches")

    def _check_budget(self, todo: Mapping[str, Request]) -> None:
        model, limit = self._chat.model, self._settings.budget_usd
        spent = self._journal.spent + self._usage.usd
        prices, requests = self._prices, todo.values()
        worst = sum(prices.cost(model, prompt_tokens(one), one.max_tokens) for one in requests)
        if limit is not None and spent + worst > limit:
            raise EmbexpError(
                f"llm.budget_usd={limit} does not allow the next batch: {spent:.4f} US$ are spent and its "
                f"{len(todo):,} requests may cost up to {worst:.4f}. Set a higher llm.budget_usd or a "
                "smaller llm.batch_size, and run the same command again."
            )

    def _submit(self, todo: Mapping[str, Request]) -> None:
        """Upload a batch and start it; its id is on disk before anything else happens."""
        url = "/v1/chat/completions"
        lines = (
            {"custom_id": key, "method": "POST", "url": url, "body": self._chat.body(request)}
            for key, request in todo.items()
        )
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode(
            "utf-8", "replace"
        )
        upload = self._call(lambda: self._sdk.files.create(file=("requests.jsonl", data), purpose="batch"))
        if not upload.id:
            raise EmbexpError(f"The service took the batch's file and returned no id. {RESUME}")
        model = self._chat.model
        note = {"file": upload.id, "batch": None, "model": model, "format": self._chat.form(model)}
        write_json(self._note, note)
        batch = self._start(str(upload.id))
        write_json(self._note, {**note, "batch": batch})
        log.info("Batch %s is running with %s requests.", batch, f"{len(todo):,}")

    def _start(self, file: str) -> str:
        window = self._settings.completion_window
        return self._call(
            lambda: self._sdk.batches.create(
                completion_window=window, endpoint="/v1/chat/completions", input_file_id=file
            )
        ).id

    def _collect_left_over(self) -> None:
        if not self._note.exists():
            return
        note = json.loads(self._note.read_text(encoding="utf-8"))
        if note["batch"] is None:
            # Killed between upload and start, or just after the start: look which it was.
            started = [
                one for one in self._call(self._sdk.batches.list).data if one.input_file_id == note["file"]
            ]
            note["batch"] = started[0].id if started else self._start(note["file"])
            write_json(self._note, note)
        log.info("Batch %s was started by an earlier run; waiting for it.", note["batch"])
        self._collect({})

    def _collect(self, todo: Mapping[str, Request]) -> None:
        """Wait for the noted batch and write its answers to the journal."""
        note = json.loads(self._note.read_text(encoding="utf-8"))
        batch = self._wait(note["batch"])
        answers: _Answers = []
        for file in (batch.output_file_id, batch.error_file_id):
            for row in self._rows(file):
                if self._journal.find(str(row["custom_id"])):
                    continue  # an earlier run was killed between writing it and here
                self._read_row(row, note, todo, answers)
        if answers:
            self._journal.append_now(answers, tag="batch")
            for _, completion in answers:
                self._usage += completion.usage
        elif batch.status == "failed":
            raise EmbexpError(
                f"The batch {note['batch']} failed: {batch.errors}. See llm.model and your account."
            )
        self._note.unlink()

    def _read_row(
        self,
        row: Mapping[str, Any],
        note: Mapping[str, Any],
        todo: Mapping[str, Request],
        answers: list[tuple[str, Completion]],
    ) -> None:
        key, response, model = str(row["custom_id"]), row.get("response") or {}, note["model"]
        request = todo.get(key, Request(()))
        try:
            if row.get("error") or response.get("status_code", 200) >= 400:
                status = int(response.get("status_code") or 400)
                raise request_error(
                    status, row.get("error") or response.get("body"), {}, key_name=self._settings.api_key_env
                )
            reply = read_reply(response.get("body"), {}, request, model)
            answers.append((key, completion_of_reply(reply, model, self._prices)))
        except FilteredError:
            refused = Reply("", model, CONTENT_FILTER, 0, 0)
            answers.append((key, completion_of_reply(refused, model, self._prices)))
        except (ModelGoneError, UnsupportedFormatError, RejectedError) as error:
            self._correct(key, error, request, note)
        except RetryableError as error:
            log.debug("%s: %s; it goes into the next batch", key, error)
        except TooLongError:
            self._failures[key] = "too long"
        except RequestError as error:
            self._failures[key] = f"refused: {error}"

    def _correct(
        self,
        key: str,
        error: ModelGoneError | UnsupportedFormatError | RejectedError,
        request: Request,
        note: Mapping[str, Any],
    ) -> None:
        """Learn from a refusal, once a batch for each, so that the next batch is in another form."""
        if (str(note["batch"]), str(error)) in self._corrected:
            return
        body = self._chat.body(request, note["model"], note["format"])
        try:
            self._chat.correct(error, request, note["format"], body)
        except RejectedError:
            self._failures[key] = f"refused: {error}"
        else:
            self._corrected.add((str(note["batch"]), str(error)))

    def _wait(self, name: str) -> Any:
        with progress(f"Waiting for batch {name}") as bar:
            done = 0
            while True:
                batch = self._call(lambda: self._sdk.batches.retrieve(name))
                if batch.request_counts is not None:
                    bar.advance(batch.request_counts.completed - done)
                    done = batch.request_counts.completed
                if batch.status in _DONE:
                    return batch
                bar.note(batch.status)
                time.sleep(self._settings.poll_seconds)

    def _rows(self, file: str | None) -> Iterator[dict[str, Any]]:
        if file:
            content = self._call(lambda: self._sdk.files.content(file).read())
            yield from (json.loads(line) for line in content.splitlines() if line.strip())

    def _call(self, work: Callable[[], T]) -> T:
        """Call the SDK, with retries for passing failures."""
        retrying = Retrying(
            retry=retry_if_exception_type(RetryableError),
            wait=wait_random_exponential(multiplier=self._settings.backoff_seconds, max=60),
            stop=stop_after_attempt(self._settings.max_attempts),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    return self._once(work)
        except RequestError as error:
            raise EmbexpError(f"Groq's batches cannot be used: {error}. {RESUME}") from error
        raise EmbexpError(f"Groq's batches were not called at all. {RESUME}")  # unreachable: reraise=True

    def _once(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sdk_errors() as error:
            problem = groq_error(
                error,
                key_name=self._settings.api_key_env,
                key=self._key,
                base_url=self._settings.base_url,
            )
            if isinstance(problem, RetryableError) and problem.wait:
                time.sleep(problem.wait)
            raise problem from error


@dataclass(frozen=True, kw_only=True)
class GroqBatchLLM(GroqLLM):
    """A model at Groq, used through batches.

    Args:
        batch_size: The most requests in one batch; Groq accepts 50,000.
        poll_seconds: The pause between two looks at a running batch.
        completion_window: The most time that Groq may take.
    """

    batch_size: Annotated[int, Interval(ge=1, le=50_000)] = 5000
    poll_seconds: Seconds = 30.0
    completion_window: Literal["24h", "48h", "72h", "7d"] = "24h"

    @contextmanager
    def open(self, journal: Path) -> Iterator[_GroqBatches]:  # type: ignore[override]
        """Connect; answers go to ``journal``, and a running batch is noted beside it.

        Raises:
            ConfigError: There is no key.
            EmbexpError: Another process uses the journal.
        """
        self.check()
        with (
            closing(Journal(journal, self.identity())) as answers,
            closing(_GroqBatches(self, self.chat_protocol(), answers)) as batches,
        ):
            yield batches
