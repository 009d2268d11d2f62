"""Static vectors: model2vec encodes each token of the vocabulary once; a text is the mean of its tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.models.encoder import Embedder, ModelEmbedder
from embexp.models.folder import LOADING_ERRORS, Overrides, fingerprint_of, load_bi_encoder
from embexp.models.routes import has_two_encoders
from embexp.progress import without_bars

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_POOLING = {"mean": "mean", "cls": "first", "lasttoken": "last"}
"""sentence-transformers' names for poolings, and model2vec's."""


def write_static(model: SentenceTransformer, folder: Path, *, dimensions: int) -> None:
    """Distil a model into static vectors and save them as a folder of sentence-transformers.

    The model's prompts are left out: before static vectors they would shift every text alike.

    Args:
        model: A transformer with a pooling, and perhaps a normalisation.
        folder: An empty folder.
        dimensions: The most numbers of a vector.

    Raises:
        ModelError: The model has other parts or two encoders, or model2vec cannot distil it.
    """
    from model2vec.distill import distill_from_model
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    if has_two_encoders(model):
        raise ModelError(
            "The model encodes questions and passages with different modules, and format=static distils one "
            "encoder: choose format=onnx or format=openvino."
        )
    pooling = _pooling(model)
    try:
        with without_bars(), _quiet():
            static = distill_from_model(
                model[0].auto_model, model.tokenizer, device="cpu", pca_dims=dimensions, pooling=pooling
            )
    except LOADING_ERRORS as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise ModelError(f"model2vec cannot distil this model ({reason}): choose format=onnx.") from error
    weights = static.embedding.astype("float32")
    SentenceTransformer(modules=[StaticEmbedding(static.tokenizer, embedding_weights=weights)]).save(
        str(folder), create_model_card=False
    )


def load_static(folder: Path) -> Embedder:
    """Return an embedder of a folder that ``write_static`` left."""
    own = Overrides()
    return ModelEmbedder(load_bi_encoder(folder, own, device="cpu"), fingerprint=fingerprint_of(folder, own))


def _pooling(model: SentenceTransformer) -> str:
    """Return model2vec's name for the pooling of a model.

    Raises:
        ModelError: The model is not made of a transformer and a pooling that model2vec knows.
    """
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    kinds = [type(module).__name__ for module in model]
    plain = len(kinds) >= 2 and isinstance(model[0], Transformer) and isinstance(model[1], Pooling)
    mode = str(model[1].pooling_mode) if plain else ""
    if not all(isinstance(module, Normalize) for module in list(model)[2:]) or mode not in _POOLING:
        raise ModelError(
            f"format=static distils a transformer with mean, cls or lasttoken pooling, and this model is "
            f"{', '.join(kinds)}{f' with {mode} pooling' if mode else ''}: choose format=onnx."
        )
    return _POOLING[mode]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep model2vec from warning that a model in memory has no page on the Hub."""
    loggers = [logging.getLogger(name) for name in ("model2vec", "skeletoken")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
