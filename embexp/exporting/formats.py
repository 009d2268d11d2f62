"""The formats that a model is exported to: what each writes, and how what it wrote is encoded with."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.exporting.onnx import OnnxEmbedder, write_onnx
from embexp.exporting.openvino import OpenvinoEmbedder, write_openvino
from embexp.exporting.static import load_static, write_static
from embexp.exporting.two_encoders import write_encoders
from embexp.models.encoder import Embedder
from embexp.ranges import Count, check_ranges

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Loss = Annotated[float, Interval(ge=0, le=1)]
"""A difference of a metric, such as nDCG."""


class ExportFormat(Protocol):
    """Writes a model in one format, and encodes with what it wrote.

    Attributes:
        name: The format's name in messages and tables.
        tolerance: The most that the run's metric may fall on the test questions.
        timed_texts: How many passages of the corpus the speed is measured with.
        same_space: Whether the vectors are meant to equal those of the model.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above

    @property
    def tolerance(self) -> float: ...  # noqa: D102

    @property
    def timed_texts(self) -> int: ...  # noqa: D102

    @property
    def same_space(self) -> bool: ...  # noqa: D102

    def check_packages(self) -> None:
        """Refuse, before a model is loaded, a package that is missing.

        Raises:
            ConfigError: The message says how to install it.
        """

    def write(self, model: SentenceTransformer, folder: Path) -> None:
        """Write the model into an empty folder.

        Raises:
            ModelError: The model has a part that cannot be exported to this format.
        """

    def load(self, folder: Path) -> Embedder:
        """Return an embedder that uses nothing but what ``write`` left in the folder."""


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """One ONNX file that holds the whole model: tokens in, vectors of length 1 out.

    Args:
        tolerance: The most that the run's metric may fall on the test questions.
        timed_texts: How many passages of the corpus the speed is measured with.
        int8: Store the weights with eight bits.
    """

    tolerance: Loss = 0.01
    timed_texts: Count = 256
    int8: bool = False
    same_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(self, "export")

    @property
    def name(self) -> str:
        """The format's name in messages and tables."""
        return "onnx_int8" if self.int8 else "onnx"

    def check_packages(self) -> None:
        """Refuse a missing package."""
        require(self.name, "onnx", "onnxscript", "onnxruntime")

    def write(self, model: SentenceTransformer, folder: Path) -> None:
        """Write model.onnx, tokenizer.json and prompts.json."""
        write_encoders(model, folder, partial(write_onnx, int8=self.int8))

    def load(self, folder: Path) -> Embedder:
        """Return an embedder over onnxruntime."""
        return OnnxEmbedder(folder)


@dataclass(frozen=True, kw_only=True)
class OpenvinoExport:
    """The whole model for OpenVINO, weights of 16 bits; in bfloat16 where the CPU does that in hardware.

    Args:
        tolerance: The most that the run's metric may fall on the test questions.
        timed_texts: How many passages of the corpus the speed is measured with.
    """

    tolerance: Loss = 0.01
    timed_texts: Count = 256
    same_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_ranges(self, "export")

    @property
    def name(self) -> str:
        """The format's name in messages and tables."""
        return "openvino"

    def check_packages(self) -> None:
        """Refuse a missing package."""
        require(self.name, "onnx", "onnxscript", "openvino", extra="openvino")

    def write(self, model: SentenceTransformer, folder: Path) -> None:
        """Write openvino_model.xml and .bin, tokenizer.json and prompts.json."""
        write_encoders(model, folder, write_openvino)

    def load(self, folder: Path) -> Embedder:
        """Return an embedder over openvino."""
        return OpenvinoEmbedder(folder)


@dataclass(frozen=True, kw_only=True)
class StaticExport:
    """A vector for each token, distilled by model2vec; a text's vector is their mean.

    Args:
        tolerance: The most that the run's metric may fall on the test questions.
        timed_texts: How many passages of the corpus the speed is measured with.
        dimensions: The most numbers of a vector.
    """

    tolerance: Loss = 0.05
    timed_texts: Count = 256
    dimensions: Count = 256
    same_space: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_ranges(self, "export")

    @property
    def name(self) -> str:
        """The format's name in messages and tables."""
        return "static"

    def check_packages(self) -> None:
        """Refuse a missing package."""
        require(self.name, "model2vec", "skeletoken")

    def write(self, model: SentenceTransformer, folder: Path) -> None:
        """Write a folder that ``SentenceTransformer(folder)`` loads."""
        write_static(model, folder, dimensions=self.dimensions)

    def load(self, folder: Path) -> Embedder:
        """Return an embedder over sentence-transformers."""
        return load_static(folder)


def require(name: str, *packages: str, extra: str = "export") -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        ConfigError: The message says how to install them.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigError(
            f'format={name} needs {" and ".join(missing)}, not installed here: pip install "embexp[{extra}]".'
        )
