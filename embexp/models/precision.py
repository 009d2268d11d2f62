"""Mixed precision: which devices multiply bf16 matrices in hardware, and encoding in it.

A model encodes in mixed precision where that is faster, and in float32 elsewhere; vectors of the two kinds
are cached apart. docs/decisions/0006-mixed-precision.md has the reasons and the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

LEAST_DIMENSION = 256
"""In smaller models the conversions cost more than the products of matrices gain."""


def has_bf16(device: str) -> bool:
    """Return whether a device multiplies bf16 matrices in hardware: a recent GPU, or a CPU with such units.

    On a CPU with avx512_bf16 or AMX a product of bf16 matrices is more than twice as fast as one of
    float32; weights, gradients and the optimizer stay float32 (Micikevicius et al. 2018, arXiv 1710.03740).

    Args:
        device: ``cpu``, ``cuda``, … as in ``torch.device.type``.
    """
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    units = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device == "cpu" and bool(units)


def model_device() -> str:
    """Return the type of the device that models are loaded on."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def mixes_precision(dimension: int, device: str) -> bool:
    """Return whether mixed precision makes a model faster.

    Args:
        dimension: The length of its vectors.
        device: ``cpu``, ``cuda``, … as in ``torch.device.type``.
    """
    return dimension >= LEAST_DIMENSION and has_bf16(device)


def mixed_fingerprint(fingerprint: str) -> str:
    """Return the digest under which a model's vectors in mixed precision are kept."""
    return f"{fingerprint} in bf16"


@contextmanager
def encoding_in_bf16(model: SentenceTransformer) -> Iterator[None]:
    """Encode in bf16 within the block, where the model's device and size make that faster.

    On a CPU texts are encoded without padding, too, if the model allows it. The cosine to the float32 vector
    is above .9999 for MiniLM, but nDCG@10 of a few hundred questions moves by about .001: little enough to
    tell checkpoints apart, too much for a verdict, for which ``embexp.benchmarking.float32_order`` encodes
    again what decides.
    """
    device = model.device.type
    if not mixes_precision(model.get_embedding_dimension() or 0, device):
        yield
        return
    import torch

    from embexp.models.packing import can_pack, packed_texts

    packed = packed_texts(model) if can_pack(model) else nullcontext()
    with torch.autocast(device, dtype=torch.bfloat16), packed:
        yield
