"""An adapter of query vectors as one ONNX file: the vector of a query in, the adapted one out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.benchmarking.metrics import with_defaults
from embexp.benchmarking.statistics.comparison import compare
from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import RetrievalTask
from embexp.errors import ModelError
from embexp.exporting.formats import Loss, require
from embexp.exporting.parity import (
    MAX_SINGLE,
    ExportReport,
    Measured,
    median_milliseconds,
    published_if_passed,
    seconds_of,
)
from embexp.models.encoder import AdaptedEmbedder, Embedder
from embexp.models.vector_adapter import SETTINGS, VectorAdapter
from embexp.ranges import check_ranges
from embexp.storage.files import sha256_of_file

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

MODEL, INPUT, OUTPUT = "adapter.onnx", "vectors", "adapted"
LEAST_LENGTH = 1e-12
"""What a vector is divided by at least, as in ``VectorAdapter.apply``."""
_OPSET, _IR_VERSION = 17, 8
"""Old enough for every onnxruntime in use."""


@dataclass(frozen=True, kw_only=True)
class AdapterExport:
    """The adapter alone: ``adapter.onnx``, and ``adapter.safetensors`` with ``adapter.json`` for numpy.

    Args:
        tolerance: The most that the run's metric may fall on the test questions.
    """

    tolerance: Loss = 0.001

    def __post_init__(self) -> None:
        check_ranges(self, "export")

    @property
    def name(self) -> str:
        """The format's name in messages and tables."""
        return "adapter"

    def check_packages(self) -> None:
        """Refuse a missing package."""
        require(self.name, "onnx", "onnxruntime")


class OnnxAdapter:
    """The adapter in an exported folder, computed by onnxruntime.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        self.fingerprint = sha256_of_file(folder / MODEL)
        self._session = onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])

    @property
    def dimension(self) -> int:
        """The length of the vectors that it gives."""
        return int(self._session.get_outputs()[0].shape[1])

    def apply(self, vectors: Vectors) -> Vectors:
        """Return the adapted vectors, of unit length, float32."""
        import numpy as np

        adapted: Vectors = self._session.run(None, {INPUT: np.asarray(vectors, dtype=np.float32)})[0]
        return adapted


def write_adapter(adapter: VectorAdapter, folder: Path) -> None:
    """Write the adapter as ONNX and, for numpy, as safetensors with JSON.

    Args:
        adapter: The adapter.
        folder: An empty folder.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, last = _nodes(adapter.kind)
    nodes += [
        helper.make_node("ReduceL2", [last], ["length"], axes=[1], keepdims=1),
        helper.make_node("Max", ["length", "least"], ["divisor"]),
        helper.make_node("Div", [last, "divisor"], [OUTPUT]),
    ]
    arrays = [numpy_helper.from_array(value, name) for name, value in adapter.weights.items()]
    arrays.append(helper.make_tensor("least", TensorProto.FLOAT, [], [LEAST_LENGTH]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["texts", length])
        for name, length in ((INPUT, adapter.input_dimension), (OUTPUT, adapter.dimension))
    ]
    graph = helper.make_graph(nodes, "query_adapter", ends[:1], ends[1:], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    onnx.save(model, str(folder / MODEL))
    adapter.save(folder)


def _nodes(kind: str) -> tuple[list[Any], str]:
    """Return the nodes that map a vector, and the name of their result; names are those of the weights."""
    from onnx import helper

    def node(operation: str, *inputs: str, to: str) -> Any:
        return helper.make_node(operation, list(inputs), [to])

    if kind == "linear":
        nodes = [node("MatMul", INPUT, "weight", to="mapped")]
    else:
        nodes = [node("MatMul", INPUT, "down", to="narrow")]
        hidden = "narrow"
        if kind == "residual":
            nodes += [
                node("Add", "narrow", "hidden_bias", to="shifted"),
                node("Relu", "shifted", to="hidden"),
            ]
            hidden = "hidden"
        nodes += [node("MatMul", hidden, "up", to="added"), node("Add", INPUT, "added", to="mapped")]
    return [*nodes, node("Add", "mapped", "bias", to="moved")], "moved"


def export_adapter(
    source: Path,
    target: Path,
    kind: AdapterExport,
    task: RetrievalTask,
    below: Embedder,
    *,
    metric: str,
    seed: int = 0,
    translations: Path | None = None,
) -> ExportReport:
    """Export an adapter, ask the test questions through the file, and publish it if it loses nothing.

    Args:
        source: The model's folder, which holds an adapter.
        target: The folder to publish; it appears, or is replaced, in one step.
        kind: The format, for its tolerance.
        task: The questions to ask, and the corpus to search.
        below: The model whose query vectors are adapted.
        metric: What is compared, such as ``ndcg@10``.
        seed: Seeds the interval.
        translations: The word translations of the retriever that serves it, copied beside it; None for none.

    Raises:
        ModelError: The folder holds no adapter.
    """
    kind.check_packages()
    if not (source / SETTINGS).is_file():
        raise ModelError(
            f"{source} holds no adapter (no {SETTINGS}), which format=adapter exports: train one with "
            "trainer=query_adapter, or choose format=onnx."
        )
    adapter = VectorAdapter.load(source)

    def check(folder: Path) -> ExportReport:
        return _check(kind, adapter, source, folder, task, below, metric=metric, seed=seed)

    return published_if_passed(target, lambda folder: write_adapter(adapter, folder), check, translations)


def _check(
    kind: AdapterExport,
    adapter: VectorAdapter,
    source: Path,
    folder: Path,
    task: RetrievalTask,
    below: Embedder,
    *,
    metric: str,
    seed: int,
) -> ExportReport:
    """Compare the file with the adapter that numpy computes, on the test questions."""
    exported = OnnxAdapter(folder)
    before, after = (
        score_embedder(
            task, AdaptedEmbedder(below, each), system=name, folder=folder, metrics=with_defaults(metric)
        )
        for name, each in (("original", adapter), (kind.name, exported))
    )
    vectors = below.encode_queries([query.text for query in task.queries])
    cosines = (adapter.apply(vectors) * exported.apply(vectors)).sum(axis=1)
    comparison = compare(before, after, metric=metric, clusters=task.clusters, seed=seed)
    return ExportReport(
        format=kind.name,
        tolerance=kind.tolerance,
        passed=comparison.delta >= -kind.tolerance,
        comparison=comparison,
        cosine_deviation=max(0.0, 1.0 - float(cosines.min())),
        original=_measure(adapter, source, vectors, before.mean[metric]),
        exported=_measure(exported, folder, vectors, after.mean[metric]),
    )


def _measure(adapter: VectorAdapter | OnnxAdapter, folder: Path, vectors: Vectors, score: float) -> Measured:
    """Time the adapter alone; the service's time for a query's vector comes before it."""
    adapter.apply(vectors)  # the first call may compile and allocate
    single = [vectors[at : at + 1] for at in range(min(len(vectors), MAX_SINGLE))]
    return Measured(
        score=score,
        bytes=sum(file.stat().st_size for file in folder.rglob("adapter.*") if file.is_file()),
        texts_per_second=len(vectors) / max(seconds_of(lambda: adapter.apply(vectors)), 1e-9),
        query_milliseconds=median_milliseconds([partial(adapter.apply, vector) for vector in single]),
    )
