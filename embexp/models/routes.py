"""Models with modules of their own for questions and for passages: a ``Router`` of sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


MODULES = "modules.json"
"""The file, in a model's folder, that names the classes of its modules."""
_ROUTERS = ("Router", "Asym")
"""Modules that encode questions and passages with different weights."""


def folder_has_two_encoders(folder: Path) -> bool:
    """Whether a saved model, which is not loaded, has modules of its own for questions and for passages."""
    file = folder / MODULES
    modules = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return any(name in str(module.get("type", "")) for module in modules for name in _ROUTERS)


def has_two_encoders(model: SentenceTransformer) -> bool:
    """Whether the model treats questions and passages apart."""
    from sentence_transformers.base.modules import Router

    return any(isinstance(module, Router) for module in model)


def encoder_of(model: SentenceTransformer, route: str) -> SentenceTransformer:
    """Return what texts of a route go through, as a model of one encoder that shares its weights and prompts.

    Args:
        model: A model of two encoders.
        route: ``query`` or ``document``.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router

    modules = []
    for module in model:
        modules += list(module.sub_modules[route]) if isinstance(module, Router) else [module]
    return SentenceTransformer(modules=modules, prompts=model.prompts, device=str(model.device))
