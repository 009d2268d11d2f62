"""A model for OpenVINO, converted from its ONNX file, and an embedder that needs no torch."""

from __future__ import annotations

import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.exporting import onnx
from embexp.exporting.graph_embedder import PROMPTS, TOKENIZER, GraphEmbedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from embexp.models.vector_files import Vectors

MODEL = "openvino_model.xml"


def write_openvino(model: SentenceTransformer, folder: Path) -> None:
    """Write ``openvino_model.xml`` and ``.bin`` with weights of 16 bits, and the files of ``write_onnx``.

    Args:
        model: The model.
        folder: An empty folder.

    Raises:
        ModelError: The model has a part that cannot be exported.
    """
    import openvino

    with tempfile.TemporaryDirectory() as work:
        onnx.write_onnx(model, Path(work))
        # openvino.convert_model would report its use to Intel; the core that reads the file does not.
        graph = openvino.Core().read_model(str(Path(work) / onnx.MODEL))
        openvino.save_model(graph, str(folder / MODEL), compress_to_fp16=True)
        for name in (TOKENIZER, PROMPTS):
            shutil.copy2(Path(work) / name, folder / name)


class OpenvinoEmbedder(GraphEmbedder):
    """An Embedder over a folder that ``write_openvino`` left.

    OpenVINO computes in bfloat16 where the CPU does that in hardware, and in float32 elsewhere.
    """

    @cached_property
    def _compiled(self) -> Any:
        import openvino

        options = {} if self._threads is None else {"INFERENCE_NUM_THREADS": self._threads}
        return openvino.Core().compile_model(str(self._folder / MODEL), "CPU", options)

    def _run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        # The result is a view of memory that the next call writes to.
        vectors: Vectors = self._compiled((input_ids, attention_mask))[0].copy()
        return vectors
