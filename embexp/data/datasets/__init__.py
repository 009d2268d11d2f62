"""The data sets: a folder of files, pairs, BEIR and Hub sets, Python's documentation, ICD-10-CM."""

from __future__ import annotations
