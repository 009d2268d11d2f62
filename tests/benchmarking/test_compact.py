import numpy as np
import pytest

from embexp.benchmarking.beir import BeirTask
from embexp.benchmarking.compact import CompactEmbedder
from embexp.benchmarking.held_out import HeldOut
from embexp.errors import ConfigError


class Fixed:
    dimension = 4
    fingerprint = "fixed"
    name = ""
    address = ""

    def encode_queries(self, texts):
        return np.array([[0.6, 0.0, 0.8, 0.0]] * len(texts), dtype=np.float32)

    encode_passages = encode_queries


def test_fewer_dimensions_are_the_first_ones_at_unit_length():
    embedder = CompactEmbedder(Fixed(), "dimensions=2")
    assert embedder.dimension == 2
    assert embedder.encode_queries(["q"]).tolist() == [[1.0, 0.0]]
    assert embedder.encode_passages(["p"]).tolist() == [[1.0, 0.0]]


def test_a_byte_a_number():
    # 0.8 becomes 127, 0.6 becomes round(95.25) = 95; length √(95² + 127²) = 158.6
    stored = CompactEmbedder(Fixed(), "int8").encode_passages(["p"])
    assert stored[0] == pytest.approx([95 / 158.60, 0, 127 / 158.60, 0], abs=1e-4)


def test_a_bit_a_number():
    embedder = CompactEmbedder(Fixed(), "binary")
    assert embedder.encode_passages(["p"]).tolist() == [[0.5, -0.5, 0.5, -0.5]]
    assert embedder.encode_queries(["q"])[0] == pytest.approx([0.6, 0, 0.8, 0])
    assert (embedder.dimension, embedder.fingerprint) == (4, "fixed binary")


@pytest.mark.parametrize(
    "build",
    [
        lambda: HeldOut(systems=["int4"]),
        lambda: BeirTask(dataset=None, systems=["int4"]),
        lambda: CompactEmbedder(Fixed(), "int4"),
    ],
)
def test_a_system_that_there_is_not(build):
    with pytest.raises(ConfigError, match="names 'int4': choose from int8, binary"):
        build()


def test_more_dimensions_than_the_model_has():
    with pytest.raises(ConfigError, match="dimensions=8, and the model has 4"):
        CompactEmbedder(Fixed(), "dimensions=8").encode_queries(["q"])
