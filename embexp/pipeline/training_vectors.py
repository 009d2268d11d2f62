"""The vectors of weights in training: no text goes through the same weights twice, whichever step asks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.finetuning.checkpoints import weights_digest
from embexp.finetuning.training import UntunedModel
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import PLURAL, Embedder, ModelEmbedder, PairedEmbedder
from embexp.models.precision import mixed_fingerprint
from embexp.models.routes import encoder_of, has_two_encoders
from embexp.models.shared_passages import share_passages
from embexp.models.sources import LocalModel

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.models.embedding_cache import Role

log = logging.getLogger(__name__)

_ROUTES: dict[Role, str] = {"query": "query", "passage": "document"}


class TrainingVectors:
    """Embeds with a model in training and scores it on dev; vectors are cached by a digest of its weights.

    A query encoder that is trained alone does not change the passage embeddings, which are encoded once; if
    the passage encoder is the untuned one, they are those of the untuned model.

    Args:
        model: The model before training.
        untuned: Keeps the vectors of the untuned model.
        cache: Where those of other weights are kept during the training.
    """

    def __init__(self, model: SentenceTransformer, untuned: UntunedModel, cache: EmbeddingCache) -> None:
        self._start = weights_digest(model)
        self._untuned = untuned
        self._cache = cache

    @property
    def selected(self) -> TrainingVectors:
        """The vectors of selected weights are kept like those of others."""
        return self

    def embedder(self, model: SentenceTransformer) -> Embedder:
        """Return an embedder over the model as it is now."""
        return self._paired(model, _weights(model))

    def dev_scores(self, model: SentenceTransformer) -> Mapping[str, float]:
        """Score the model as it is now.

        The vectors of one that is still untuned, which ``trainer.minutes`` scores to learn how long it takes,
        are kept as the untuned model's.
        """
        weights = _weights(model)
        scores = self._untuned.score(self._paired(model, weights))
        if set(weights.values()) == {self._start}:
            for role in weights:
                self._keep(role, self._start, self._untuned.fingerprint)
        return scores

    def keep(self, model: SentenceTransformer, folder: Path) -> None:
        """Keep the vectors of the weights that were selected as those of the saved model.

        A model that is saved in another form than it was scored in, as low-rank weights are that are merged
        at the end, has none.
        """
        saved = LocalModel(path=str(folder)).fingerprint()
        for role, digest in _weights(model).items():
            if self._untuned_has(model, role, digest):
                share_passages(folder, self._untuned.fingerprint)
            else:
                self._keep(role, digest, saved)

    def _paired(self, model: SentenceTransformer, weights: Mapping[Role, str]) -> Embedder:
        queries, passages = (self._embedder(model, role, digest) for role, digest in weights.items())
        return PairedEmbedder(queries=queries, passages=passages)

    def _embedder(self, model: SentenceTransformer, role: Role, digest: str) -> Embedder:
        if self._untuned_has(model, role, digest):
            return self._untuned.embedder(model)
        return ModelEmbedder(
            model,
            fingerprint=_name(role, digest),
            cache=self._cache,
            bf16=True,
            max_tokens=self._untuned.max_tokens,
        )

    def _untuned_has(self, model: SentenceTransformer, role: Role, digest: str) -> bool:
        """Return whether texts have the vectors of the untuned model for good."""
        return role == "passage" and digest == self._start and has_two_encoders(model)

    def _keep(self, role: Role, digest: str, fingerprint: str) -> None:
        for form in (str, mixed_fingerprint):
            name = form(_name(role, digest))
            kept = self._untuned.cache.adopt(self._cache, name, as_fingerprint=form(fingerprint))
            log.debug("%d vectors of weights in training are cached as the model's", kept)


def _weights(model: SentenceTransformer) -> dict[Role, str]:
    """Return digests of the weights that queries and passages go through, in this order."""
    if not has_two_encoders(model):
        return dict.fromkeys(_ROUTES, weights_digest(model))
    return {role: weights_digest(encoder_of(model, route)) for role, route in _ROUTES.items()}


def _name(role: Role, weights: str) -> str:
    """Return under what the vectors of weights in training are kept."""
    return f"{PLURAL[role]} in training {weights}"
