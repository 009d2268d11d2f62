"""Answers that an earlier run recorded, for demos, tests and repeating a run without a service."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embexp.errors import DataError
from embexp.llm.chat import prompt_tokens
from embexp.llm.journal import completion_of, records, request_key
from embexp.llm.llm import Answer, Request, Usage
from embexp.storage.files import sha256_of, sha256_of_file


class Replay:
    """Looks answers up in a journal; see ``embexp.llm.llm.LLM``.

    Args:
        path: The journal of an earlier run.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets: dict[bytes, int] = {}
        self._asked: list[dict[str, Any]] = []
        for offset, record in records(path):
            self._offsets[bytes.fromhex(record["key"])] = offset
            if record["asked"] not in self._asked:
                self._asked.append(record["asked"])
        if not self._asked:
            raise DataError(f"{path} holds no answers: give the journal.jsonl of an earlier run.")
        self.name = str(self._asked[0].get("model", "replay"))
        self.chat = bool(self._asked[0].get("chat", True))

    def usage(self) -> Usage:
        """Return nothing spent."""
        return Usage()

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """Yield the recorded answers.

        Raises:
            DataError: A request was not recorded.
        """
        with self._path.open("rb") as stream:
            for request in requests:
                stream.seek(self._offset(request))
                yield Answer(request, completion_of(json.loads(stream.readline())))

    def _offset(self, request: Request) -> int:
        for asked in self._asked:
            offset = self._offsets.get(bytes.fromhex(request_key(request, asked)))
            if offset is not None:
                return offset
        raise DataError(
            f"{self._path} holds no answer to this {request.tag or 'request'} (about "
            f"{prompt_tokens(request)} tokens): the documents, the prompts or the settings differ from the "
            "recorded run's. Use its own, or ask a model with llm=groq."
        )


@dataclass(frozen=True, kw_only=True)
class ReplayLLM:
    """Recorded answers.

    Args:
        path: The journal of an earlier run.
    """

    path: str

    @property
    def model(self) -> str:
        """What the estimates and reports call it."""
        return "replay"

    def check(self) -> None:
        """Refuse to begin without the journal.

        Raises:
            DataError: It is not there.
        """
        next(records(Path(self.path)), None)

    def fingerprint(self) -> str:
        """Return a digest of the recorded answers."""
        self.check()
        return sha256_of(type(self).__name__, sha256_of_file(Path(self.path)))

    @contextmanager
    def open(self, journal: Path) -> Iterator[Replay]:  # noqa: ARG002 (nothing new is recorded)
        """Read the recorded answers; nothing is written to ``journal``.

        Raises:
            DataError: There is no journal, or it is damaged.
        """
        yield Replay(Path(self.path))
