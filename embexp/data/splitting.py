"""Train, dev and test splits that share no document: what must stay together, and how it is drawn."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from annotated_types import Interval

from embexp.data.labels import LabelScale, LabelSettings, label_scale
from embexp.data.records import CUT_OUT, NEVER_TRAINED, TEST_ONLY, Pair
from embexp.data.sampling import shuffle_key
from embexp.errors import ConfigError, DataError
from embexp.ranges import Count, ShareBelowOne, check_ranges

log = logging.getLogger(__name__)

HUMAN = "human"
"""The query type of what people asked."""
FEW_PEOPLE = 20
"""With questions of people about as many documents, dev and test ask them, however many others there are."""

MIN_DEV_QUESTIONS = 20
"""Fewer dev questions cannot tell two models, or two weights of BM25, apart."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Train, dev and test pairs; no document is in two of them, unless the data set splits itself that way.

    ``scale`` says how labels are read, the same in all three; None reads it off their labels.
    """

    train: Sequence[Pair]
    dev: Sequence[Pair]
    test: Sequence[Pair]
    scale: LabelScale | None = None

    def label_scale(self) -> LabelScale:
        """Return how labels are read: ``scale``, or what the labels of all three splits show."""
        return self.scale or label_scale([*self.train, *self.dev, *self.test])


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How pairs are divided, and how similar two texts of different splits may be.

    Args:
        dev: The share of documents whose questions choose the best checkpoint.
        test: The share of documents whose questions give the verdict.
        max_train: The most training pairs; None for all.
        max_dev: The most dev questions; None for all.
        max_test: The most test questions, where the data set has no test split of its own; None for all.
        test_types: The query types that dev and test may ask, in order of preference; the first one that
            enough documents have is used.
        train_on_test_type: Whether to train on questions of the type that the test asks, too.
        dev_by: How to split dev off train where the data set has its own test split: by "document", by
            "query", or "auto": by query if most of its test documents are in train too.
        near_duplicate_passages: Jaccard similarity from which two passages count as the same.
        near_duplicate_queries: Jaccard similarity from which two questions count as the same.
    """

    dev: ShareBelowOne = 0.1
    test: ShareBelowOne = 0.2
    max_train: Count | None = None
    max_dev: Count | None = 300
    max_test: Count | None = 1000
    test_types: list[str] = field(default_factory=lambda: ["human", "faq", "summary", "sentence", "comment"])
    train_on_test_type: bool = True
    dev_by: Literal["auto", "document", "query"] = "auto"
    near_duplicate_passages: Annotated[float, Interval(ge=0.5, le=1)] = 0.8
    near_duplicate_queries: Annotated[float, Interval(ge=0.5, le=1)] = 0.9

    def __post_init__(self) -> None:
        check_ranges(self, "split")
        if self.dev + self.test >= 1:
            raise ConfigError(
                f"split.dev={self.dev}, split.test={self.test}: give shares that leave some for "
                "training, as in split.dev=0.1 split.test=0.2."
            )
        if self.dev_by not in ("auto", "document", "query"):
            raise ConfigError(f"split.dev_by={self.dev_by}: choose auto, document or query.")


def split_by_document(
    pairs: Iterable[Pair],
    settings: SplitSettings,
    *,
    seed: int = 0,
    need_train: bool = True,
    labels: LabelSettings | None = None,
) -> Splits:
    """Divide pairs by document; pairs with a ``split`` of their own keep it.

    Args:
        pairs: All pairs, in any order: the result depends on their content and the seed alone.
        settings: Shares, limits, and which query types dev and test may ask.
        seed: Draws the documents.
        need_train: Whether an empty training split is an error.
        labels: How the labels of the pairs are read; None reads the scale off the labels.

    Returns:
        The three splits. Questions about test documents that the test does not ask are in none of them,
        nor are held-out questions about training documents.

    Raises:
        DataError: There are fewer documents than splits, or nothing is left to train on.
    """
    ordered = sorted(pairs, key=lambda pair: _pair_key(seed, pair))
    dev, test = ([pair for pair in ordered if pair.split == name] for name in ("dev", "test"))
    train = [pair for pair in ordered if pair.split in (None, "train")]
    own_test = bool(test)
    missing = [
        name
        for name, share, given in (("test", settings.test, test), ("dev", settings.dev, dev))
        if share and train and not given
    ]
    query_type = None
    if missing:
        groups = _groups(train, test, settings)
        _check_enough(groups, needed=len(missing) + need_train)
        groups.sort(key=lambda group: shuffle_key(seed, group.id))
        query_type, held_out, groups = _hold_out(groups, missing, settings, need_train=need_train)
        dev, test = held_out.get("dev", dev), held_out.get("test", test)
        train = sorted(
            (pair for group in groups for pair in group.pairs), key=lambda pair: _pair_key(seed, pair)
        )
    if query_type and not settings.train_on_test_type:
        train = [pair for pair in train if pair.query_type != query_type]
    train = [pair for pair in train if pair.generator.kind not in NEVER_TRAINED]
    scale = label_scale(ordered, labels)
    splits = Splits(_spread(train, settings.max_train), _spread(dev, settings.max_dev), test, scale)
    if need_train and not splits.train:
        raise _nothing_to_train_on(splits, query_type, settings)
    log.info(
        "Split into %s train, %s dev, %s test pairs (%s).",
        *(f"{len(part):,}" for part in (splits.train, splits.dev, splits.test)),
        "the data set's own test" if own_test else f"test questions are of the type {query_type or 'any'}",
    )
    return splits


def _hold_out(
    groups: list[_Group], missing: Sequence[str], settings: SplitSettings, *, need_train: bool
) -> tuple[str | None, dict[str, list[Pair]], list[_Group]]:
    """Return the type that dev and test ask, the missing ones' pairs, and the groups left for training."""
    quotas = _quotas(groups, settings)
    query_type = _type_to_ask(groups, [quotas[name] for name in missing], settings)
    _warn_of_few_people(groups, query_type)
    wanted = quotas["dev"]
    if query_type == HUMAN:
        quotas = _quotas_of_people(groups, quotas, missing)
    _shrink(quotas, missing, _room(groups, query_type, need_train=need_train))
    held_out: dict[str, list[Pair]] = {}
    if "test" in missing:
        chosen, groups = _take(groups, query_type, quotas["test"])
        held_out["test"] = _spread(_asked(chosen, query_type), settings.max_test)
    if "dev" in missing:
        chosen, groups = _take(groups, query_type, quotas["dev"], questions=settings.max_dev)
        held_out["dev"], groups = _enough_for_dev(chosen, groups, query_type, documents=wanted)
    return query_type, held_out, groups


def _nothing_to_train_on(splits: Splits, query_type: str | None, settings: SplitSettings) -> DataError:
    remedy = (
        "set split.train_on_test_type=true"
        if query_type and not settings.train_on_test_type
        else "add pairs, or choose a synthesis that writes some (synthesis=extractive)"
    )
    return DataError(f"Nothing is left to train on ({len(splits.test)} test pairs, no train pair): {remedy}.")


def _pair_key(seed: int, pair: Pair) -> tuple[bytes, str]:
    return shuffle_key(seed, f"{pair.id}\0{pair.query_id}\0{pair.document_id}")


@dataclass(frozen=True)
class _Group:
    """Pairs that go into one split together; ``size`` counts towards the split's share."""

    id: str
    pairs: Sequence[Pair]
    documents: frozenset[str]
    size: int

    def asks(self, query_type: str | None) -> bool:
        """Return whether a pair here is of this query type; None stands for any."""
        return query_type is None or any(pair.query_type == query_type for pair in self.pairs)


def _groups(train: Sequence[Pair], test: Sequence[Pair], settings: SplitSettings) -> list[_Group]:
    """Group what dev and test are drawn from: by document, or by query where the data set does so itself."""
    tested = {pair.document_id for pair in test}
    shared = tested & {pair.document_id for pair in train if pair.split == "train"}
    follows_query = settings.dev_by == "auto" and len(shared) > len(tested) / 2
    if test and (settings.dev_by == "query" or follows_query):
        return _by_query(train)
    return _by_document(train)


def _by_query(pairs: Iterable[Pair]) -> list[_Group]:
    """Return a group of size 1 for each question."""
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        grouped[pair.query_key].append(pair)
    return [_Group(name, members, _documents(members), 1) for name, members in grouped.items()]


def _by_document(pairs: Iterable[Pair]) -> list[_Group]:
    """Return the connected components of documents that answer the same question.

    The size of a group is its number of documents.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    questions = _by_query(pairs)
    ties = [_tied_documents(question) for question in questions]
    documents = {name: at for at, name in enumerate(sorted(set().union(*ties)))}
    edges = [(at, len(questions) + documents[name]) for at, names in enumerate(ties) for name in names]
    size = len(questions) + len(documents)
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (rows, columns)), shape=(size, size))
    _, components = connected_components(graph, directed=False)
    members: dict[int, list[Pair]] = defaultdict(list)
    for at, question in enumerate(questions):
        members[int(components[at])].extend(question.pairs)
    tied = ((pairs, _documents(pairs)) for pairs in members.values())
    return [_Group(min(names), pairs, names, len(names)) for pairs, names in tied]


def _tied_documents(question: _Group) -> set[str]:
    """Return the documents that must share a split with a question: all but those judged 0 or less.

    This bar is lower than that of a positive: a document that answers in part would give the rest away.
    """
    related = {pair.document_id for pair in question.pairs if pair.label is None or pair.label > 0}
    return related or {min(question.documents)}


def _documents(pairs: Iterable[Pair]) -> frozenset[str]:
    return frozenset(pair.document_id for pair in pairs)


def _check_enough(groups: Sequence[_Group], *, needed: int) -> None:
    if len(groups) >= needed:
        return
    documents = len({name for group in groups for name in group.documents})
    tied = f" that do not share a question, out of {documents}," if documents > len(groups) else ""
    raise DataError(
        f"The pairs come from {len(groups)} documents{tied} and the split needs at least {needed}, one for "
        "each of train, dev and test: add documents, or set split.dev=0 or split.test=0."
    )


def _quotas(groups: Sequence[_Group], settings: SplitSettings) -> dict[str, int]:
    """Return the sizes of dev and test, in documents (or in questions, where groups are questions)."""
    total = sum(group.size for group in groups)
    shares = {"dev": (settings.dev, settings.max_dev), "test": (settings.test, settings.max_test)}
    return {name: min(max(1, round(share * total)), most or total) for name, (share, most) in shares.items()}


def _type_to_ask(groups: Sequence[_Group], quotas: Sequence[int], settings: SplitSettings) -> str | None:
    """Choose the first query type that enough groups have, else the commonest of them; None for any type.

    Questions of people come first even where they are few, as long as there are enough to tell anything:
    what matters is whether theirs are answered. Those that are kept for the test are its questions in any
    case.
    """
    enough = min(sum(quotas), len(groups))
    counts = {name: sum(group.asks(name) for group in groups) for name in settings.test_types}
    if HUMAN in settings.test_types[:1] and counts[HUMAN] >= (1 if _kept_for_test(groups) else FEW_PEOPLE):
        return HUMAN
    usable = [name for name in settings.test_types if counts[name] >= len(quotas)]
    first = next((name for name in usable if counts[name] >= enough), None)
    return first or max(usable, key=lambda name: counts[name], default=None)


def _warn_of_few_people(groups: Sequence[_Group], query_type: str | None) -> None:
    """Warn where people's questions are too few to be the test, and others are."""
    asked = sum(group.asks(HUMAN) for group in groups)
    if asked and query_type not in (HUMAN, None):
        log.warning(
            "People's questions are about %d documents, too few to test on: dev and test ask questions of "
            "the type %s. Give questions about %d documents or more.",
            *(asked, query_type, FEW_PEOPLE),
        )


def _kept_for_test(groups: Sequence[_Group]) -> bool:
    """Return whether people ask anything, and all that they ask is kept for the test."""
    people = [pair for group in groups for pair in group.pairs if pair.query_type == HUMAN]
    return bool(people) and all(pair.generator.kind == TEST_ONLY for pair in people)


def _quotas_of_people(
    groups: Sequence[_Group], quotas: Mapping[str, int], missing: Sequence[str]
) -> dict[str, int]:
    """Return the sizes of dev and test where people ask about a part of the documents, or for the test alone.

    Of the documents that they ask about, the test gets at most a half and dev a fifth, so that some train;
    all of them, if the questions are kept for the test.
    """
    asked = [group for group in groups if group.asks(HUMAN)]
    kept = _kept_for_test(groups)
    if len(asked) == len(groups) and not kept:
        return dict(quotas)
    size = sum(group.size for group in asked)
    dev = min(quotas["dev"], max(size // 5, 0 if kept else 1)) if "dev" in missing else 0
    test = size - dev if kept else min(quotas["test"], max(1, size // 2))
    return {"dev": dev, "test": test}


def _room(groups: Sequence[_Group], query_type: str | None, *, need_train: bool) -> int:
    """Return how much may leave training: all that can be asked, but one group if nothing else stays."""
    sizes = [group.size for group in groups if group.asks(query_type)]
    return sum(sizes) - (min(sizes) if need_train and len(sizes) == len(groups) else 0)


def _shrink(quotas: dict[str, int], missing: Sequence[str], room: int) -> None:
    """Reduce the quotas to the room there is, in proportion, each at least 1."""
    if sum(quotas[name] for name in missing) <= room:
        return
    if len(missing) == 2:
        quotas["test"] = max(1, room * quotas["test"] // (quotas["test"] + quotas["dev"]))
        quotas["dev"] = max(1, room - quotas["test"])
    else:
        quotas[missing[0]] = max(1, room)


def _take(
    groups: Sequence[_Group], query_type: str | None, quota: int, *, questions: int | None = None
) -> tuple[list[_Group], list[_Group]]:
    """Take groups that can be asked this type until ``quota`` or ``questions`` is reached; return both parts.

    A group that is larger than what is still missing stays in training, so that one cluster of documents
    that share questions does not become the whole test.
    """
    chosen: list[_Group] = []
    size = asked = 0
    for group in groups:
        if size >= quota or (questions and asked >= questions):
            break
        if group.asks(query_type) and size + group.size <= quota:
            chosen.append(group)
            size += group.size
            asked += len({pair.query_key for pair in _asked([group], query_type)})
    if quota and not chosen:
        chosen = [min((group for group in groups if group.asks(query_type)), key=lambda group: group.size)]
    taken = {group.id for group in chosen}
    return chosen, [group for group in groups if group.id not in taken]


def _asked(groups: Iterable[_Group], query_type: str | None) -> list[Pair]:
    """Return the pairs of this type, one for each chunk where the query was cut out of the chunk.

    The test corpus can leave one query out of a chunk, not two.
    """
    used: set[str] = set()
    asked: list[Pair] = []
    for group in groups:
        for pair in group.pairs:
            if query_type is not None and pair.query_type != query_type:
                continue
            if pair.chunk_id and pair.query_type in CUT_OUT:
                if pair.chunk_id in used:
                    continue
                used.add(pair.chunk_id)
            asked.append(pair)
    return asked


def _enough_for_dev(
    chosen: Sequence[_Group], groups: Sequence[_Group], query_type: str | None, *, documents: int
) -> tuple[list[Pair], list[_Group]]:
    """Return the dev questions, of several types where one has too few, and the groups that are left.

    Too few questions of the chosen type decide nothing, so that questions of other types are asked as well:
    first about the same documents, then about others, up to dev's share of the documents. Where even they
    do not make ``MIN_DEV_QUESTIONS``, dev asks the chosen type alone, and whoever chooses by it must say so.
    """
    dev, taken = _asked(chosen, query_type), list(chosen)
    asked = len({pair.query_key for pair in dev})
    if query_type is None or asked >= MIN_DEV_QUESTIONS:
        return dev, list(groups)
    room = documents - sum(group.size for group in chosen)
    for group in groups:
        if room >= group.size and len(groups) > len(taken) - len(chosen) + 1:
            taken.append(group)
            room -= group.size
    mixed = _asked([_of_type_first(group, query_type) for group in taken], None)
    if len({pair.query_key for pair in mixed}) < MIN_DEV_QUESTIONS:
        return dev, list(groups)
    counts = Counter(pair.query_type for pair in mixed)
    log.warning(
        "Dev has only %d questions of the type %s, too few to select weights by: questions of other types "
        "are added (%s).",
        *(asked, query_type, ", ".join(f"{name} {count}" for name, count in counts.most_common())),
    )
    names = {group.id for group in taken}
    return mixed, [group for group in groups if group.id not in names]


def _of_type_first(group: _Group, query_type: str) -> _Group:
    return replace(group, pairs=sorted(group.pairs, key=lambda pair: pair.query_type != query_type))


def _spread(pairs: Sequence[Pair], limit: int | None) -> list[Pair]:
    """Keep ``limit`` questions with all their judgments, spread as evenly over the documents as possible."""
    by_document: Counter[str] = Counter()
    turns: dict[str, int] = {}
    for pair in pairs:
        if pair.query_key not in turns:
            turns[pair.query_key] = by_document[pair.document_id]
            by_document[pair.document_id] += 1
    # Sorting is stable: within a turn the drawn order stays.
    kept = set(sorted(turns, key=lambda query: turns[query])[:limit])
    return [pair for pair in pairs if pair.query_key in kept]
