"""Embedding models and cross-encoders: where they come from, and how they encode and score texts."""

from embexp.models.adapted import AdaptedModel
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache, Fetched
from embexp.models.encoder import AdaptedEmbedder, Embedder, ModelEmbedder, SourceEmbedder
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.models.sources import HubModel, LocalModel, ModelSource, PackagedModel
from embexp.models.tiny import TinyModel
from embexp.models.vector_adapter import VectorAdapter

__all__ = [
    "AdaptedEmbedder",
    "AdaptedModel",
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
    "VectorAdapter",
]
