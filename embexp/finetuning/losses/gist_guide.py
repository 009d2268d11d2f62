"""The guide of GIST: a frozen model that says which passages of a batch are no negatives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.storage.files import sha256_of, sha256_of_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SELF = "self"
SHAPING = frozenset({".safetensors", ".json", ".txt", ".model"})
"""Kinds of files that decide a model's vectors."""


def guide_for(model: SentenceTransformer, guide: str) -> SentenceTransformer:
    """Return a frozen guide: a copy of ``model`` as it is now for ``self``, else the model of that name.

    Raises:
        ModelError: There is no such model.
    """
    frozen = copy.deepcopy(model) if guide == SELF else _loaded(guide, device=str(model.device))
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    return frozen.eval()


def guide_fingerprint(guide: str) -> str:
    """Return a digest of a guide's files; a name of the Hub stands for itself, and ``self`` for nothing.

    Raises:
        ModelError: A path names no folder.
    """
    folder = Path(guide).expanduser()
    if guide == SELF:
        return ""
    if not folder.is_dir():
        if guide.count("/") > 1 or guide.startswith((".", "/", "~")):
            raise _missing(guide, "there is no such folder")
        return guide
    files = sorted(path for path in folder.rglob("*") if path.suffix in SHAPING)
    return sha256_of([(str(path.relative_to(folder)), sha256_of_file(path)) for path in files])


def _loaded(guide: str, *, device: str) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(
            str(Path(guide).expanduser()), device=device, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError) as error:
        raise _missing(guide, str(error)) from error


def _missing(guide: str, reason: str) -> ModelError:
    return ModelError(
        f"loss.guide={guide}: no such model ({reason}); give the folder of a saved model with safetensors "
        "weights, its name on the Hugging Face Hub, or loss.guide=self for the untuned model itself."
    )
