"""What a service's vectors have cost: each request is on disk before it is sent, and within a budget."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from embexp.errors import EmbexpError
from embexp.storage.files import space_checked


@dataclass(frozen=True)
class Price:
    """What a service charges, and the most that may be spent on it.

    Attributes:
        usd_per_million_tokens: The price; None where it is unknown, as for a service of one's own.
        budget_usd: The most that one file of requests may add up to, earlier runs included; None for any.
    """

    usd_per_million_tokens: float | None = None
    budget_usd: float | None = None


class Spending:
    """The tokens of all requests to a model, in a file that outlives runs and kills.

    A line is written before a request is sent, with the most tokens that it can have, and another once it is
    known what it had. A request whose answer never came counts with the most.

    Args:
        path: The file, JSON Lines; None keeps no record.
        price: The price and the budget.
    """

    def __init__(self, path: Path | None, price: Price) -> None:
        self._path, self._price = path, price
        self._tokens: dict[str, float] = {}
        self._read = 0
        self._total = 0.0

    def send(self, tokens: int) -> str:
        """Record a request of so many tokens at most, and return its id.

        Raises:
            EmbexpError: The budget does not allow it, or the disk is full.
        """
        price, budget = self._price.usd_per_million_tokens or 0.0, self._price.budget_usd
        spent, worst = self._spent() * price / 1e6, tokens * price / 1e6
        if budget is not None and spent + worst > budget:
            raise EmbexpError(
                f"model.budget_usd={budget:g} is used up: {spent:.4f} US$ are spent, in all runs with this "
                f"cache, and the next request may cost up to {worst:.4f}. All vectors so far are kept: set a "
                "higher model.budget_usd and run the same command again."
            )
        name = uuid.uuid4().hex
        self._write(name, tokens)
        return name

    def settle(self, name: str, tokens: float) -> None:
        """Record what a request had; 0 for one that the service has refused."""
        self._write(name, tokens)

    def _write(self, name: str, tokens: float) -> None:
        if self._path is None:
            return
        with space_checked(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(descriptor, json.dumps({"id": name, "tokens": tokens}).encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _spent(self) -> float:
        """Return the tokens of all requests; other processes may have added some since the last call."""
        if self._path is None or not self._path.exists():
            return 0.0
        with self._path.open("rb") as stream:
            stream.seek(self._read)
            fresh = stream.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                record = json.loads(line)
                name, tokens = str(record["id"]), float(record["tokens"])
            except (ValueError, KeyError, TypeError):  # torn by a failure of power: one request at most
                continue
            self._total += tokens - self._tokens.get(name, 0.0)
            self._tokens[name] = tokens
        return self._total
