"""Drift adapters: maps that take a tuned model's query vectors to an index of the untuned model.

Drift-Adapter (arXiv 2509.23471) fits an orthogonal, a low-rank affine or a small residual map from new
vectors of texts to their old ones. That suits a new model that ranks as the old one did. A tuned model ranks
better, and a question's old vector would give the old results again. So all but the orthogonal map aim at the
scores instead: a question goes to the vector whose dot products with the old passages come nearest to those
of the tuned model with the new passages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from annotated_types import Interval, Len

from embexp.errors import ConfigError
from embexp.models.vector_adapter import VectorAdapter, identity_adapter
from embexp.ranges import Count, check_ranges
from embexp.retrieval.exact import ExactIndex

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

DriftKind = Literal["identity", "orthogonal", "linear", "low_rank", "residual"]
_ANY_LENGTH: tuple[DriftKind, ...] = ("orthogonal", "linear")
"""The kinds that can lead to vectors of another length."""
NEIGHBOURS = 10
"""Hits of the tuned model that an adapter has to find again on the old index."""
NOISE = 0.005
"""A lead of a kind, in share of hits, that counts as none."""
RIDGE = 1e-3
"""Regularises least squares, in units of the mean variance of a direction."""
STEPS, STEP_TEXTS, STEP_SIZE = 600, 512, 1e-3
"""How the residual map is trained: steps of Adam, texts in each, and its learning rate."""


@dataclass(frozen=True, kw_only=True)
class DriftAdapter:
    """Fits each kind of map, and keeps the one that finds most of the tuned model's hits again.

    Args:
        kinds: Which kinds to try: ``identity``, which changes nothing, ``orthogonal``, ``linear``,
            ``low_rank``, ``residual``. If the two models have vectors of different lengths, only
            ``orthogonal`` and ``linear`` can be fitted.
        rank: The rank of ``low_rank``.
        hidden: The width of ``residual``.
        max_texts: The most passages, and the most training questions, to fit with.
    """

    kinds: Annotated[Sequence[DriftKind], Len(min_length=1)] = get_args(DriftKind)
    rank: Annotated[int, Interval(ge=1, le=4_096)] = 128
    hidden: Annotated[int, Interval(ge=1, le=65_536)] = 256
    max_texts: Count = 20_000

    def __post_init__(self) -> None:
        check_ranges(self, "migrate")

    def fit(self, texts: EncodedTexts, *, seed: int) -> FittedAdapter:
        """Fit the adapters and choose one.

        Args:
            texts: What both models have encoded.
            seed: Seeds the residual map.

        Raises:
            ConfigError: No kind can be fitted to vectors of different lengths.
        """
        lengths_differ = texts.old.shape[1] != texts.new.shape[1]
        kinds = [kind for kind in dict.fromkeys(self.kinds) if not lengths_differ or kind in _ANY_LENGTH]
        if not kinds:
            raise ConfigError(
                f"The tuned model's vectors have {texts.new.shape[1]} numbers and the untuned model's "
                f"{texts.old.shape[1]}, so that none of migrate.kinds={list(self.kinds)} can be fitted: "
                f"add one of {', '.join(_ANY_LENGTH)}."
            )
        linear = fit_linear(texts.new, texts.old)
        adapters = {kind: self._fit(kind, texts, linear, seed) for kind in kinds}
        kept = {kind: texts.kept_hits(adapter) for kind, adapter in adapters.items()}
        # Of kinds that keep nearly the same, the first is the simplest.
        best = next(kind for kind in kinds if kept[kind] >= max(kept.values()) - NOISE)
        return FittedAdapter(best, adapters[best], kept)

    def _fit(self, kind: DriftKind, texts: EncodedTexts, linear: VectorAdapter, seed: int) -> VectorAdapter:
        if kind == "orthogonal":
            return fit_orthogonal(texts.new, texts.old)
        if kind == "linear":
            return linear
        if kind == "low_rank":
            return fit_low_rank(texts.seen, linear, rank=self.rank)
        if kind == "residual":
            return fit_residual(texts.seen, linear.apply(texts.seen), hidden=self.hidden, seed=seed)
        return identity_adapter("linear", texts.new.shape[1])


@dataclass(frozen=True)
class FittedAdapter:
    """The chosen adapter, and the share of the tuned model's hits that each kind finds again."""

    kind: DriftKind
    adapter: VectorAdapter
    kept: Mapping[DriftKind, float]


@dataclass(frozen=True)
class EncodedTexts:
    """Texts as both models see them; rows are unit vectors.

    Attributes:
        new: Passages by the tuned model.
        old: The same passages by the untuned model.
        questions: Training questions by the tuned model.
        held_out: Other questions by the tuned model, which choose the kind.
    """

    new: Vectors
    old: Vectors
    questions: Vectors
    held_out: Vectors

    @cached_property
    def seen(self) -> Vectors:
        """What adapters are fitted with: passages and training questions by the tuned model."""
        import numpy as np

        return np.concatenate([self.new, self.questions])

    @cached_property
    def _wanted(self) -> list[set[str]]:
        return _first_hits(self.new, self.held_out)

    def kept_hits(self, adapter: VectorAdapter) -> float:
        """Return the mean share of the tuned model's first hits among those of the adapter."""
        found = _first_hits(self.old, adapter.apply(self.held_out))
        shares = [len(one & other) / len(one) for one, other in zip(self._wanted, found, strict=True)]
        return sum(shares) / len(shares)


def fit_orthogonal(sources: Vectors, targets: Vectors) -> VectorAdapter:
    """Return the rotation, with reflections, that brings vectors nearest to others (Schönemann 1966).

    Args:
        sources: Shape (rows, length).
        targets: Shape (rows, another length, or the same).
    """
    import numpy as np

    left, _, right = np.linalg.svd(sources.T.astype(np.float64) @ targets, full_matrices=False)
    weight = (left @ right).astype(np.float32)
    return VectorAdapter("linear", {"weight": weight, "bias": np.zeros(targets.shape[1], dtype=np.float32)})


def fit_linear(new: Vectors, old: Vectors) -> VectorAdapter:
    """Return the linear map W for which (q·W)·old comes nearest to q·new, whatever the question q.

    That is the transposed solution of old·X ≈ new, by ridge regression. Where little is known of a direction,
    vectors stay as they are if both models have vectors of one length.

    Args:
        new: Passages by the tuned model, shape (rows, length).
        old: The same passages by the untuned model, shape (rows, another length, or the same).
    """
    import numpy as np

    x, y = old.astype(np.float64), new.astype(np.float64)
    same = x.shape == y.shape
    gram = x.T @ x
    penalty = max(RIDGE * np.trace(gram) / len(gram), 1e-9)
    solved = np.linalg.solve(gram + penalty * np.eye(len(gram)), x.T @ (y - x if same else y))
    weight = np.eye(len(gram)) + solved.T if same else solved.T
    bias = np.zeros(old.shape[1], dtype=np.float32)
    return VectorAdapter("linear", {"weight": weight.astype(np.float32), "bias": bias})


def fit_low_rank(vectors: Vectors, linear: VectorAdapter, *, rank: int) -> VectorAdapter:
    """Return x + x·down·up, which comes nearest to a linear map on some vectors (Eckart and Young 1936).

    Args:
        vectors: Shape (rows, length).
        linear: The map, which keeps their length.
        rank: The columns of ``down``.
    """
    import numpy as np

    change = linear.weights["weight"].astype(np.float64) - np.eye(linear.dimension)
    _, _, right = np.linalg.svd(vectors @ change, full_matrices=False)
    up = right[: min(rank, len(right))]
    weights = {"down": change @ up.T, "up": up, "bias": np.zeros(linear.dimension)}
    return VectorAdapter("low_rank", {name: array.astype(np.float32) for name, array in weights.items()})


def fit_residual(sources: Vectors, targets: Vectors, *, hidden: int, seed: int) -> VectorAdapter:
    """Return x + max(x·down + hidden_bias, 0)·up + bias, trained from the identity to the highest cosines.

    Args:
        sources: Shape (rows, length).
        targets: The same shape, of unit length.
        hidden: The columns of ``down``.
        seed: Seeds the first weights and the order of the rows.
    """
    import numpy as np
    import torch

    start = identity_adapter("residual", sources.shape[1], hidden=hidden, seed=seed)
    weights = {name: torch.tensor(array, requires_grad=True) for name, array in start.weights.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=STEP_SIZE)
    x, y = torch.from_numpy(np.ascontiguousarray(sources)), torch.from_numpy(np.ascontiguousarray(targets))
    order = np.random.default_rng(seed)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = STEP_SIZE * (1 - step / STEPS)
        rows = torch.from_numpy(order.integers(0, len(x), size=min(STEP_TEXTS, len(x))))
        inner = torch.relu(x[rows] @ weights["down"] + weights["hidden_bias"])
        mapped = x[rows] + inner @ weights["up"] + weights["bias"]
        loss = 1 - torch.nn.functional.cosine_similarity(mapped, y[rows]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return VectorAdapter("residual", {name: array.detach().numpy() for name, array in weights.items()})


def _first_hits(passages: Vectors, questions: Vectors) -> list[set[str]]:
    index = ExactIndex([str(row) for row in range(len(passages))], passages, None)
    return [{hit.id for hit in hits} for hits in index.nearest(questions, k=NEIGHBOURS)]
