"""Embedding models and cross-encoders: where they come from, and how they encode and score texts."""

from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache, Fetched
from embexp.models.encoder import Embedder, ModelEmbedder, SourceEmbedder
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.models.sources import HubModel, LocalModel, ModelSource, PackagedModel
from embexp.models.tiny import TinyModel

__all__ = [
    "CrossEncoderScorer",
    "Embedder",
    "EmbeddingCache",
    "Fetched",
    "HubModel",
    "LocalModel",
    "ModelEmbedder",
    "ModelSource",
    "OpenAICompatibleModel",
    "PackagedModel",
    "SourceEmbedder",
    "TinyModel",
]
