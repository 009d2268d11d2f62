"""Exports of a run's model to other formats, each checked on the run's own test questions."""

from __future__ import annotations

from embexp.exporting.adapter import AdapterExport, OnnxAdapter, export_adapter
from embexp.exporting.formats import ExportFormat, OnnxExport, OpenvinoExport, StaticExport
from embexp.exporting.onnx import OnnxEmbedder
from embexp.exporting.openvino import OpenvinoEmbedder
from embexp.exporting.parity import ExportReport, export_model

__all__ = [
    "AdapterExport",
    "ExportFormat",
    "ExportReport",
    "OnnxAdapter",
    "OnnxEmbedder",
    "OnnxExport",
    "OpenvinoEmbedder",
    "OpenvinoExport",
    "StaticExport",
    "export_adapter",
    "export_model",
]
