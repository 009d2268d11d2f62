"""The guide of GIST: a frozen model that tells which passages of a batch are not negatives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.models.folder import Overrides, fingerprint_of, load_bi_encoder
from embexp.models.sources import local_folder, model_folder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SELF = "self"
KEY = "loss.guide"
REMEDY = (
    "Give the folder of a saved model with safetensors weights, its name on the Hugging Face Hub, or "
    "loss.guide=self for the untuned model itself."
)


def guide_for(model: SentenceTransformer, guide: str) -> SentenceTransformer:
    """Return a frozen guide: a copy of ``model`` as it is now for ``self``, else the model of that name.

    Raises:
        ModelError: There is no such model.
    """
    if guide == SELF:
        frozen = copy.deepcopy(model)
    else:
        folder = model_folder(_with_owner(guide), key=KEY, remedy=REMEDY)
        frozen = load_bi_encoder(folder, Overrides(), device=str(model.device))
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    return frozen.eval()


def guide_fingerprint(guide: str) -> str:
    """Return a digest of a guide's folder; a name on the Hub itself, and ``""`` for ``self``.

    Raises:
        ModelError: A path names no folder.
    """
    if guide == SELF:
        return ""
    folder = local_folder(_with_owner(guide), key=KEY, remedy=REMEDY)
    return fingerprint_of(folder, Overrides()) if folder else guide


def _with_owner(guide: str) -> str:
    """Return the guide's full name: like sentence-transformers, a name without an owner is one of theirs."""
    plain = "/" not in guide and not Path(guide).expanduser().is_dir() and not guide.startswith((".", "~"))
    return f"sentence-transformers/{guide}" if plain else guide
