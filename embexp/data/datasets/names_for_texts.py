"""Columns of passages that hold names of files, addresses or ids instead: telling them from texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from embexp.data.records import Pair
from embexp.errors import DataError

_READ = 200
"""Pairs that are looked at before the first is passed on."""
_LEAST = 3
_SHARE = 0.95
_LONGEST = 200
_KINDS = (
    (
        "names of files",
        re.compile(
            r"[^\n]*\.(?:md|mdx|markdown|txt|rst|adoc|html?|xhtml|pdf|docx?|pptx?|xlsx?|od[tps]|epub|eml|ipynb|"
            r"json|xml|csv|tsv|rtf|tex|pages)(?:#\S*)?",
            re.IGNORECASE,
        ),
    ),
    ("addresses", re.compile(r"(?:https?|file|s3|gs)://\S+|www\.\S+", re.IGNORECASE)),
    ("paths", re.compile(r"(?:[.~]{0,2}/)?(?:[\w.%-]+[/\\])+[\w.%-]*")),
    (
        "ids",
        re.compile(r"\d+|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?=\w*\d)[0-9a-f]{8,64}", re.IGNORECASE),
    ),
    ("ids", re.compile(r"[^\W\d_]{1,12}(?:[_:#-]\d+|\d{3,})", re.IGNORECASE)),
)


def refuse_names(pairs: Iterator[Pair], *, column: str, place: str) -> Iterator[Pair]:
    """Yield the pairs, unless what should be their passages are names.

    Args:
        pairs: The pairs of a table, of which the first are looked at.
        column: The column of the passages.
        place: The table.

    Raises:
        DataError: Nearly all passages are names of files, addresses, paths or ids.
    """
    first = list(islice(pairs, _READ))
    texts = {pair.positive.strip() for pair in first}
    if kind := _kind_of(texts):
        shown = ", ".join(repr(text[:60]) for text in sorted(texts)[:3])
        raise DataError(
            f"{place}: the column {column!r} holds {kind} ({shown}, …), not the texts of passages: only "
            "the names would be embedded. If they are files of a folder: dataset=folder dataset.path=FOLDER "
            f"dataset.questions={place}; else name the column of the texts (dataset.positive_column)."
        )
    return chain(first, pairs)


def _kind_of(texts: Iterable[str]) -> str:
    """Return what nearly all of the texts are: names of files, addresses, paths or ids; empty for texts."""
    distinct = list(texts)
    if len(distinct) < _LEAST:
        return ""
    for kind, pattern in _KINDS:
        matching = sum(len(text) <= _LONGEST and pattern.fullmatch(text) is not None for text in distinct)
        if matching >= _SHARE * len(distinct):
            return kind
    return ""
