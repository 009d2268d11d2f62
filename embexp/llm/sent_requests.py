"""Requests whose answers have not arrived: each is on disk before it is sent; no spending is forgotten.

A process that is killed loses the answers in flight, which the service may charge all the same. So does a
connection that breaks. The record tells how many requests these are and the most that they can have cost.
"""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embexp.storage.files import atomic_write, space_checked

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was sent.

    Args:
        id: A name of its own; the answer's line in the journal holds it.
        key: The key of the request.
        usd: The most that it can cost in US dollars.
    """

    id: str
    key: str
    usd: float


class SentRequests:
    """The requests without an answer, in a file beside the journal; one process writes at a time.

    Args:
        path: The file; created with the first request.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lost: dict[str, dict[str, Sent]] = {}
        self._spoiled: set[str] = set()
        self._open = {one.id: one for one in _read(path)}
        self._descriptor: int | None = None

    def answered(self, sent_id: str) -> None:
        """Leave out a request of an earlier process whose answer is in the journal; before ``start``."""
        self._open.pop(sent_id, None)

    def start(self) -> None:
        """Keep only the requests that were not answered, which are lost, and open the file for more."""
        for sent in self._open.values():
            self._lost.setdefault(sent.key, {})[sent.id] = sent
        if self.path.exists():
            with atomic_write(self.path, "wb") as stream:
                stream.write(b"".join(_line(asdict(one)) for one in self._open.values()))
        self._open.clear()
        with space_checked(self.path):
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def send(self, key: str, usd: float, *, again: bool) -> Sent:
        """Record a request before it is sent.

        Args:
            key: The key of the request.
            usd: The most that it can cost.
            again: Whether the service knows a request that it has seen by its id: a lost one is then sent
                under the id that it had.

        Raises:
            EmbexpError: The disk is full.
        """
        lost = [one for one in self.lost_of(key) if one.id not in self._spoiled]
        if again and lost:
            return lost[0]
        sent = Sent(uuid.uuid4().hex, key, usd)
        self._write(asdict(sent))
        return sent

    def refused(self, sent: Sent) -> None:
        """Record that the service has refused a request, which then costs nothing."""
        self._write({"id": sent.id, "refused": True})
        self.settle(sent)

    def lost(self, sent: Sent, *, spoiled: bool = False) -> float:
        """Count a request whose answer cannot arrive any more, and return what that adds to the spending.

        Args:
            sent: The request.
            spoiled: Whether an unusable answer has arrived: the service would only repeat it.
        """
        added = sent.usd - self.usd_of(sent)
        if spoiled:
            self._spoiled.add(sent.id)
        self._lost.setdefault(sent.key, {})[sent.id] = sent
        return added

    def settle(self, sent: Sent) -> None:
        """Forget a request: its answer is in the journal, or the service has refused it."""
        lost = self._lost.get(sent.key, {})
        lost.pop(sent.id, None)

    def usd_of(self, sent: Sent) -> float:
        """Return what a request has added to the spending while its answer is missing."""
        return sent.usd if sent.id in self._lost.get(sent.key, {}) else 0.0

    def lost_of(self, key: str) -> list[Sent]:
        """Return the lost requests with a key."""
        return list(self._lost.get(key, {}).values())

    def lost_usd(self) -> float:
        """Return the most that all lost requests can have cost."""
        return sum(sent.usd for lost in self._lost.values() for sent in lost.values())

    def _write(self, record: dict[str, Any]) -> None:
        if self._descriptor is None:
            raise ValueError(f"{self.path} is not open: call start first")
        with space_checked(self.path):
            os.write(self._descriptor, _line(record))
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _read(path: Path) -> Iterator[Sent]:
    """Yield the requests that no line of the file calls refused; a damaged line is named and left out."""
    if not path.exists():
        return
    found: dict[str, Sent] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                record = json.loads(line)
                if "refused" in record:
                    found.pop(str(record["id"]), None)
                else:
                    sent = Sent(str(record["id"]), str(record["key"]), float(record["usd"]))
                    found[sent.id] = sent
            except (ValueError, KeyError, TypeError) as error:
                log.warning("%s:%d: not the record of a request (%s); it is left out.", path, number, error)
    yield from found.values()
