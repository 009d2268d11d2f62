"""Training rows: from pairs to the columns that a loss reads. One file of pairs feeds every loss.

There are three families. *Contrastive* rows hold positives, and negatives if the loss reads them (``pairs``,
``triplets``); *labelled* rows hold every pair with its label (``scored``, ``binary``, ``classes``);
*distillation* rows hold a teacher's scores or vectors (``ranked``, ``lists``, ``vectors``, ``targets``).
See ``Loss.columns``.
"""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from embexp.data.labels import LabelScale
from embexp.data.records import Pair
from embexp.data.splitting import Splits
from embexp.errors import ConfigError, DataError
from embexp.finetuning.batch_sampler import RowKeys
from embexp.finetuning.hard_negatives import (
    MinedNegatives,
    NegativeSource,
    PassagePool,
    RandomNegatives,
    query_keys,
)
from embexp.finetuning.losses.distillation import QueryDistill
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.passage_lists import passage_lists, to_unit_range
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.teachers.labels import Labels
from embexp.finetuning.teachers.teacher import NO_TEACHER, Teacher
from embexp.finetuning.training import StartingModel
from embexp.models.encoder import Embedder, ModelEmbedder

if TYPE_CHECKING:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

Column = list[str] | list[float] | list[int] | list[Any]
QUERY_COLUMNS = ("anchor", "text_a")
_MOST_LISTED = 4
"""The most negatives of a pair that are used unless ``trainer.hard_negatives`` asks for more."""
_MOST_CLASSES = 100
_NEGATIVE_COLUMNS = frozenset({"pairs", "ranked", "vectors", "targets"})
"""Rows in which negatives are columns; in others each of them is a row of its own, or there is no limit."""
_Item = TypeVar("_Item")
_Ranking = tuple[str, tuple[str, ...]]
"""A query and its passages, the best first."""


@dataclass(frozen=True, kw_only=True)
class RowRequest:
    """What to build rows from.

    Args:
        pairs: The training pairs, labelled or not.
        scale: How their labels are read.
        pool: The training passages.
        negatives: The source of negatives that the pairs do not list.
        count: Negatives for each positive; None uses those that the pairs list, and draws one if the loss
            needs one.
        max_pairs: How many positives (or labelled pairs) to use; None for all.
        seed: Fixes the sample.
        max_negatives: The most negatives that the loss reads.
        embedder: The untuned model, for lists of passages.
        targets: Returns the vectors that queries should have, given the training passages.
        distinct: What two rows of a batch must not share besides their texts.
        teacher: The teacher of the loss, if it has one.
    """

    pairs: Sequence[Pair]
    scale: LabelScale
    pool: PassagePool
    negatives: NegativeSource
    count: int | None = None
    max_pairs: int | None = None
    seed: int = 0
    max_negatives: int | None = None
    distinct: Literal["text", "chunk", "document"] = "chunk"
    teacher: Teacher | None = None
    embedder: Embedder | None = None
    targets: Callable[[Sequence[str], Sequence[str]], Vectors] | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Training rows: columns of equal length in the loss's order.

    ``keys`` says which rows must not share a batch; they are empty for losses that do not compare a row with
    another row's passages. ``outputs`` is the number of classes, or the length of a teacher's vectors.
    """

    columns: dict[str, Column]
    keys: list[RowKeys]
    outputs: int | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lengths(self) -> list[int]:
        """The number of characters in each row's longest text."""
        texts = [column for column in self.columns.values() if column and isinstance(column[0], str)]
        return [max(map(len, row)) for row in zip(*texts, strict=True)]  # type: ignore[arg-type]

    def with_queries(self, change: Callable[[Sequence[str]], list[str]]) -> Rows:
        """Return the rows with other queries in place of each column of queries."""
        changed = {
            name: change([str(query) for query in self.columns[name]])
            for name in QUERY_COLUMNS
            if name in self.columns
        }
        return replace(self, columns={**self.columns, **changed})

    def dataset(self) -> Dataset:
        """Return the rows as a ``datasets.Dataset`` in memory."""
        from datasets import Dataset

        return Dataset.from_dict(self.columns)


def check_training_pairs(splits: Splits) -> None:
    """Refuse to train on nothing.

    Raises:
        DataError: There is no training pair.
    """
    if not splits.train:
        raise DataError(
            "There is no training pair: give more documents or pairs, or lower split.dev and split.test."
        )


def training_rows(
    settings: TrainerSettings,
    model: SentenceTransformer,
    loss: Loss,
    splits: Splits,
    *,
    seed: int,
    untuned: StartingModel | None,
) -> Rows:
    """Build the training rows.

    Args:
        settings: The trainer's settings.
        model: The untuned model, at the text length of training.
        loss: The loss, for the columns that it reads.
        splits: The training pairs, and how the labels of the data set are read.
        seed: Fixes samples and negatives.
        untuned: Embeds with the untuned model and keeps the vectors; None embeds anew.

    Raises:
        DataError: There is only one pair.
        ConfigError: The pairs cannot fill the loss's columns.
    """
    pairs, scale = splits.train, splits.label_scale()
    if any(pair.label is not None for pair in pairs):
        log.info("Labels of the training pairs: %s.", scale)
    pool = PassagePool(pairs, is_positive=lambda pair: scale.is_positive(pair.label))
    embedder = untuned.embedder(model) if untuned else ModelEmbedder(model, fingerprint="untuned")
    request = RowRequest(
        pairs=pairs,
        scale=scale,
        pool=pool,
        negatives=_negative_source(settings, pool, embedder, seed=seed),
        count=settings.hard_negatives,
        max_pairs=settings.max_pairs,
        seed=seed,
        distinct=settings.distinct,
        max_negatives=loss.max_negatives,
        teacher=loss.teacher.prepared(pool.texts, embedder) if loss.teacher is not None else None,
        embedder=embedder,
        targets=partial(loss.targets, embedder=embedder) if isinstance(loss, QueryDistill) else None,
    )
    rows = build_rows(loss.columns, request)
    if len(rows) < 2:
        raise DataError(
            "There is one training pair, and a batch needs two: give more pairs, or lower split.dev and "
            "split.test."
        )
    log.info("Training rows: %d with the columns %s", len(rows), ", ".join(rows.columns))
    return rows


def _negative_source(
    settings: TrainerSettings, pool: PassagePool, embedder: Embedder, *, seed: int
) -> NegativeSource:
    if settings.negatives == "random":
        return RandomNegatives(pool=pool, seed=seed)
    rescores = settings.cross_encoder
    return MinedNegatives(
        pool=pool,
        embedder=embedder,
        seed=seed,
        relative_margin=settings.relative_margin,
        absolute_margin=settings.absolute_margin,
        range_min=settings.range_min,
        range_max=settings.range_max,
        cross_encoder=rescores.prepared(pool.texts, embedder) if rescores is not None else None,
    )


def build_rows(columns: str, request: RowRequest) -> Rows:
    """Build the rows of a loss's ``columns``.

    Raises:
        ConfigError: The pairs cannot fill these columns; the message says what is missing.
    """
    if columns not in _BUILDERS:
        raise ConfigError(
            f"The loss reads {columns!r} columns, which cannot be built; known are "
            f"{', '.join(sorted(_BUILDERS))}."
        )
    rows = _BUILDERS[columns](request)
    _warn_of_fewer_negatives(columns, rows, request.count)
    return rows


def _warn_of_fewer_negatives(columns: str, rows: Rows, asked: int | None) -> None:
    """Warn where the loss reads fewer negatives of a positive than ``trainer.hard_negatives`` asks for."""
    if not asked or columns not in _NEGATIVE_COLUMNS:
        return
    read = sum(name.startswith("negative") for name in rows.columns)
    if read < asked:
        log.warning(
            "trainer.hard_negatives=%d asks for %d negatives of each positive, and %s: the others have no "
            "effect. Compare this loss with others at trainer.hard_negatives=%s.",
            *(asked, asked, f"this loss reads {read}" if read else "this loss reads none", read or "null"),
        )


def _sample(items: Sequence[_Item], most: int | None, *, seed: int, what: str) -> list[_Item]:
    """Return at most ``most`` items in their order, chosen by seed, and log it."""
    if most is None or len(items) <= most:
        return list(items)
    log.warning(
        "Training on %d of %d %s, chosen at random (seed %d): set trainer.max_pairs=null to use them all, "
        "which takes about %.1f times as long.",
        *(most, len(items), what, seed, len(items) / most),
    )
    return [items[at] for at in sorted(random.Random(seed).sample(range(len(items)), most))]


def _weighted(pairs: Sequence[Pair]) -> list[Pair]:
    """Return each pair as often as its weight says, and log it where any counts more than once."""
    repeated = [pair for pair in pairs for _ in range(max(pair.weight, 1))]
    if len(repeated) > len(pairs):
        log.info(
            "%d training pairs are read %d times in an epoch, by their weights.", len(pairs), len(repeated)
        )
    return repeated


# Contrastive rows


def _positives(request: RowRequest) -> list[Pair]:
    """Return the pairs whose passage answers the query, each query and passage once."""
    positives = {
        (pair.query, pair.positive): pair for pair in request.pairs if request.scale.is_positive(pair.label)
    }
    if not positives:
        raise ConfigError(
            f"None of the {len(request.pairs)} training pairs is a positive: every label is below "
            f"{request.scale.positive_from:g}. Set dataset.positive_from to the lowest label of a positive, "
            "or choose a loss that reads scores (loss=cosent)."
        )
    weighted = _weighted(list(positives.values()))
    return _sample(weighted, request.max_pairs, seed=request.seed, what="positive pairs")


def _pair_rows(request: RowRequest) -> Rows:
    """Return (anchor, positive[, negative_1 …]) rows, with as many negatives in every row."""
    positives = _positives(request)
    listed = _listed_negatives(request, positives)
    everywhere = min(map(len, listed))
    count = min(everywhere, _MOST_LISTED) if request.count is None else request.count
    if request.max_negatives is not None:
        count = min(count, request.max_negatives)
    if request.count is None and not count and any(listed):
        log.warning(
            "%d of %d training pairs list negatives, which are left unused: set trainer.hard_negatives=1 "
            "to use them and to find some for the others.",
            *(sum(map(bool, listed)), len(listed)),
        )
    negatives = _filled_up(request, positives, listed, count)
    columns: dict[str, Column] = {
        "anchor": [pair.query for pair in positives],
        "positive": [pair.positive for pair in positives],
    }
    for rank in range(count):
        columns[f"negative_{rank + 1}"] = [texts[rank] for texts in negatives]
    keys = [_keys(request, pair, texts) for pair, texts in zip(positives, negatives, strict=True)]
    return Rows(columns=columns, keys=keys)


def _keys(request: RowRequest, pair: Pair, negatives: Sequence[str]) -> RowKeys:
    """Return the keys that keep a row apart from those whose passages would be false negatives.

    A row contains its passages and excludes all answers to its query. No two rows share a query, or the
    chunk or document of their passages.
    """
    shared = list(query_keys(pair))
    if request.distinct == "chunk":
        shared.append(f"chunk:{pair.chunk_id}" if pair.chunk_id else f"document:{pair.document_id}")
    elif request.distinct == "document":
        shared.append(f"document:{pair.document_id}")
    return RowKeys(
        contains=(*shared, *(f"text:{text}" for text in (pair.positive, *negatives))),
        excludes=(*shared, *(f"text:{text}" for text in request.pool.answers(pair))),
    )


def _triplet_rows(request: RowRequest) -> Rows:
    """Return (anchor, positive, negative) rows, one for each negative."""
    positives = _positives(request)
    rows = [
        (pair.query, pair.positive, text)
        for pair, texts in zip(positives, _required_negatives(request, positives), strict=True)
        for text in texts
    ]
    anchors, matches, negatives = map(list, zip(*rows, strict=True))
    return _unkeyed({"anchor": anchors, "positive": matches, "negative": negatives})


def _listed_negatives(request: RowRequest, positives: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Return the negatives that the pairs list, and passages with a low label for the same query."""
    low: dict[str, list[str]] = defaultdict(list)
    for pair in request.pairs:
        if not request.scale.is_positive(pair.label):
            for key in query_keys(pair):
                low[key].append(pair.positive)
    negatives = []
    for pair in positives:
        answers = set(request.pool.answers(pair))
        texts = [*pair.negatives, *(text for key in query_keys(pair) for text in low.get(key, ()))]
        negatives.append(tuple(dict.fromkeys(text for text in texts if text not in answers)))
    return negatives


def _filled_up(
    request: RowRequest, positives: Sequence[Pair], listed: Sequence[tuple[str, ...]], count: int
) -> list[tuple[str, ...]]:
    """Return exactly ``count`` negatives for each positive: the listed ones, then drawn ones."""
    short = [at for at, texts in enumerate(listed) if len(texts) < count]
    filled = [texts[:count] for texts in listed]
    if short:
        drawn = request.negatives.draw([positives[at] for at in short], count)
        for at, texts in zip(short, drawn, strict=True):
            filled[at] = tuple(dict.fromkeys((*listed[at], *texts)))[:count]
    return filled


def _required_negatives(request: RowRequest, positives: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Return at least one negative for each positive."""
    listed = _listed_negatives(request, positives)
    if request.count is None and all(listed):
        return [texts[:_MOST_LISTED] for texts in listed]
    return _filled_up(request, positives, listed, max(request.count or 1, 1))


# Labelled rows


def _labelled(
    request: RowRequest, value: Callable[[float | None], float]
) -> Iterator[tuple[str, str, float]]:
    """Yield (query, passage, value) of all pairs, and negatives of value 0 if the values do not differ."""
    pairs = _sample(_weighted(request.pairs), request.max_pairs, seed=request.seed, what="labelled pairs")
    values = [value(pair.label) for pair in pairs]
    for pair, own in zip(pairs, values, strict=True):
        yield pair.query, pair.positive, own
        for text in pair.negatives[:_MOST_LISTED]:
            yield pair.query, text, 0.0
    flat = len(set(values)) < 2 and not any(pair.negatives for pair in pairs)
    if flat or request.count:
        positives = [pair for pair in pairs if request.scale.is_positive(pair.label) and not pair.negatives]
        if not positives and flat:
            raise ConfigError(
                f"All {len(pairs)} training pairs have the label {pairs[0].label:g}, which is no positive: "
                "a loss over scores needs pairs that differ. Set dataset.positive_from, or give labels."
            )
        drawn = request.negatives.draw(positives, max(request.count or 1, 1)) if positives else []
        for pair, texts in zip(positives, drawn, strict=True):
            for text in texts:
                yield pair.query, text, 0.0


def _scored_rows(request: RowRequest) -> Rows:
    """Return (text_a, text_b, score from 0 to 1) rows."""
    first, second, scores = map(list, zip(*_labelled(request, request.scale.score), strict=True))
    return _unkeyed({"text_a": first, "text_b": second, "score": scores})


def _binary_rows(request: RowRequest) -> Rows:
    """Return (text_a, text_b, 0 or 1) rows."""
    rows = _labelled(request, lambda label: float(request.scale.is_positive(label)))
    first, second, matches = map(list, zip(*rows, strict=True))
    return _unkeyed({"text_a": first, "text_b": second, "label": [int(match) for match in matches]})


def _class_rows(request: RowRequest) -> Rows:
    """Return (text_a, text_b, class) rows; classes are the distinct whole-number labels, in rising order.

    Pairs without labels make two classes: matches, and negatives that were drawn for them.

    Raises:
        ConfigError: The labels are no classes.
    """
    labels = {pair.label for pair in request.pairs if pair.label is not None}
    if broken := sorted(label for label in labels if not float(label).is_integer()):
        raise ConfigError(
            f"loss=softmax reads classes, and the training pairs have scores such as {broken[0]:g}: choose "
            "loss=cosent, which reads scores, or give each class a whole number as its label."
        )
    if len(labels) > _MOST_CLASSES:
        raise ConfigError(
            f"loss=softmax reads classes, and the training pairs have {len(labels)} different labels, more "
            f"than {_MOST_CLASSES}: choose loss=cosent, which reads scores, or give fewer classes."
        )
    rows = _labelled(request, lambda label: 1.0 if label is None else label)
    first, second, values = map(list, zip(*rows, strict=True))
    classes = {label: number for number, label in enumerate(sorted(set(values)))}
    log.info(
        "Classes of the training rows: %s",
        ", ".join(f"label {label:g} ({values.count(label)} rows)" for label in classes),
    )
    columns = {"text_a": first, "text_b": second, "label": [classes[label] for label in values]}
    return _unkeyed(columns, outputs=len(classes))


# Distillation rows


def _ranked_rows(request: RowRequest) -> Rows:
    """Return (anchor, positive, negative_1 …, scores) rows, with the teacher's score for each passage.

    Raises:
        ConfigError: The loss has no teacher, or no query has labels that can serve as its scores.
        DataError: The teacher gave a score that is not a number.
    """
    teacher = _teacher(request)
    if isinstance(teacher, Labels):
        rankings, scores = _rankings_from_labels(request, teacher)
    else:
        positives = _positives(request)
        negatives = _required_negatives(request, positives)
        count = min(map(len, negatives))
        rankings = [
            (pair.query, (pair.positive, *texts[:count]))
            for pair, texts in zip(positives, negatives, strict=True)
        ]
        scores = _scores(teacher, rankings)
    return _scored_lists(rankings, scores)


def _scored_lists(rankings: Sequence[_Ranking], scores: list[list[float]]) -> Rows:
    """Return the rows of equally long rankings and their scores."""
    columns: dict[str, Column] = {"anchor": [query for query, _ in rankings]}
    for rank in range(len(rankings[0][1])):
        columns[f"negative_{rank}" if rank else "positive"] = [passages[rank] for _, passages in rankings]
    columns["scores"] = scores
    return _unkeyed(columns)


def _list_rows(request: RowRequest) -> Rows:
    """Return (anchor, positive, negative_1 …, scores) rows, with scores in [0, 1].

    The passages are those that the untuned model or BM25 would find. Lists of which the teacher thinks the
    same throughout teach nothing and are left out.

    Raises:
        ConfigError: The loss has no teacher, or there is only one training passage.
        DataError: The teacher gave a score that is not a number, or the same everywhere.
    """
    import numpy as np

    teacher = _teacher(request)
    if isinstance(teacher, Labels):
        rankings, scores = _rankings_from_labels(request, teacher)
    else:
        positives = _positives(request)
        most = request.max_negatives if request.count is None else request.count
        length = 1 + max(most if most is not None else _MOST_LISTED, 1)
        lists = passage_lists(positives, request.pool, _untuned(request), length=length)
        rankings = [(pair.query, texts) for pair, texts in zip(positives, lists, strict=True)]
        scores = _scores(teacher, rankings)
    scaled = to_unit_range(scores)
    kept = np.flatnonzero(scaled.max(axis=1) > scaled.min(axis=1)).tolist()
    if len(kept) < len(rankings):
        log.info(
            "%d of %d queries are left out: the teacher gives all their passages the same score.",
            *(len(rankings) - len(kept), len(rankings)),
        )
    return _scored_lists([rankings[at] for at in kept], scaled[kept].tolist())


def _untuned(request: RowRequest) -> Embedder:
    if request.embedder is None:
        raise ConfigError("Lists of passages are made with the untuned model: give RowRequest an embedder.")
    return request.embedder


def _vector_rows(request: RowRequest) -> Rows:
    """Return (anchor, positive, label) rows, where a label holds the teacher's vectors of both texts.

    Raises:
        ConfigError: The teacher gives no vectors.
    """
    teacher = _teacher(request)
    pairs = list({(pair.query, pair.positive): pair for pair in request.pairs}.values())
    pairs = _sample(pairs, request.max_pairs, seed=request.seed, what="pairs")
    vectors = teacher.vectors([(pair.query, pair.positive) for pair in pairs])
    columns: dict[str, Column] = {
        "anchor": [pair.query for pair in pairs],
        "positive": [pair.positive for pair in pairs],
        "label": [list(both) for both in vectors],
    }
    return _unkeyed(columns, outputs=vectors.shape[2])


def _target_rows(request: RowRequest) -> Rows:
    """Return (anchor, label) rows, where a label is the vector that the query should have.

    Raises:
        ConfigError: The loss gives no targets.
    """
    if request.targets is None:
        raise ConfigError(
            "Only loss=query_distill reads targets: a loss of your own derives from QueryDistill."
        )
    queries = list(dict.fromkeys(pair.query for pair in request.pairs))
    queries = _sample(queries, request.max_pairs, seed=request.seed, what="queries")
    targets = request.targets(queries, request.pool.texts)
    return _unkeyed({"anchor": queries, "label": list(targets)})


def _teacher(request: RowRequest) -> Teacher:
    if request.teacher is None:
        raise ConfigError(NO_TEACHER)
    return request.teacher


def _scores(teacher: Teacher, rankings: Sequence[_Ranking]) -> list[list[float]]:
    import numpy as np

    pairs = [(query, passage) for query, passages in rankings for passage in passages]
    scores = np.asarray(teacher.scores(pairs), dtype=np.float32)
    if (broken := np.flatnonzero(~np.isfinite(scores))).size:
        query, passage = pairs[broken[0]]
        raise DataError(
            f"The teacher scores {query[:60]!r} with {passage[:60]!r} as {scores[broken[0]]}: its weights "
            "are broken; choose another teacher."
        )
    nested: list[list[float]] = scores.reshape(len(rankings), -1).tolist()
    return nested


def _rankings_from_labels(request: RowRequest, teacher: Labels) -> tuple[list[_Ranking], list[list[float]]]:
    """Return each query's labelled passages, best first, and their labels as scores."""
    queries: dict[str, dict[str, Pair]] = {}
    for pair in request.pairs:
        queries.setdefault(pair.query, {}).setdefault(pair.positive, pair)
    count = max(request.count or 1, 1)
    rankings, scores = [], []
    for labelled in queries.values():
        best, *others = sorted(labelled.values(), key=lambda pair: -request.scale.score(pair.label))
        random.Random(f"{request.seed}:{best.query}").shuffle(others)
        for start in range(0, len(others) - count + 1, count):
            passages = [best, *others[start : start + count]]
            rankings.append((best.query, tuple(pair.positive for pair in passages)))
            scores.append([teacher.scale * request.scale.score(pair.label) for pair in passages])
    if not any(len(set(row)) > 1 for row in scores):
        raise ConfigError(
            f"loss.teacher takes its scores from the labels of the {len(request.pairs)} training pairs, and "
            f"no query has {count + 1} passages with different labels: give such pairs, lower "
            "trainer.hard_negatives, or name a model (teacher@loss.teacher=cross_encoder)."
        )
    chosen = _sample(range(len(rankings)), request.max_pairs, seed=request.seed, what="queries with passages")
    return [rankings[at] for at in chosen], [scores[at] for at in chosen]


def _unkeyed(columns: Mapping[str, Column], outputs: int | None = None) -> Rows:
    """Return rows that may share a batch with any other."""
    count = len(next(iter(columns.values())))
    return Rows(columns=dict(columns), keys=[RowKeys()] * count, outputs=outputs)


_BUILDERS: dict[str, Callable[[RowRequest], Rows]] = {
    "pairs": _pair_rows,
    "triplets": _triplet_rows,
    "scored": _scored_rows,
    "binary": _binary_rows,
    "classes": _class_rows,
    "ranked": _ranked_rows,
    "lists": _list_rows,
    "vectors": _vector_rows,
    "targets": _target_rows,
}
