"""One reader for each file format: a path in, documents or rows out."""

from __future__ import annotations
