"""Models with the same passage embeddings: training a query encoder alone does not change them.

The folder of such a model names the untuned one, so that no passage is encoded with both.
"""

from __future__ import annotations

import json
from pathlib import Path

from embexp.models.folder import SHARED_PASSAGES
from embexp.models.sources import LocalModel, ModelSource
from embexp.storage.files import write_json

_OTHER, _OWN = "passages_of", "model"


def share_passages(folder: Path, fingerprint: str) -> None:
    """Record in a saved model's folder that its passage embeddings are those of another model.

    Args:
        folder: The model's folder.
        fingerprint: The other model's digest.
    """
    own = LocalModel(path=str(folder)).fingerprint()
    write_json(folder / SHARED_PASSAGES, {_OTHER: fingerprint, _OWN: own})


def passages_fingerprint(source: ModelSource, own: str) -> str:
    """Return the digest under which a model's passage embeddings are cached: its own, or the other model's.

    A record that is damaged, or was made for other files or prompts, is ignored.

    Args:
        source: The model.
        own: Its digest.
    """
    if not isinstance(source, LocalModel):
        return own
    try:
        record = json.loads((source.folder() / SHARED_PASSAGES).read_text(encoding="utf-8"))
        return str(record[_OTHER]) if record[_OWN] == own else own
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return own
