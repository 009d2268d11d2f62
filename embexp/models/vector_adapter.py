"""A small map of vectors: what moves query vectors into the space of vectors that exist already.

An adapter is saved as ``adapter.safetensors`` and ``adapter.json``, which ten lines of numpy read
(docs/production.md). Vectors are rows, so that ``x @ weight`` maps them. A kind computes of a unit vector x:

    linear     x @ weight + bias
    low_rank   x + x @ down @ up + bias
    residual   x + max(x @ down + hidden_bias, 0) @ up + bias

and the result is scaled to unit length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from embexp.errors import ModelError
from embexp.storage.files import atomic_write, sha256_of_file, write_json

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

AdapterKind = Literal["linear", "low_rank", "residual"]
WEIGHTS, SETTINGS = "adapter.safetensors", "adapter.json"
SCHEMA = 1
_ARRAYS: Mapping[AdapterKind, Mapping[str, str]] = {
    "linear": {"weight": "io", "bias": "o"},
    "low_rank": {"down": "ih", "up": "ho", "bias": "o"},
    "residual": {"down": "ih", "hidden_bias": "h", "up": "ho", "bias": "o"},
}
"""The arrays of each kind, and the letters of their shapes: input, hidden, output."""


@dataclass(frozen=True, eq=False)
class VectorAdapter:
    """A map of vectors to unit vectors, computed with numpy alone.

    Args:
        kind: Which map it is; the module's first lines have the formulas.
        weights: Its arrays by name, float32. ``low_rank`` and ``residual`` keep the length of a vector.
        about: What else ``adapter.json`` tells, such as the models that it maps between.

    Raises:
        ModelError: The kind is unknown, or an array is missing, has another shape or is not finite.
    """

    kind: AdapterKind
    weights: Mapping[str, Vectors]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.kind, self.weights, "The adapter")

    @cached_property
    def input_dimension(self) -> int:
        """The length of the vectors that it maps."""
        return int(self.weights["weight" if self.kind == "linear" else "down"].shape[0])

    @cached_property
    def dimension(self) -> int:
        """The length of the vectors that it gives."""
        return int(self.weights["bias"].shape[0])

    def apply(self, vectors: Vectors) -> Vectors:
        """Return the mapped vectors, of unit length, float32, shape (len(vectors), dimension).

        Args:
            vectors: Unit vectors, shape (any number, input_dimension).

        Raises:
            ModelError: They have another length.
        """
        import numpy as np

        x, weights = np.asarray(vectors, dtype=np.float32), self.weights
        if x.ndim != 2 or x.shape[1] != self.input_dimension:
            raise ModelError(
                f"The adapter maps vectors of {self.input_dimension} numbers and was given an array of shape "
                f"{x.shape}: use it with the model that it was fitted for."
            )
        if self.kind == "linear":
            mapped = x @ weights["weight"]
        elif self.kind == "low_rank":
            mapped = x + x @ weights["down"] @ weights["up"]
        else:
            mapped = x + np.maximum(x @ weights["down"] + weights["hidden_bias"], 0) @ weights["up"]
        mapped = mapped + weights["bias"]
        lengths = np.linalg.norm(mapped, axis=1, keepdims=True)
        scaled: Vectors = (mapped / np.maximum(lengths, 1e-12)).astype(np.float32)
        return scaled

    def save(self, folder: Path) -> None:
        """Write ``adapter.safetensors`` and ``adapter.json`` into a folder, which is created.

        Raises:
            EmbexpError: The disk is full, or the folder is not writable.
        """
        import numpy as np
        from safetensors.numpy import save

        arrays = {
            name: np.ascontiguousarray(self.weights[name], dtype=np.float32) for name in _ARRAYS[self.kind]
        }
        with atomic_write(folder / WEIGHTS, "wb") as stream:
            stream.write(save(arrays))
        write_json(
            folder / SETTINGS,
            {
                "schema": SCHEMA,
                "kind": self.kind,
                "input_dimension": self.input_dimension,
                "dimension": self.dimension,
                "sha256": sha256_of_file(folder / WEIGHTS),
                "about": dict(self.about),
            },
        )

    @classmethod
    def load(cls, folder: Path) -> VectorAdapter:
        """Return the adapter that ``save`` left in a folder.

        Raises:
            ModelError: A file is missing or damaged, or does not belong to the other one.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        remedy = "fit and save the adapter again"
        try:
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            kind, digest, about = settings["kind"], settings["sha256"], settings.get("about") or {}
        except FileNotFoundError as error:
            raise ModelError(f"{folder} holds no adapter (no {SETTINGS}): name another folder.") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder / SETTINGS} is damaged ({error}): {remedy}.") from error
        file = folder / WEIGHTS
        try:
            if sha256_of_file(file) != digest:
                raise ModelError(f"{file} is not the file that {SETTINGS} describes: {remedy}.")
            weights = load_file(file)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file} cannot be read ({error}): {remedy}.") from error
        _check(kind, weights, str(file))
        return cls(kind, weights, about)


def identity_adapter(kind: AdapterKind, dimension: int, *, hidden: int = 64, seed: int = 0) -> VectorAdapter:
    """Return an adapter that changes no vector, as the start of a training.

    Args:
        kind: Which map.
        dimension: The length of a vector.
        hidden: The rank of ``low_rank``, or the width of ``residual``.
        seed: Seeds ``down``, whose small random numbers let ``up``, which is zero, be trained.
    """
    import numpy as np

    bias = np.zeros(dimension, dtype=np.float32)
    if kind == "linear":
        return VectorAdapter(kind, {"weight": np.eye(dimension, dtype=np.float32), "bias": bias})
    random = np.random.default_rng(seed).standard_normal((dimension, hidden)) / np.sqrt(dimension)
    up = np.zeros((hidden, dimension), dtype=np.float32)
    weights = {"down": random.astype(np.float32), "up": up, "bias": bias}
    if kind == "residual":
        weights["hidden_bias"] = np.zeros(hidden, dtype=np.float32)
    return VectorAdapter(kind, weights)


def _check(kind: str, weights: Mapping[str, Any], name: str) -> None:
    """Refuse arrays that do not make a map of this kind.

    Raises:
        ModelError: The message says what is wrong.
    """
    import numpy as np

    arrays = next((arrays for each, arrays in _ARRAYS.items() if each == kind), None)
    if arrays is None:
        raise ModelError(f"{name} is of the kind {kind!r}: known are {', '.join(get_args(AdapterKind))}.")
    missing = [each for each in arrays if each not in weights]
    if missing:
        raise ModelError(f"{name} has no array {' and no '.join(missing)}, which the kind {kind} needs.")
    sizes: dict[str, int] = {}
    for each, letters in arrays.items():
        shape = np.shape(weights[each])
        wanted = tuple(sizes.setdefault(letter, size) for letter, size in zip(letters, shape, strict=False))
        if len(shape) != len(letters) or shape != wanted:
            raise ModelError(f"{name}: {each} has the shape {shape}, which does not fit the other arrays.")
        if not np.isfinite(weights[each]).all():
            raise ModelError(f"{name}: {each} holds numbers that are not finite: fit it again.")
    if kind != "linear" and sizes["i"] != sizes["o"]:
        raise ModelError(
            f"{name} maps {sizes['i']} numbers to {sizes['o']}: the kind {kind} adds to a vector and keeps "
            "its length; use linear."
        )
