"""Problems in the input: skipped and counted, or raised, depending on ``on_error``."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from embexp.errors import DataError, EmbexpError

log = logging.getLogger(__name__)

OnError = Literal["skip", "fail"]
_SHOWN_PER_REASON = 5
_EXAMPLES = 3
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN_LETTERS = 200


class UnreadableError(DataError):
    """A file or row that cannot be used; ``reason`` is the name under which it is counted."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Problems:
    """Collects what a reader could not use, and what it had to mend.

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
        self.encoding_option = f"{option.rpartition('.')[0]}.encoding"
        self._counts: Counter[str] = Counter()
        self._mended: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def report(self, reason: str, message: str) -> None:
        """Handle one item that cannot be used.

        Args:
            reason: A short name under which problems of this kind are counted ("broken line").
            message: A full sentence with the place (file:line), the value and the remedy.

        Raises:
            DataError: ``on_error`` is ``fail``.
        """
        message = printable(message)
        if self.on_error == "fail":
            raise DataError(f"{message} Or set {self._option}=skip to leave such items out.")
        self.count(reason)
        self._warn("Skipped", reason, message, self._counts[reason])

    def mend(self, reason: str, message: str, *, times: int = 1) -> None:
        """Handle a value that is used in another form than the file has it.

        Args:
            reason: A short name under which changes of this kind are counted ("NUL character removed").
            message: A full sentence with the place (file:line) and the remedy.
            times: How many values it is about.

        Raises:
            DataError: ``on_error`` is ``fail``.
        """
        message = printable(message)
        if self.on_error == "fail":
            raise DataError(f"{message} Or set {self._option}=skip to read on.")
        before = self._mended[reason]
        self._mended[reason] += times
        self._warn("Mended", reason, message, before + 1)

    def _warn(self, what: str, reason: str, message: str, seen: int) -> None:
        if self.quiet or seen > _SHOWN_PER_REASON:
            return
        more = f" Further ones ({reason}) are only counted." if seen == _SHOWN_PER_REASON else ""
        log.warning("%s: %s%s", what, message, more)

    def count(self, reason: str, example: str = "") -> None:
        """Count something left out on purpose: it is no error, but the summary names it.

        Args:
            reason: A short name of what is left out.
            example: The name of the file or row, of which the summary shows the first few.
        """
        self._counts[reason] += 1
        if example and len(self._examples.setdefault(reason, [])) < _EXAMPLES:
            self._examples[reason].append(printable(example))

    @contextmanager
    def guard(self, where: str, reason: str = "unreadable file") -> Iterator[None]:
        """Let a fault in one file or row cost that file or row alone, also one for which memory is too small.

        Errors of embexp pass: ``report`` raises them where ``on_error`` is ``fail``.

        Args:
            where: The file, or the row as file:line.
            reason: The name under which the fault is counted.

        Raises:
            DataError: ``on_error`` is ``fail``.
        """
        try:
            yield
        except UnreadableError as error:
            self.report(error.reason, str(error))
        except EmbexpError:
            raise
        except Exception as error:  # noqa: BLE001 parsers raise errors of any class for damaged input
            kind = " ".join(f"{type(error).__name__} {error}".split())[:_SHOWN_LETTERS]
            self.report(reason, f"{where} cannot be read ({kind}); correct it or leave it out.")

    def total(self) -> int:
        """Return how many items were skipped."""
        return self._counts.total()

    def summary(self) -> str:
        """Return what was skipped as one phrase ("3 broken line, 1 binary"), or an empty string."""
        return ", ".join(
            f"{count:,} {reason}{self._shown(reason, count)}"
            for reason, count in sorted(self._counts.items())
        )

    def _shown(self, reason: str, count: int) -> str:
        examples = self._examples.get(reason, [])
        more = ", …" if count > len(examples) else ""
        return f" ({', '.join(examples)}{more})" if examples else ""

    def mended(self) -> str:
        """Return what was changed as one phrase ("1 NUL character removed"), or an empty string."""
        return ", ".join(f"{count:,} {reason}" for reason, count in sorted(self._mended.items()))

    def close(self, what: str) -> None:
        """Log what was read, what was skipped and why, and what was mended."""
        if not self.quiet:
            skipped, mended = self.summary(), self.mended()
            log.info(
                "%s%s%s",
                what,
                f"; skipped: {skipped}" if skipped else "",
                f"; mended: {mended}" if mended else "",
            )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 byte", "2 bytes", "2 halves"."""
    several = noun.removesuffix("f") + ("ves" if noun.endswith("f") else "s")
    return f"{number:,} {noun if number == 1 else several}"


def printable(text: str) -> str:
    """Return a text that every terminal and file can take: names of files may hold bytes that are no text."""
    return _SURROGATE.sub("\ufffd", text)
