"""A model as one ONNX file, through torch's own exporter, and an embedder that needs onnxruntime alone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import ModelError
from embexp.exporting.graph_embedder import PROMPTS, TOKENIZER, GraphEmbedder
from embexp.models.folder import passage_prompt
from embexp.models.forward_pass import attention
from embexp.storage.files import write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentence_transformers import SentenceTransformer

    from embexp.models.vector_files import Vectors

MODEL = "model.onnx"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "sentence_embedding"
LARGE = 1_500_000_000
"""A model of more bytes keeps its weights beside model.onnx: protobuf holds no more than 2 GB."""
_EXAMPLES = ["a short text", "and another text that is somewhat longer than the first"]


def write_onnx(model: SentenceTransformer, folder: Path, *, int8: bool = False) -> None:
    """Write ``model.onnx``, ``tokenizer.json``, which truncates and pads, and ``prompts.json``.

    Args:
        model: The model; all its modules become part of the graph, and its vectors get length 1.
        folder: An empty folder.
        int8: Store the weights with eight bits, a scale for each channel.

    Raises:
        ModelError: The model has a part that cannot be exported.
    """
    _write_tokenizer(model, folder / TOKENIZER)
    query = model.prompts.get("query") or ""
    write_json(folder / PROMPTS, {"query": query, "passage": passage_prompt(model.prompts)})
    large = sum(weight.nbytes for weight in model.parameters()) > LARGE
    plain = folder / ("float32.onnx" if int8 else MODEL)
    _export(model, plain, external_data=large)
    if int8:
        _quantize(plain, folder / MODEL, large=large)


def _write_tokenizer(model: SentenceTransformer, path: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if not isinstance(model.tokenizer, PreTrainedTokenizerFast):
        raise ModelError(
            f"The model's tokenizer is {type(model.tokenizer).__name__}, which has no tokenizer.json: "
            "format=onnx needs a transformer with a fast tokenizer."
        )
    fast = model.tokenizer
    tokenizer = Tokenizer.from_str(fast.backend_tokenizer.to_str())
    tokenizer.enable_truncation(int(model.max_seq_length))
    tokenizer.enable_padding(pad_id=fast.pad_token_id, pad_token=fast.pad_token, direction=fast.padding_side)
    tokenizer.save(str(path))


def _export(model: SentenceTransformer, path: Path, *, external_data: bool) -> None:
    import torch

    class Encoder(torch.nn.Module):
        """All modules of the model, from tokens to a vector of length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(model)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features: Any = {"input_ids": input_ids, "attention_mask": attention_mask}
            for part in self.parts:
                features = part(features)
            return torch.nn.functional.normalize(features[OUTPUT], dim=-1)

    model.eval()
    tokens = model.preprocess(_EXAMPLES)
    size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with torch.no_grad(), attention(model, "eager"), _quiet():
            torch.onnx.export(
                Encoder().eval().to("cpu"),
                tuple(tokens[name].to("cpu") for name in INPUTS),
                str(path),
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_shapes=tuple(size for _ in INPUTS),
                dynamo=True,
                external_data=external_data,
            )
    except Exception as error:  # the exporter lets through whatever a module raises while it is traced
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        parts = ", ".join(type(module).__name__ for module in model)
        raise ModelError(
            f"The model ({parts}) has a part that torch cannot export to ONNX ({reason}): serve its folder "
            "with sentence-transformers, or choose another format."
        ) from error


def _quantize(plain: Path, path: Path, *, large: bool) -> None:
    """Store the weights of ``plain`` with eight bits, and delete it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            plain, path, weight_type=QuantType.QInt8, per_channel=True, use_external_data_format=large
        )
    for file in plain.parent.glob(f"{plain.name}*"):
        file.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and advice, which nobody can act on, off the terminal."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class OnnxEmbedder(GraphEmbedder):
    """An Embedder over a folder that ``write_onnx`` left; it needs onnxruntime and tokenizers, no torch."""

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        path = str(self._folder / MODEL)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def _run(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Vectors:
        tokens = dict(zip(INPUTS, (input_ids, attention_mask), strict=True))
        vectors: Vectors = self._session.run([OUTPUT], tokens)[0]
        return vectors
