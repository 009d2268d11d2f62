"""From an index of the untuned model to the tuned one: with an adapter at once, or by embedding anew."""

from __future__ import annotations

from embexp.migrating.adapter_score import AdapterReport, fit_and_score
from embexp.migrating.drift import DriftAdapter
from embexp.migrating.reembedding import ChromaMigration, MigrationReport, reembed

__all__ = [
    "AdapterReport",
    "ChromaMigration",
    "DriftAdapter",
    "MigrationReport",
    "fit_and_score",
    "reembed",
]
