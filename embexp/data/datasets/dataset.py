"""What a data set is, and the empty one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from embexp.data.labels import LabelSettings
from embexp.data.records import Document, Pair, Unit


class Dataset(Protocol):
    """A source of documents, of labelled pairs, or of both.

    An implementation stores its options when it is constructed and reads nothing until a method is called,
    so that a mistake in the configuration costs no time. The methods may be called any number of times, in
    any order; ``documents`` and ``labelled`` stream, and yield the same items in the same order each time.
    What cannot be read raises a ``DataError`` (or a ``ConfigError`` for an option) that names the place
    and the remedy.
    """

    @property
    def name(self) -> str:
        """The name in tables and file names."""

    @property
    def source(self) -> str:
        """Where the data come from, for the tracker: a path, a repository of the Hub, a package."""

    @property
    def unit(self) -> Unit:
        """What relevance is judged on: whole documents, or chunks."""

    @property
    def labels(self) -> LabelSettings:
        """How the labels of the pairs are read; ``LabelSettings()`` reads it off the labels."""

    def fingerprint(self) -> str:
        """Return a digest of all that determines the items: options, and files or their version.

        It is the key under which later steps are cached, and cheap beside reading the data.
        """

    def documents(self) -> Iterator[Document]:
        """Yield the corpus; ids are unique.

        With ``unit`` "document" each pair's ``document_id`` is the id of one of these.
        """

    def labelled(self) -> Iterator[Pair]:
        """Yield the pairs that people judged, with ids that are unique; none for bare documents."""


@dataclass(frozen=True, kw_only=True)
class NoDocuments:
    """Holds nothing: the pairs that a synthesis invents are the corpus."""

    name: str = "entries"
    source: str = "entries"
    unit: Unit = "document"
    labels: LabelSettings = field(default_factory=LabelSettings)

    def fingerprint(self) -> str:
        """Return an empty digest: there is nothing that could change."""
        return ""

    def documents(self) -> Iterator[Document]:
        """Yield nothing."""
        yield from ()

    def labelled(self) -> Iterator[Pair]:
        """Yield nothing."""
        yield from ()
