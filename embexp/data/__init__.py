"""Documents and pairs: records, data sets, file readers, chunkers, labels, splits and the leak audit."""

from __future__ import annotations

from embexp.data.chunking import Chunker, Headings, TokenCounter, Whole, Windows
from embexp.data.labels import LabelScale, LabelSettings, label_scale
from embexp.data.leaks import Leak, Leaks, audit
from embexp.data.near_duplicates import Match, NearDuplicateIndex, near_duplicates
from embexp.data.record_files import export_csv, export_parquet, read_jsonl, write_jsonl
from embexp.data.records import Chunk, Document, Generator, Pair, SplitName, Unit
from embexp.data.splitting import Splits, SplitSettings, split_by_document
from embexp.data.truncation import Truncation, truncation

__all__ = [
    "Chunk",
    "Chunker",
    "Document",
    "Generator",
    "Headings",
    "LabelScale",
    "LabelSettings",
    "Leak",
    "Leaks",
    "Match",
    "NearDuplicateIndex",
    "Pair",
    "SplitName",
    "SplitSettings",
    "Splits",
    "TokenCounter",
    "Truncation",
    "Unit",
    "Whole",
    "Windows",
    "audit",
    "export_csv",
    "export_parquet",
    "label_scale",
    "near_duplicates",
    "read_jsonl",
    "split_by_document",
    "truncation",
    "write_jsonl",
]
