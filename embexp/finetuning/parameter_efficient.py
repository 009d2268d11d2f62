"""Which weights are trained: all, low-rank updates, the last layers, or a linear map of the queries."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.models.routes import has_two_encoders
from embexp.ranges import ShareBelowOne, check_ranges

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

log = logging.getLogger(__name__)


class Method(Protocol):
    """A choice of which weights to train."""

    def extend(self, model: SentenceTransformer) -> None:
        """Add the modules that the model will keep; untrained, they must not change its vectors."""

    def training(self, model: SentenceTransformer) -> AbstractContextManager[None]:
        """Prepare the model for training within the block; afterwards the model itself holds the result."""


@dataclass(frozen=True, kw_only=True)
class Full:
    """All weights."""

    def extend(self, model: SentenceTransformer) -> None:
        """Add nothing."""

    @contextmanager
    def training(self, model: SentenceTransformer) -> Iterator[None]:  # noqa: ARG002
        """Change nothing."""
        yield


@dataclass(frozen=True, kw_only=True)
class LastLayers:
    """The last layers of the transformer, and the modules after it: faster, and forgets less.

    Args:
        layers: How many of them.
    """

    layers: Annotated[int, Interval(ge=1, le=1_000)] = 2

    def __post_init__(self) -> None:
        check_ranges(self, "trainer.method")

    def extend(self, model: SentenceTransformer) -> None:
        """Add nothing."""

    @contextmanager
    def training(self, model: SentenceTransformer) -> Iterator[None]:
        """Freeze the embeddings and the layers before the last ones.

        Raises:
            ConfigError: The model has no layers.
        """
        from torch import nn

        stacks = [
            module for module in model[0].modules() if isinstance(module, nn.ModuleList) and len(module)
        ]
        if not stacks:
            raise ConfigError(
                "trainer=last_layers needs a transformer, and this model has no layers: use trainer=default."
            )
        stack = max(stacks, key=len)
        trained = {id(parameter) for layer in stack[-self.layers :] for parameter in layer.parameters()}
        frozen = [parameter for parameter in model[0].parameters() if id(parameter) not in trained]
        with _frozen(frozen):
            log.info("Training the last %d of %d layers.", min(self.layers, len(stack)), len(stack))
            yield


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank updates of all linear layers (LoRA, arXiv 2106.09685), merged into the weights at the end.

    Args:
        rank: The rank of each update.
        alpha: Updates are scaled by ``alpha / rank``.
        dropout: Dropout of the updates' inputs.
    """

    rank: Annotated[int, Interval(ge=1, le=10_000)] = 16
    alpha: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    dropout: ShareBelowOne = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, "trainer.method")
        if importlib.util.find_spec("peft") is None:
            raise ConfigError('trainer=lora needs peft, which is not installed: pip install "embexp[lora]".')

    def extend(self, model: SentenceTransformer) -> None:
        """Add nothing: the updates are merged into the model's own weights."""

    @contextmanager
    def training(self, model: SentenceTransformer) -> Iterator[None]:
        """Add updates to each linear layer, and merge them afterwards.

        Raises:
            ConfigError: The model is not a transformer.
        """
        transformer = getattr(model[0], "auto_model", None)
        if transformer is None:
            raise ConfigError(
                "trainer=lora needs a transformer, which this model is not: use trainer=default."
            )
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel

        config = LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules="all-linear"
        )
        with _frozen(list(transformer.parameters())):
            updates = LoraModel(transformer, config, "default")
            try:
                yield
            finally:
                updates.merge_and_unload()
                # Left there, it would make transformers look for an adapter when the model is saved.
                vars(transformer).pop("peft_config", None)


@dataclass(frozen=True, kw_only=True)
class QueryAdapter:
    """A linear map of the query vectors only: passages keep their vectors, and an index stays valid.

    It is a ``Router`` module of sentence-transformers at the end of the model: ``encode_query`` goes
    through the map, ``encode_document`` and ``encode`` do not.
    """

    def extend(self, model: SentenceTransformer) -> None:
        """Add the map, initialised to the identity.

        Raises:
            ConfigError: The model does not tell the length of its vectors.
        """
        import torch
        from sentence_transformers.base.modules import Dense, Normalize, Router

        dimension = model.get_embedding_dimension()
        if dimension is None:
            raise ConfigError("trainer=query_adapter: this model does not tell the length of its vectors.")
        unit = any(isinstance(module, Normalize) for module in model)
        linear = Dense(
            dimension,
            dimension,
            bias=False,
            activation_function=torch.nn.Identity(),
            init_weight=torch.eye(dimension),
            module_input_name="sentence_embedding",
            module_output_name="sentence_embedding",
        )
        router = Router.for_query_document([linear, *([Normalize()] if unit else [])], [Normalize()])
        model.append(router.to(model.device))

    @contextmanager
    def training(self, model: SentenceTransformer) -> Iterator[None]:
        """Freeze all but the map."""
        with _frozen([parameter for module in list(model)[:-1] for parameter in module.parameters()]):
            yield


@dataclass(frozen=True, kw_only=True)
class QueryEncoder:
    """An encoder of its own for the queries: passages keep their vectors, and an index stays valid.

    The model becomes a ``Router`` module of sentence-transformers with two copies of its modules:
    ``encode_query`` uses the one that is trained, ``encode_document`` and ``encode`` the frozen one.

    Args:
        transliterate: Whether queries in a script that the model has never read are transliterated, where the
            questions to answer are in such a script (``loanwords.py``).
    """

    transliterate: bool = True

    def extend(self, model: SentenceTransformer) -> None:
        """Split the model into two encoders with the same weights.

        Raises:
            ConfigError: The model has routes already.
        """
        from copy import deepcopy

        from sentence_transformers.base.modules import Router

        modules = list(model)
        if has_two_encoders(model):
            raise ConfigError(
                "trainer=query_encoder: this model treats queries and passages apart already; use "
                "trainer=default."
            )
        router = Router.for_query_document([deepcopy(module) for module in modules], modules)
        for name in list(model._modules):
            del model._modules[name]
        model.append(router.to(model.device))

    @contextmanager
    def training(self, model: SentenceTransformer) -> Iterator[None]:
        """Freeze the encoder of the passages."""
        with _frozen(list(model[0].sub_modules["document"].parameters())):
            yield


@contextmanager
def _frozen(parameters: list[nn.Parameter]) -> Iterator[None]:
    before: list[tuple[Any, bool]] = [(parameter, parameter.requires_grad) for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, trained in before:
            parameter.requires_grad_(trained)
