"""A model whose query vectors go through an adapter, while passages keep the vectors of the model below."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.data.chunking import TokenCounter
from embexp.errors import ConfigError, ModelError
from embexp.masking import MASK, masked
from embexp.models.folder import file_digest
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.models.sources import LocalModel, ModelSource
from embexp.models.vector_adapter import SETTINGS, WEIGHTS, VectorAdapter
from embexp.storage.files import sha256_of
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

log = logging.getLogger(__name__)

SERVICE, BASE = "service", "model"
"""What ``adapter.json`` tells of the model below: how to reach it at its service, and its name."""


@dataclass(frozen=True, kw_only=True)
class AdaptedModel:
    """A model with an adapter on its query vectors, as ``trainer=query_adapter`` leaves it.

    Args:
        name: The model's name in tables and results.
        path: The folder with ``adapter.safetensors`` and ``adapter.json``, such as a run's ``model``.
        base: The model below, as a component of its own; None takes the service that the folder names.
    """

    name: str = "adapted"
    path: str
    base: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.base, str | int | float | list | dict):
            raise ConfigError(
                f"base={self.base!r} is no model: give a component, as in base={{_target_: "
                "embexp.models.LocalModel, path: FOLDER}}, or leave it out."
            )

    @cached_property
    def adapter(self) -> VectorAdapter:
        """The adapter, read once.

        Raises:
            ModelError: The folder holds none, or a damaged one.
        """
        return VectorAdapter.load(self._folder)

    @property
    def _folder(self) -> Path:
        return Path(self.path).expanduser()

    @cached_property
    def below(self) -> ModelSource:
        """The model whose vectors are adapted.

        Raises:
            ModelError: The folder does not say how to reach it, and ``base`` is not set.
        """
        if self.base is not None:
            source: ModelSource = self.base
            return source
        service = self.adapter.about.get(SERVICE)
        if not isinstance(service, dict):
            raise ModelError(
                f"{self.path} names no service that its adapter belongs to. Where it is a whole model "
                f"(modules.json), use model=local model.path={self.path}; else set base to the model that it "
                "was trained for."
            )
        if MASK in str(service):
            raise ModelError(
                f"{self._folder / SETTINGS} does not hold the secrets of its service: set base to the model, "
                "as the run's configuration has it."
            )
        try:
            found = OpenAICompatibleModel(**service)
        except (TypeError, ConfigError) as error:
            raise ModelError(
                f"{self._folder / SETTINGS} names a service that cannot be used ({error}): restore the file, "
                "or set base to the model that the adapter was trained for."
            ) from error
        key = f"the key in {found.api_key_env}" if found.api_key_env else "no key"
        log.info("The adapter in %s asks %s, with %s.", self.path, found.base_url, key)
        return found

    def fingerprint(self) -> str:
        """Return a digest of the model below and of the adapter."""
        kind = self.adapter.kind  # read first: it says what is wrong with the folder
        digest = file_digest(self._folder / WEIGHTS)
        return sha256_of("adapted", identity(self.below), kind, digest)

    def load(self) -> SentenceTransformer:
        """Load the model below and put the adapter behind it.

        Raises:
            ModelError: It cannot be loaded, as one behind a service.
        """
        model = self.below.load()
        model.append(router_of(self.adapter).to(model.device))
        return model

    def tokens(self) -> TokenCounter:
        """Return the counter of the model below."""
        return self.below.tokens()


def service_of(source: object) -> OpenAICompatibleModel | None:
    """Return the service that a model is behind, with or without an adapter; None for any other model."""
    if isinstance(source, AdaptedModel):
        return service_of(source.below)
    return source if isinstance(source, OpenAICompatibleModel) else None


def tuned_model(folder: Path, base: ModelSource) -> ModelSource:
    """Return the source of the model that a run has tuned.

    Args:
        folder: The run's ``model``: a whole model, an adapter, or both in one.
        base: The untuned model, whose cached vectors of passages serve an adapter, too.
    """
    if (folder / SETTINGS).is_file():
        return AdaptedModel(name="local", path=str(folder), base=base)
    return LocalModel(path=str(folder))


def described(adapter: VectorAdapter, base: ModelSource) -> VectorAdapter:
    """Return the adapter with what ``adapter.json`` tells of the model below; secrets are masked."""
    about: dict[str, Any] = {**adapter.about, "maps": "queries", BASE: base.name, "base": identity(base)}
    service = service_of(base)
    if service is not None:
        about[SERVICE] = masked(dataclasses.asdict(service))
    return dataclasses.replace(adapter, about=about)


def save_adapted(folder: Path, adapter: VectorAdapter, base: ModelSource) -> None:
    """Save an adapter, and where the weights below are at hand the whole model, so that either serves.

    Args:
        folder: An empty folder; with a whole model, ``SentenceTransformer(folder)`` loads it.
        adapter: The adapter.
        base: The model below.
    """
    if service_of(base) is None:
        model = base.load()
        model.append(router_of(adapter).to(model.device))
        model.save_pretrained(str(folder))
    described(adapter, base).save(folder)


def router_of(adapter: VectorAdapter) -> nn.Module:
    """Return the adapter as a ``Router`` of sentence-transformers' own modules.

    ``encode_query`` goes through the adapter, ``encode_document`` and ``encode`` do not. The library's
    ``Dense`` has no skip connection over two layers. A wider hidden layer carries the vector instead, since
    ``max(x, 0) - max(-x, 0)`` is ``x``.
    """
    from sentence_transformers.base.modules import Normalize, Router

    queries = [Normalize(), *_dense_layers(adapter), Normalize()]
    router: nn.Module = Router.for_query_document(queries, [Normalize()])
    return router


def _dense_layers(adapter: VectorAdapter) -> list[nn.Module]:
    import numpy as np
    import torch

    weights = adapter.weights
    if adapter.kind != "residual":
        weight = (
            weights["weight"]
            if adapter.kind == "linear"
            else np.eye(adapter.dimension) + weights["down"] @ weights["up"]
        )
        return [_dense(weight, weights["bias"], torch.nn.Identity())]
    eye = np.eye(adapter.dimension)
    wide = np.concatenate([weights["down"], eye, -eye], axis=1)
    bias = np.concatenate([weights["hidden_bias"], np.zeros(2 * adapter.dimension)])
    back = np.concatenate([weights["up"], eye, -eye])
    return [_dense(wide, bias, torch.nn.ReLU()), _dense(back, weights["bias"], torch.nn.Identity())]


def _dense(weight: Any, bias: Any, activation: nn.Module) -> nn.Module:
    """Return a layer that computes ``activation(x @ weight + bias)``."""
    import torch
    from sentence_transformers.base.modules import Dense

    layer: nn.Module = Dense(
        weight.shape[0],
        weight.shape[1],
        activation_function=activation,
        init_weight=torch.tensor(weight.T, dtype=torch.float32).contiguous(),
        init_bias=torch.tensor(bias, dtype=torch.float32),
        module_input_name="sentence_embedding",
        module_output_name="sentence_embedding",
    )
    return layer
