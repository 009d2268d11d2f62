"""Runs, kept so that they can be compared later: in MLflow, or not at all."""

from __future__ import annotations

from embexp.masking import masked, masked_text
from embexp.tracking.mlflow import MlflowRun, MlflowTracker
from embexp.tracking.tracker import NoTracker, RegisteredModel, TrackedRun, Tracker

__all__ = [
    "MlflowRun",
    "MlflowTracker",
    "NoTracker",
    "RegisteredModel",
    "TrackedRun",
    "Tracker",
    "masked",
    "masked_text",
]
