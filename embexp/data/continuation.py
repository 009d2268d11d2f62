"""What a passage repeats of the table or the code block that it continues, so that it can be read alone."""

from __future__ import annotations

from embexp.data.fences import Fences
from embexp.data.table_rows import is_row


class Continuation:
    """Follows a text that is cut into passages, and completes those that end within a table or a code block.

    A later part of a table begins with the table's first row, which names the cells of the others; each part
    of a code block has its fences.
    """

    def __init__(self) -> None:
        self._head = ""
        self._fences = Fences()

    def read(self, text: str) -> None:
        """Take in the next part of the text."""
        for line in text.splitlines():
            if self._fences.hold(line) or not is_row(line):
                self._head = ""
            elif not self._head:
                self._head = line.strip()

    def before(self, text: str, overlap: str) -> str:
        """Return the line that a passage has to begin with; empty for none.

        Args:
            text: What comes next.
            overlap: What the passage repeats of the words before it.
        """
        alone = Continuation()
        alone.read(overlap)
        if alone._fences.opened != self._fences.opened:  # the overlap, or the text, begins within code
            return f"{self._fences.last}\n"
        return f"{self._head}\n" if self._head and is_row(text.partition("\n")[0]) else ""

    def completed(self, passage: str) -> str:
        """Return a passage that ends here, with the fence of its code block closed."""
        if not self._fences.opened:
            return passage
        text = passage.rstrip()
        before, _, last = text.rpartition("\n")
        return before if last.strip() == self._fences.opened else f"{text}\n{self._fences.closing}"

    def closes(self, text: str) -> bool:
        """Return whether a text is the fence alone that closes the code block."""
        return self._fences.closed_by(text.strip())
