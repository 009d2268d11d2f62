"""The data sets: files, pairs, BEIR and Hub sets, Python's documentation, ICD-10-CM; question files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.package import lazy_exports

if TYPE_CHECKING:
    from embexp.data.datasets.beir import BeirFolder
    from embexp.data.datasets.dataset import Dataset
    from embexp.data.datasets.folder import Folder
    from embexp.data.datasets.hub import HubDataset
    from embexp.data.datasets.icd10cm import Icd10Cm
    from embexp.data.datasets.pairs import PairsFile
    from embexp.data.datasets.pydocs import PyDocs
    from embexp.data.datasets.questions import Question, QuestionFile

__all__ = [
    "BeirFolder",
    "Dataset",
    "Folder",
    "HubDataset",
    "Icd10Cm",
    "PairsFile",
    "PyDocs",
    "Question",
    "QuestionFile",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "beir": "BeirFolder",
        "dataset": "Dataset",
        "folder": "Folder",
        "hub": "HubDataset",
        "icd10cm": "Icd10Cm",
        "pairs": "PairsFile",
        "pydocs": "PyDocs",
        "questions": "Question QuestionFile",
    },
)
