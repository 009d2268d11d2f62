"""Exports of models that encode questions and passages with modules of their own: one for each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.models.routes import encoder_of, has_two_encoders

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

QUERIES = "query"
"""The folder, within that of the passages' encoder, that holds the encoder of the questions."""


def write_encoders(
    model: SentenceTransformer, folder: Path, write: Callable[[SentenceTransformer, Path], None]
) -> None:
    """Write a model that has one encoder into ``folder``; the questions' own one goes into ``folder/query``.

    Args:
        model: The model.
        folder: An empty folder.
        write: Writes a model of one encoder into an empty folder.

    Raises:
        ModelError: An encoder has a part that cannot be written.
    """
    if not has_two_encoders(model):
        write(model, folder)
        return
    write(encoder_of(model, "document"), folder)
    (folder / QUERIES).mkdir()
    write(encoder_of(model, "query"), folder / QUERIES)
