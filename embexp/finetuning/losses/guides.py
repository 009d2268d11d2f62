"""The guide of GIST: a frozen model that says which passages of a batch are no negatives."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, ModelError
from embexp.models.sources import HubModel, LocalModel

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.protocols import ModelSource

SELF = "self"


def guide_for(model: SentenceTransformer, guide: str) -> SentenceTransformer:
    """Return a frozen guide: a copy of ``model`` as it is now for ``self``, else the model of that name.

    Raises:
        ModelError: There is no such model.
    """
    frozen = copy.deepcopy(model) if guide == SELF else _source(guide).load().to(model.device)
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    return frozen.eval()


def guide_fingerprint(guide: str) -> str:
    """Return a digest of a guide's weights; nothing for ``self``, which the trained model's own digest tells.

    Raises:
        ModelError: There is no such model.
    """
    return "" if guide == SELF else _source(guide).fingerprint()


def _source(guide: str) -> ModelSource:
    try:
        source = (
            LocalModel(path=guide) if Path(guide).expanduser().is_dir() else HubModel(name=guide, id=guide)
        )
        source.folder()
    except (ConfigError, ModelError) as error:
        raise ModelError(
            f"loss.guide={guide}: no such model ({error}) Give the folder of a saved model, its name on the "
            "Hugging Face Hub, or loss.guide=self for the untuned model itself."
        ) from error
    return source
