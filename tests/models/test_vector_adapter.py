"""An adapter maps vectors by its formula, comes back from its two files, and refuses damaged ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from embexp.errors import ModelError
from embexp.models.vector_adapter import SETTINGS, WEIGHTS, VectorAdapter, identity_adapter

X = np.array([[1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
KINDS = {
    "linear": {"weight": np.array([[0.0, 2.0], [1.0, 0.0]]), "bias": np.array([0.0, 1.0])},
    "low_rank": {
        "down": np.array([[1.0], [0.0]]),
        "up": np.array([[0.0, 3.0]]),
        "bias": np.array([1.0, 0.0]),
    },
    "residual": {
        **{"down": np.array([[1.0], [-2.0]]), "hidden_bias": np.array([0.5])},
        **{"up": np.array([[0.0, 2.0]]), "bias": np.array([1.0, 0.0])},
    },
}
MAPPED = {
    "linear": [[0.0, 3.0], [0.8, 2.2]],  # (0, 2) + (0, 1); (0.8, 1.2) + (0, 1)
    "low_rank": [[2.0, 3.0], [1.6, 2.6]],  # (1, 0) + 1·(0, 3) + (1, 0); (0.6, 0.8) + 0.6·(0, 3) + (1, 0)
    "residual": [[2.0, 3.0], [1.6, 0.8]],  # hidden max(1.5, 0), and max(0.6 - 1.6 + 0.5, 0) = 0
}


def adapter(kind: str) -> VectorAdapter:
    return VectorAdapter(
        kind, {name: array.astype(np.float32) for name, array in KINDS[kind].items()}, {"to": "old"}
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_computes_its_formula_and_gives_unit_vectors(kind: str) -> None:
    wanted = np.array(MAPPED[kind])
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = adapter(kind).apply(X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_comes_back_from_its_files(kind: str, tmp_path: Path) -> None:
    adapter(kind).save(tmp_path / "new" / "folder")
    loaded = VectorAdapter.load(tmp_path / "new" / "folder")
    assert (loaded.kind, loaded.about, loaded.input_dimension, loaded.dimension) == (
        kind,
        {"to": "old"},
        2,
        2,
    )
    np.testing.assert_array_equal(loaded.apply(X), adapter(kind).apply(X))


@pytest.mark.parametrize("kind", KINDS)
def test_an_identity_changes_nothing(kind: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(identity_adapter(kind, 8, hidden=3).apply(vectors), vectors, atol=1e-6)
    assert identity_adapter(kind, 8).apply(vectors[:0]).shape == (0, 8)


def test_a_linear_adapter_may_change_the_length_of_vectors() -> None:
    shorter = VectorAdapter(
        "linear", {"weight": np.eye(4, 2, dtype=np.float32), "bias": np.zeros(2, dtype=np.float32)}
    )
    assert shorter.apply(np.eye(4, dtype=np.float32)[:2]).tolist() == [[1, 0], [0, 1]]
    with pytest.raises(
        ModelError, match=r"maps vectors of 4 numbers and was given an array of shape \(2, 2\)"
    ):
        shorter.apply(X)


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        ("cubic", {}, "of the kind 'cubic': known are linear, low_rank, residual"),
        ("linear", {"bias": None}, "has no array bias"),
        ("linear", {"bias": np.zeros(3)}, r"bias has the shape \(3,\)"),
        ("low_rank", {"up": np.zeros((2, 2))}, r"up has the shape \(2, 2\)"),
        ("low_rank", {"up": np.zeros((1, 3)), "bias": np.zeros(3)}, "maps 2 numbers to 3.*use linear"),
        ("residual", {"hidden_bias": np.array([np.nan])}, "hidden_bias holds numbers that are not finite"),
        ("residual", {"down": np.zeros(2)}, r"down has the shape \(2,\)"),
    ],
)
def test_arrays_that_make_no_map_are_refused(kind: str, changed: dict[str, object], message: str) -> None:
    weights = {**KINDS.get(kind, KINDS["linear"]), **changed}
    with pytest.raises(ModelError, match=message):
        VectorAdapter(kind, {name: array for name, array in weights.items() if array is not None})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / SETTINGS).unlink(), "holds no adapter"),
        (lambda folder: (folder / SETTINGS).write_text("{"), "adapter.json is damaged"),
        (lambda folder: (folder / SETTINGS).write_text("[]"), "adapter.json is damaged"),
        (lambda folder: (folder / SETTINGS).write_bytes(b"\xff"), "adapter.json is damaged"),
        (lambda folder: (folder / WEIGHTS).unlink(), "adapter.safetensors cannot be read"),
        (
            lambda folder: (folder / WEIGHTS).write_bytes(b"half"),
            "is not the file that adapter.json describes",
        ),
        (lambda folder: identity_adapter("linear", 2).save(folder / "x"), None),
    ],
)
def test_damaged_files_are_named(damage: object, message: str | None, tmp_path: Path) -> None:
    adapter("linear").save(tmp_path)
    damage(tmp_path)
    if message is None:  # what stands beside the files does not matter
        assert VectorAdapter.load(tmp_path).kind == "linear"
        return
    with pytest.raises(ModelError, match=message):
        VectorAdapter.load(tmp_path)


def test_another_adapters_weights_are_refused(tmp_path: Path) -> None:
    adapter("low_rank").save(tmp_path)
    settings = json.loads((tmp_path / SETTINGS).read_text(encoding="utf-8"))
    (tmp_path / SETTINGS).write_text(json.dumps({**settings, "kind": "residual"}), encoding="utf-8")
    with pytest.raises(ModelError, match=re.escape(f"{tmp_path / WEIGHTS} has no array hidden_bias")):
        VectorAdapter.load(tmp_path)
