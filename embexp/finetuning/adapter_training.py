"""Training an adapter of query vectors: what it learns from, and its gradient steps, without any encoder."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from embexp.data.records import Pair
from embexp.data.splitting import Splits
from embexp.errors import ConfigError, ModelError
from embexp.finetuning.hard_negatives import QUERIES_PER_BLOCK, PassagePool, nearest, query_keys
from embexp.finetuning.training_rows import check_training_pairs
from embexp.models.vector_adapter import VectorAdapter

if TYPE_CHECKING:
    import torch

    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AdapterRows:
    """The training queries, the passages to rank, and what each query has to find.

    Attributes:
        queries: The text of each row.
        positives: The position in ``passages`` that each row has to find.
        passages: The distinct passages.
        excluded: The positions that are no negatives of a row: its other answers, and the passages of
            documents that answer it.
    """

    queries: Sequence[str]
    positives: Sequence[int]
    passages: Sequence[str]
    excluded: Sequence[frozenset[int]]

    def __len__(self) -> int:
        return len(self.queries)


def adapter_rows(
    splits: Splits, corpus: Sequence[tuple[str, str]], *, max_pairs: int | None, seed: int
) -> AdapterRows:
    """Return a row for each positive pair.

    Args:
        splits: The training pairs, and how their labels are read.
        corpus: (document id, passage) of further passages to rank, of training documents.
        max_pairs: The most rows, sampled by seed; None for all.
        seed: Fixes the sample.

    Raises:
        DataError: There is no training pair.
        ConfigError: None of them is a positive.
    """
    check_training_pairs(splits)
    scale = splits.label_scale()
    pool = PassagePool(splits.train, is_positive=lambda pair: scale.is_positive(pair.label))
    found = {(pair.query, pair.positive): pair for pair in splits.train if scale.is_positive(pair.label)}
    if not found:
        raise ConfigError(
            f"None of the {len(splits.train)} training pairs is a positive: every label is below "
            f"{scale.positive_from:g}. Set dataset.positive_from to the lowest label of a positive."
        )
    pairs = [pair for pair in found.values() for _ in range(max(pair.weight, 1))]
    if max_pairs is not None and len(pairs) > max_pairs:
        pairs = [pairs[at] for at in sorted(random.Random(seed).sample(range(len(pairs)), max_pairs))]
    position = {text: at for at, text in enumerate(pool.texts)}
    for pair in splits.train:
        for text in pair.negatives:
            position.setdefault(text, len(position))
    of_document: dict[str, set[int]] = {}
    for pair in splits.train:
        of_document.setdefault(pair.document_id, set()).add(pool.position(pair))
    for document, text in corpus:
        of_document.setdefault(document, set()).add(position.setdefault(text, len(position)))
    excluded = _excluded(pairs, pool, of_document)
    own = [pool.position(pair) for pair in pairs]
    rows = [left_out - {at} for left_out, at in zip(excluded, own, strict=True)]
    return AdapterRows([pair.query for pair in pairs], own, list(position), rows)


def _excluded(
    pairs: Sequence[Pair], pool: PassagePool, of_document: Mapping[str, set[int]]
) -> list[frozenset[int]]:
    """Return, for each pair, the passages of all documents that answer its query."""
    documents: dict[str, set[str]] = {}
    for pair in pairs:
        for key in query_keys(pair):
            documents.setdefault(key, set()).add(pair.document_id)
    excluded = []
    for pair in pairs:
        answering = set().union(*(documents[key] for key in query_keys(pair)))
        own = pool.forbidden(pair).union(*(of_document.get(document, set()) for document in answering))
        excluded.append(frozenset(own))
    return excluded


@dataclass(frozen=True, kw_only=True)
class AdapterObjective:
    """What the gradient steps minimise, and how.

    Attributes:
        scale: Cosines are multiplied by this before the softmax.
        ridge: The penalty on the squared distance between a query's vector and its adapted one.
        epochs, batch_size, learning_rate: As in ``QueryAdapterFineTuner``.
        max_passages, hard_negatives: Likewise.
        seed: Fixes the order of the rows and the passages that are drawn.
    """

    scale: float
    ridge: float
    epochs: int
    batch_size: int
    learning_rate: float
    max_passages: int
    hard_negatives: int
    seed: int

    def steps(self, rows: int) -> int:
        """Return the number of steps of the whole training."""
        return self.epochs * math.ceil(rows / self.batch_size)


def train_adapter(
    adapter: VectorAdapter,
    rows: AdapterRows,
    queries: Vectors,
    passages: Vectors,
    objective: AdapterObjective,
) -> Iterator[tuple[int, float, float, Callable[[], VectorAdapter]]]:
    """Train an adapter, and yield after each step: its number, loss, rate, and a function for the adapter.

    The loss is the cross-entropy of a softmax over the cosines with all passages, or with the positives of
    the batch, the hard negatives of its rows and a random sample where there are more than ``max_passages``.

    Args:
        adapter: The start, the identity.
        rows: What to learn from.
        queries: The unit vector of each row's query, shape (rows, dimension).
        passages: The unit vectors of ``rows.passages``.
        objective: What to minimise.

    Raises:
        ModelError: The loss or the weights are not finite any more.
    """
    import torch

    weights = {name: torch.tensor(value).requires_grad_() for name, value in adapter.weights.items()}
    steps = objective.steps(len(rows))
    optimizer = torch.optim.Adam(weights.values(), lr=objective.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    pool = _Candidates(rows, queries, passages, objective)
    for step, batch in enumerate(_batches(len(rows), objective), start=1):
        columns, own, masked = pool.of(batch)
        vectors = torch.from_numpy(queries[batch])
        adapted = _applied(adapter.kind, weights, vectors)
        scores = objective.scale * adapted @ columns.T
        scores = scores.masked_fill(masked, -torch.inf)
        distance = (adapted - vectors).square().sum(dim=1).mean()
        loss = torch.nn.functional.cross_entropy(scores, own) + objective.ridge * distance
        if not torch.isfinite(loss):
            raise ModelError(
                f"The training of the adapter diverged at step {step}: lower trainer.learning_rate, now "
                f"{objective.learning_rate:g}."
            )
        rate = float(schedule.get_last_lr()[0])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()

        def current() -> VectorAdapter:
            return replace(
                adapter, weights={name: value.detach().numpy().copy() for name, value in weights.items()}
            )

        yield step, float(loss.detach()), rate, current


def _applied(kind: str, weights: Mapping[str, torch.Tensor], vectors: torch.Tensor) -> torch.Tensor:
    """Return what ``VectorAdapter.apply`` returns, with gradients."""
    import torch

    if kind == "linear":
        mapped = vectors @ weights["weight"]
    elif kind == "low_rank":
        mapped = vectors + vectors @ weights["down"] @ weights["up"]
    else:
        hidden = torch.relu(vectors @ weights["down"] + weights["hidden_bias"])
        mapped = vectors + hidden @ weights["up"]
    return torch.nn.functional.normalize(mapped + weights["bias"], dim=1)


def _batches(rows: int, objective: AdapterObjective) -> Iterator[Any]:
    """Yield the rows of each batch, every epoch in another order."""
    import numpy as np

    random_order = np.random.default_rng(objective.seed)
    for _ in range(objective.epochs):
        order = random_order.permutation(rows)
        for start in range(0, rows, objective.batch_size):
            yield order[start : start + objective.batch_size]


class _Candidates:
    """Chooses the passages that the rows of a batch are ranked against: all where they fit, else a sample."""

    def __init__(
        self, rows: AdapterRows, queries: Vectors, passages: Vectors, objective: AdapterObjective
    ) -> None:
        import numpy as np
        import torch

        self._rows, self._passages = rows, passages
        self._own = np.asarray(rows.positives)
        self._most = objective.max_passages
        self._random = np.random.default_rng(objective.seed + 1)
        self._hard: Vectors | None = None
        self._all = torch.from_numpy(np.ascontiguousarray(passages))
        if len(passages) > self._most:
            count = min(objective.hard_negatives, len(passages))
            self._hard = _nearest(rows, queries, passages, count)
            log.info(
                "The %d passages are more than trainer.max_passages=%d: each batch is ranked against its "
                "positives, %d hard negatives of each query and a random sample.",
                *(len(passages), self._most, count),
            )

    def of(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the vectors of the passages, each row's positive among them, and which to leave out."""
        import numpy as np
        import torch

        if self._hard is None:
            chosen, vectors = np.arange(len(self._passages)), self._all
        else:
            sample = self._random.choice(len(self._passages), self._most, replace=False)
            chosen = np.unique(np.concatenate([self._own[batch], self._hard[batch].ravel(), sample]))
            vectors = torch.from_numpy(self._passages[chosen])
        own = np.searchsorted(chosen, self._own[batch])
        masked = np.zeros((len(batch), len(chosen)), dtype=bool)
        for row, at in enumerate(batch):
            left_out = np.fromiter(self._rows.excluded[at], dtype=np.int64)
            places = np.searchsorted(chosen, left_out)
            there = (places < len(chosen)) & (chosen[np.minimum(places, len(chosen) - 1)] == left_out)
            masked[row, places[there]] = True
        return vectors, torch.from_numpy(own), torch.from_numpy(masked)


def _nearest(rows: AdapterRows, queries: Vectors, passages: Vectors, count: int) -> Any:
    """Return each row's nearest passages that are no answers, shape (rows, count)."""
    import numpy as np

    found = np.empty((len(queries), count), dtype=np.int64)
    for start in range(0, len(queries), QUERIES_PER_BLOCK):
        block = slice(start, start + QUERIES_PER_BLOCK)
        own = zip(rows.excluded[block], rows.positives[block], strict=True)
        forbidden = [excluded | {positive} for excluded, positive in own]
        _, found[block] = nearest(queries[block], passages, forbidden, most=count)
    return found


def towards_identity(adapter: VectorAdapter, share: float) -> VectorAdapter:
    """Return the adapter that adds only a share of what this one adds to a vector.

    Args:
        adapter: A trained one.
        share: From 0, the identity, to 1, the adapter itself.
    """
    import numpy as np

    weights = dict(adapter.weights)
    for name in ("up", "bias"):
        if name in weights:
            weights[name] = (share * weights[name]).astype(np.float32)
    if adapter.kind == "linear":
        eye = np.eye(adapter.dimension, dtype=np.float32)
        weights["weight"] = (eye + share * (weights["weight"] - eye)).astype(np.float32)
    return replace(adapter, weights=weights)
