"""Answers recorded by an earlier run, for demos, tests and repeating a run without a service."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embexp.errors import DataError
from embexp.llm.chat import prompt_tokens
from embexp.llm.journal import completion_of, records, request_key
from embexp.llm.llm import Answer, Request, Usage
from embexp.llm.prices import Estimate, free_estimate
from embexp.storage.files import sha256_of, sha256_of_file


class _Replay:
    """Looks answers up in a journal; see ``embexp.llm.llm.LLM``.

    Args:
        path: The journal of an earlier run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[bytes, int] = {}
        self._identities: list[dict[str, Any]] = []
        for offset, record in records(path):
            self._offsets[bytes.fromhex(record["key"])] = offset
            if record["asked"] not in self._identities:
                self._identities.append(record["asked"])
        if not self._identities:
            raise DataError(f"{path} holds no answers: give the journal.jsonl of an earlier run.")
        self.name = str(self._identities[0].get("model", "replay"))
        self.chat = bool(self._identities[0].get("chat", True))

    def usage(self) -> Usage:
        """Return zero: recorded answers cost nothing."""
        return Usage()

    def complete(self, requests: Iterable[Request]) -> Generator[Answer, None, None]:
        """Yield the recorded answers.

        Raises:
            DataError: A request was not recorded.
        """
        with self._path.open("rb") as stream:
            for request in requests:
                stream.seek(self._offset(request))
                yield Answer(request, completion_of(json.loads(stream.readline())))

    def _offset(self, request: Request) -> int:
        for identity in self._identities:
            offset = self._offsets.get(bytes.fromhex(request_key(request, identity)))
            if offset is not None:
                return offset
        raise DataError(
            f"{self._path} holds no answer to this {request.tag or 'request'} (about "
            f"{prompt_tokens(request)} tokens): the documents, the prompts or the settings differ from those "
            "of the recorded run. Use the same ones, or a live model, as in llm=groq."
        )


@dataclass(frozen=True, kw_only=True)
class ReplayLLM:
    """The answers of an earlier run.

    Args:
        path: The journal of an earlier run.
    """

    path: str

    @property
    def model(self) -> str:
        """The name in estimates and reports."""
        return "replay"

    @property
    def chat(self) -> bool:
        """Whether the recorded model chats."""
        return next((bool(record["asked"].get("chat", True)) for _, record in records(Path(self.path))), True)

    def check(self) -> None:
        """Check that the journal exists.

        Raises:
            DataError: It does not.
        """
        next(records(Path(self.path)), None)

    def fingerprint(self) -> str:
        """Return a digest of the recorded answers."""
        self.check()
        return sha256_of(type(self).__name__, sha256_of_file(Path(self.path)))

    def estimate(self, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
        """Return an estimate of no cost; the time is unknown."""
        return free_estimate(
            self.model, requests=requests, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
        )

    @contextmanager
    def open(self, journal: Path) -> Iterator[_Replay]:  # noqa: ARG002 (nothing new is recorded)
        """Open the recorded answers; nothing is written to ``journal``.

        Raises:
            DataError: There is no journal, or it is damaged.
        """
        yield _Replay(Path(self.path))
