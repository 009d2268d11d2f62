"""What must stay together: documents that share a question, and all judgments of one question."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from embexp.data.records import HELD_OUT, Pair, Splits
from embexp.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Group:
    """Pairs that go into one split together; ``size`` counts towards a split's share."""

    id: str
    pairs: Sequence[Pair]
    documents: frozenset[str]
    size: int

    def asks(self, kind: str | None) -> bool:
        """Say whether a pair here is of this kind; None stands for any."""
        return kind is None or any(pair.query_type == kind for pair in self.pairs)


def draw(seed: int, name: str) -> tuple[bytes, str]:
    """Return a sort key that puts names in an order that depends on the seed and on nothing else."""
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), name


def query_of(pair: Pair) -> str:
    """Return the id that all judgments of the pair's question share."""
    return pair.query_id or pair.id


def by_query(pairs: Iterable[Pair]) -> list[Group]:
    """Return a group of size 1 for each question."""
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        grouped[query_of(pair)].append(pair)
    return [Group(name, members, _documents(members), 1) for name, members in grouped.items()]


def by_document(pairs: Iterable[Pair]) -> list[Group]:
    """Return the connected components of documents that are positives of the same question.

    A group's size is its number of documents.
    A document that is only judged irrelevant (label 0 or less) to a question is not tied to it.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    questions = by_query(pairs)
    documents = {name: at for at, name in enumerate(sorted({d for q in questions for d in _ties(q)}))}
    edges = [(at, len(questions) + documents[name]) for at, q in enumerate(questions) for name in _ties(q)]
    size = len(questions) + len(documents)
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (rows, columns)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    members: dict[int, list[Pair]] = defaultdict(list)
    for at, question in enumerate(questions):
        members[int(labels[at])].extend(question.pairs)
    tied = ((pairs, _documents(pairs)) for pairs in members.values())
    return [Group(min(names), pairs, names, len(names)) for pairs, names in tied]


def _ties(question: Group) -> set[str]:
    relevant = {pair.document_id for pair in question.pairs if pair.label is None or pair.label > 0}
    return relevant or {min(question.documents)}


def _documents(pairs: Iterable[Pair]) -> frozenset[str]:
    return frozenset(pair.document_id for pair in pairs)


CUT_OUT = frozenset({"summary", "title", "heading", "sentence"})
"""Kinds whose query was taken out of its chunk: the test corpus can leave out one a chunk, not two."""


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How pairs are divided and how alike two texts of different splits may be.

    Args:
        dev: The share of documents whose questions choose the best checkpoint.
        test: The share of documents whose questions give the verdict.
        max_train: The most training pairs; None for all.
        max_dev: The most dev questions; None for all.
        max_test: The most test questions where we draw the test; None for all.
        test_types: The kinds of question that may stand in dev and test; the first that enough
            documents have is taken.
        train_on_test_type: Whether training may use questions of the kind that the test asks.
        dev_by: What dev is carved out by where a set brings its own test: "document", "query", or
            "auto", which follows the set: by query if most of its test documents are also trained on.
        near_duplicate_passages: Jaccard similarity from which two passages count as the same.
        near_duplicate_queries: Jaccard similarity from which two questions count as the same.
    """

    dev: float = 0.1
    test: float = 0.2
    max_train: int | None = None
    max_dev: int | None = 300
    max_test: int | None = 1000
    test_types: list[str] = field(default_factory=lambda: ["human", "summary", "sentence"])
    train_on_test_type: bool = True
    dev_by: Literal["auto", "document", "query"] = "auto"
    near_duplicate_passages: float = 0.8
    near_duplicate_queries: float = 0.9

    def __post_init__(self) -> None:
        if self.dev < 0 or self.test < 0 or self.dev + self.test >= 1:
            raise ConfigError(
                f"split.dev={self.dev}, split.test={self.test}: give shares from 0 up that leave some for "
                "training, as in split.dev=0.1 split.test=0.2."
            )
        for name in ("max_train", "max_dev", "max_test"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(
                    f"split.{name}={value}: give a whole number from 1 up, or null for no limit."
                )
        for name in ("near_duplicate_passages", "near_duplicate_queries"):
            if not 0.5 <= getattr(self, name) <= 1:
                raise ConfigError(f"split.{name}={getattr(self, name)}: give a similarity from 0.5 to 1.")
        if self.dev_by not in ("auto", "document", "query"):
            raise ConfigError(f"split.dev_by={self.dev_by}: choose auto, document or query.")


def split_by_document(
    pairs: Iterable[Pair], settings: SplitSettings, *, seed: int = 0, need_train: bool = True
) -> Splits:
    """Divide pairs by document; those that bring a split of their own keep it.

    Args:
        pairs: All pairs, in any order: the result depends on their content and the seed alone.
        settings: Shares, limits, and which kinds of question may be asked in dev and test.
        seed: Draws the documents.
        need_train: Whether an empty training split is an error.

    Returns:
        The three splits. Questions about test documents that the test does not ask are in none of them,
        nor are held-out questions about training documents.

    Raises:
        DataError: There are fewer documents than splits, or nothing is left to train on.
    """
    ordered = sorted(pairs, key=lambda pair: _draw(seed, pair))
    dev, test = ([pair for pair in ordered if pair.split == name] for name in ("dev", "test"))
    train = [pair for pair in ordered if pair.split in (None, "train")]
    own = bool(test)
    wanted = [
        name
        for name, share, brought in (("test", settings.test, test), ("dev", settings.dev, dev))
        if share and train and not brought
    ]
    kind = None
    if wanted:
        groups = _grouped(train, test, settings)
        _check_enough(groups, needed=len(wanted) + need_train)
        groups.sort(key=lambda group: draw(seed, group.id))
        quotas = _quotas(groups, settings)
        kind = _kind_to_ask(groups, [quotas[name] for name in wanted], settings)
        _shrink(quotas, wanted, _room(groups, kind, need_train=need_train))
        if "test" in wanted:
            chosen, groups = _take(groups, kind, quotas["test"])
            test = _spread(_asked(chosen, kind), settings.max_test)
        if "dev" in wanted:
            chosen, groups = _take(groups, kind, quotas["dev"], questions=settings.max_dev)
            dev = _asked(chosen, kind)
        train = sorted((pair for group in groups for pair in group.pairs), key=lambda pair: _draw(seed, pair))
    if kind and not settings.train_on_test_type:
        train = [pair for pair in train if pair.query_type != kind]
    train = [pair for pair in train if pair.generator.kind != HELD_OUT]
    splits = Splits(_spread(train, settings.max_train), _spread(dev, settings.max_dev), test)
    _check_and_tell(splits, kind, own=own, need_train=need_train, settings=settings)
    return splits


def _draw(seed: int, pair: Pair) -> tuple[bytes, str]:
    return draw(seed, f"{pair.id}\0{pair.query_id}\0{pair.document_id}")


def _grouped(train: Sequence[Pair], test: Sequence[Pair], settings: SplitSettings) -> list[Group]:
    """Group what dev and test are drawn from: by document, or by query where the set does so itself."""
    tested = {pair.document_id for pair in test}
    shared = tested & {pair.document_id for pair in train if pair.split == "train"}
    follows_query = settings.dev_by == "auto" and len(shared) > len(tested) / 2
    if test and (settings.dev_by == "query" or follows_query):
        return by_query(train)
    return by_document(train)


def _check_enough(groups: Sequence[Group], *, needed: int) -> None:
    if len(groups) >= needed:
        return
    documents = len({name for group in groups for name in group.documents})
    tied = f" that do not share a question, out of {documents}," if documents > len(groups) else ""
    raise DataError(
        f"The pairs come from {len(groups)} documents{tied} and the split needs at least {needed}, one for "
        "each of train, dev and test: add documents, or set split.dev=0 or split.test=0."
    )


def _quotas(groups: Sequence[Group], settings: SplitSettings) -> dict[str, int]:
    """Return how large dev and test become, in documents (or in questions, where groups are those)."""
    total = sum(group.size for group in groups)
    shares = {"dev": (settings.dev, settings.max_dev), "test": (settings.test, settings.max_test)}
    return {name: min(max(1, round(share * total)), most or total) for name, (share, most) in shares.items()}


def _kind_to_ask(groups: Sequence[Group], quotas: Sequence[int], settings: SplitSettings) -> str | None:
    """Choose the first kind that enough groups have; if none, the commonest of them; None for any kind."""
    enough = min(sum(quotas), len(groups))
    having = {kind: sum(group.asks(kind) for group in groups) for kind in settings.test_types}
    usable = [kind for kind in settings.test_types if having[kind] >= len(quotas)]
    first = next((kind for kind in usable if having[kind] >= enough), None)
    return first or max(usable, key=lambda kind: having[kind], default=None)


def _room(groups: Sequence[Group], kind: str | None, *, need_train: bool) -> int:
    """Return how much of what can be asked may leave training: all of it, if other groups stay there."""
    sizes = [group.size for group in groups if group.asks(kind)]
    return sum(sizes) - (min(sizes) if need_train and len(sizes) == len(groups) else 0)


def _shrink(quotas: dict[str, int], wanted: Sequence[str], room: int) -> None:
    """Bring quotas down to the room there is, in proportion, each at least 1."""
    if sum(quotas[name] for name in wanted) > room and len(wanted) == 2:
        quotas["test"] = max(1, room * quotas["test"] // (quotas["test"] + quotas["dev"]))
        quotas["dev"] = max(1, room - quotas["test"])
    elif sum(quotas[name] for name in wanted) > room:
        quotas[wanted[0]] = max(1, room)


def _take(
    groups: Sequence[Group], kind: str | None, quota: int, *, questions: int | None = None
) -> tuple[list[Group], list[Group]]:
    """Move groups that ask this kind out of the pool until ``quota`` is reached or enough questions are in.

    A group that is larger than what is still wanted stays in training, so that one knot of documents
    that share questions does not become the whole test.
    """
    chosen: list[Group] = []
    size = asked = 0
    for group in groups:
        if size >= quota or (questions and asked >= questions):
            break
        if group.asks(kind) and size + group.size <= quota:
            chosen.append(group)
            size += group.size
            asked += len({query_of(pair) for pair in _asked([group], kind)})
    if not chosen:
        fitting = [group for group in groups if group.asks(kind)]
        chosen = [min(fitting, key=lambda group: group.size)]
    taken = {group.id for group in chosen}
    return chosen, [group for group in groups if group.id not in taken]


def _asked(groups: Iterable[Group], kind: str | None) -> list[Pair]:
    """Return the pairs of this kind, one a chunk where the query was cut out of it."""
    used: set[str] = set()
    asked: list[Pair] = []
    for group in groups:
        for pair in group.pairs:
            if kind is not None and pair.query_type != kind:
                continue
            if pair.chunk_id and pair.query_type in CUT_OUT:
                if pair.chunk_id in used:
                    continue
                used.add(pair.chunk_id)
            asked.append(pair)
    return asked


def _spread(pairs: Sequence[Pair], most: int | None) -> list[Pair]:
    """Keep ``most`` questions with all their judgments, as many from each document as from any other."""
    by_document: Counter[str] = Counter()
    turns: dict[str, int] = {}
    for pair in pairs:
        if query_of(pair) not in turns:
            turns[query_of(pair)] = by_document[pair.document_id]
            by_document[pair.document_id] += 1
    # Sorting is stable: within a turn the drawn order stays.
    kept = set(sorted(turns, key=lambda query: turns[query])[:most])
    return [pair for pair in pairs if query_of(pair) in kept]


def _check_and_tell(
    splits: Splits, kind: str | None, *, own: bool, need_train: bool, settings: SplitSettings
) -> None:
    if need_train and not splits.train:
        remedy = (
            "set split.train_on_test_type=true"
            if kind and not settings.train_on_test_type
            else "add pairs, or choose a synthesis that writes some (synthesis=extractive)"
        )
        raise DataError(
            f"Nothing is left to train on ({len(splits.test)} test pairs, no train pair): {remedy}."
        )
    counts = ", ".join(f"{len(getattr(splits, name)):,} {name}" for name in ("train", "dev", "test"))
    log.info(
        "Split into %s pairs (%s).",
        counts,
        "the set's own test" if own else f"test questions are of the kind {kind or 'any'}",
    )
