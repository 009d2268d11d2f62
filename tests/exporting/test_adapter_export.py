"""An exported adapter gives what numpy gives, and so do the ten lines of the documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.config.export_options import export_format
from embexp.errors import ModelError
from embexp.exporting import AdapterExport, OnnxAdapter, export_adapter
from embexp.exporting.adapter import write_adapter
from embexp.models.vector_adapter import AdapterKind
from tests.models.test_adapted import KINDS, adapter_of

ROOT = Path(__file__).resolve().parents[2]
VECTORS = np.random.default_rng(1).normal(size=(7, 12)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_onnx_file_computes_what_numpy_computes(kind: AdapterKind, tmp_path: Path) -> None:
    adapter = adapter_of(kind, 12)
    write_adapter(adapter, tmp_path)
    exported = OnnxAdapter(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("adapter.json", "adapter.onnx", "adapter.safetensors")
    ]
    np.testing.assert_allclose(exported.apply(VECTORS), adapter.apply(VECTORS), atol=1e-6)
    np.testing.assert_allclose(exported.apply(VECTORS[:1]), adapter.apply(VECTORS[:1]), atol=1e-6)
    assert exported.apply(VECTORS[:0]).shape == (0, 12)
    assert exported.dimension == 12


def reader() -> Any:
    """Return the function of the page's numpy reader, compiled from its lines."""
    page = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    block = next(
        code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def adapted(" in code
    )
    lines = block.split("# The reader\n")[1].split("# An example\n")[0]
    assert len([line for line in lines.splitlines() if line.strip()]) == 10
    names: dict[str, Any] = {}
    exec(lines, names)
    return names["adapted"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_lines_of_the_page_read_what_is_saved(kind: AdapterKind, tmp_path: Path) -> None:
    adapter = adapter_of(kind, 12)
    adapter.save(tmp_path)
    np.testing.assert_allclose(reader()(VECTORS, tmp_path), adapter.apply(VECTORS), atol=1e-6)


def test_the_format_is_an_option() -> None:
    assert export_format(["format=adapter", "export.tolerance=0.01"]) == AdapterExport(tolerance=0.01)


def test_a_model_without_an_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no adapter .*train one with trainer=query_adapter"):
        export_adapter(tmp_path, tmp_path / "X", AdapterExport(), None, None, metric="ndcg@10")  # type: ignore[arg-type]
