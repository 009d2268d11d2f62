"""Problems in the input: skipped and counted, or raised, depending on ``on_error``."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Literal

from embexp.errors import DataError

log = logging.getLogger(__name__)

OnError = Literal["skip", "fail"]
_SHOWN_PER_REASON = 5


class UnreadableError(DataError):
    """A file whose content its parser cannot use; ``reason`` is the name under which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Problems:
    """Collects what a reader could not use.

    Args:
        on_error: ``skip`` logs and counts each problem, ``fail`` raises the first one.
        quiet: Count without logging, for a second pass over the same input.
        option: The key that sets ``on_error``, for the remedy.
    """

    def __init__(
        self, on_error: OnError = "skip", *, quiet: bool = False, option: str = "dataset.on_error"
    ) -> None:
        self.on_error = on_error
        self.quiet = quiet
        self._option = option
        self._counts: Counter[str] = Counter()

    def report(self, reason: str, message: str) -> None:
        """Handle one problem.

        Args:
            reason: A short name under which problems of this kind are counted ("broken line").
            message: A full sentence with the place (file:line), the value and the remedy.

        Raises:
            DataError: ``on_error`` is ``fail``.
        """
        if self.on_error == "fail":
            raise DataError(f"{message} Or set {self._option}=skip to leave such items out.")
        self.count(reason)
        seen = self._counts[reason]
        if self.quiet or seen > _SHOWN_PER_REASON:
            return
        more = f" Further ones ({reason}) are only counted." if seen == _SHOWN_PER_REASON else ""
        log.warning("Skipped: %s%s", message, more)

    def count(self, reason: str) -> None:
        """Count something left out on purpose: it is no error, but the summary names it."""
        self._counts[reason] += 1

    def summary(self) -> str:
        """Return what was skipped as one phrase ("3 broken line, 1 binary"), or an empty string."""
        return ", ".join(f"{count:,} {reason}" for reason, count in sorted(self._counts.items()))

    def close(self, what: str) -> None:
        """Log what was read, and what was skipped and why."""
        if not self.quiet:
            skipped = self.summary()
            log.info("%s%s", what, f"; skipped: {skipped}" if skipped else "")
