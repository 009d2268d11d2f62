"""What other programs load a model by: the argument of ``SentenceTransformer(…)`` that encodes alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embexp.models.folder import PASSAGE_PROMPTS
from embexp.models.routes import folder_has_two_encoders
from embexp.models.sources import HubModel, LocalModel, ModelSource, PackagedModel


def plain_address(source: ModelSource) -> str:
    """Return the folder or the Hub's name of a model that encodes questions like any text.

    ``SentenceTransformer(address).encode(question)`` is then the vector that embexp searches with. The
    address is empty for a model that puts a prompt before its texts or has weights of its own for questions,
    which a program that knows nothing of either would leave out, and for a model that is in no folder.

    Raises:
        ModelError: The model cannot be had.
    """
    match source:
        case LocalModel() | HubModel():
            folder = source.folder().resolve()
        case PackagedModel():
            folder = source.path().resolve()
        case _:
            return ""
    if folder_has_two_encoders(folder):
        return ""
    prompts = dict((_json(folder / "config_sentence_transformers.json") or {}).get("prompts") or {})
    if source.query_prompt is not None:
        prompts["query"] = source.query_prompt
    if source.passage_prompt is not None:
        prompts.update(dict.fromkeys(PASSAGE_PROMPTS, source.passage_prompt))
    if any(prompts.get(name) for name in ("query", *PASSAGE_PROMPTS)):
        return ""
    return source.id if isinstance(source, HubModel) and source.revision is None else str(folder)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
