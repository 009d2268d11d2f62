"""An adapter over a service as MLflow serves it: texts in, vectors out. MLflow runs this file as a script."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

FOLDER = "adapter"


class ServedAdapter(PythonModel):  # type: ignore[misc]
    """Asks the service for vectors, with the key in the environment, and adapts those of queries."""

    def load_context(self, context: Any) -> None:
        """Read the adapter; the service is asked with the first text."""
        from embexp.models import AdaptedModel, EmbeddingCache, SourceEmbedder

        source = AdaptedModel(path=context.artifacts[FOLDER])
        self._kept = tempfile.TemporaryDirectory(prefix="embexp-vectors-")
        self._embedder = SourceEmbedder(source, EmbeddingCache(Path(self._kept.name)))

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002
        """Return a vector for each text, of a passage or, with ``prompt_name=query``, of a query."""
        import numpy as np

        texts = [str(text) for text in np.asarray(model_input, dtype=object).ravel()]
        query = (params or {}).get("prompt_name") == "query"
        return self._embedder.encode_queries(texts) if query else self._embedder.encode_passages(texts)


set_model(ServedAdapter())
