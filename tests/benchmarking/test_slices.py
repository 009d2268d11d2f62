import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.slices import changed_documents, slices
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk


def build(texts, corpus, qrels, unit="document", types=None):
    queries = [
        Query(name, text, cluster=f"d{name}", query_type=(types or {}).get(name, "human"))
        for name, text in texts.items()
    ]
    return RetrievalTask("t", corpus, queries, qrels, unit)


def scores(system, values):
    return Scores(system, {"ndcg@10": 0.0}, {name: {"ndcg@10": value} for name, value in values.items()})


def found(task, before, after, feature):
    cut = slices(task, scores("untuned", before), scores("tuned", after), metric="ndcg@10", resamples=100)
    return {each.name: each for each in cut if each.feature == feature}


CORPUS = [
    Chunk("c1", "d1", "red kettles boil"),
    Chunk("c2", "d1", "on a stove"),
    Chunk("c3", "d2", "red bicycles roll", title="Wheels"),
    Chunk("c4", "d3", "red pianos sing"),
]
TEXTS = {
    "a": "red kettles stove",
    "b": "wheels",
    "c": "what makes music loud in large old concert halls of stone",
}
QRELS = {"a": {"d1": 1, "d2": 0}, "b": {"d2": 1}, "c": {"d3": 2}}
BEFORE, AFTER = {"a": 0.5, "b": 0.2, "c": 0.0}, {"a": 0.5, "b": 0.6, "c": 0.3}


def test_questions_are_sorted_by_length():
    # 3, 1 and 11 words: (0.5 + 0.2) / 2 before and (0.5 + 0.6) / 2 after among the short ones
    cut = found(build(TEXTS, CORPUS, QRELS), BEFORE, AFTER, "length")
    assert list(cut) == ["1 to 5 words", "11 to 20 words"]
    short = cut["1 to 5 words"]
    assert (short.queries, short.clusters) == (2, 2)
    assert (short.before, short.after, short.delta) == pytest.approx((0.35, 0.55, 0.2))
    assert short.interval is None


@pytest.mark.parametrize(
    ("unit", "qrels", "expected"),
    [
        # All 3 words of a stand in d1, 1 of 1 of b in d2 (in its title), 0 of 11 of c in d3.
        ("document", QRELS, {"up to a third of the words": ["c"], "more than two thirds": ["a", "b"]}),
        # Of c1 alone, a shares 2 of its 3 words.
        (
            "chunk",
            {"a": {"c1": 1, "c2": 0}, "b": {"c3": 1}, "c": {"c4": 1}},
            {"up to a third of the words": ["c"], "up to two thirds": ["a"], "more than two thirds": ["b"]},
        ),
    ],
)
def test_shared_words_are_those_of_the_relevant_unit(unit, qrels, expected):
    cut = found(build(TEXTS, CORPUS, qrels, unit), BEFORE, AFTER, "shared words")
    assert {name: each.queries for name, each in cut.items()} == {
        name: len(members) for name, members in expected.items()
    }
    assert cut["up to a third of the words"].after == pytest.approx(0.3)


def test_rarity_is_the_mean_over_the_words_of_a_question():
    # ln(5/4) for red, in 3 of 4 chunks; ln(5/2) for a word of one chunk; ln 5 for one of none.
    cut = found(
        build({"a": "red", "b": "kettles", "c": "music"}, CORPUS, QRELS), BEFORE, AFTER, "rarity of terms"
    )
    assert {name: each.before for name, each in cut.items()} == pytest.approx(
        {"the most common third": 0.5, "the middle third": 0.2, "the rarest third": 0.0}
    )


def test_a_feature_that_tells_no_questions_apart_is_left_out():
    assert found(build(TEXTS, CORPUS, QRELS), BEFORE, AFTER, "query type") == {}
    types = {"a": "title", "b": "title"}
    assert list(found(build(TEXTS, CORPUS, QRELS, types=types), BEFORE, AFTER, "query type")) == [
        "title",
        "human",
    ]


def test_slices_of_enough_documents_have_an_interval():
    texts = {f"q{n:02}": "short one" if n < 12 else "a longer one that has seven words" for n in range(24)}
    qrels = {name: {"d1": 1} for name in texts}
    before = dict.fromkeys(texts, 0.2)
    after = {name: 0.2 + int(name[1:]) / 100 for name in texts}
    cut = found(build(texts, CORPUS, qrels), before, after, "length")
    # The mean of 0 to 11 hundredths
    assert cut["1 to 5 words"].delta == pytest.approx(0.055)
    low, high = cut["1 to 5 words"].interval
    assert 0 < low < 0.055 < high


def test_a_question_without_words_is_kept():
    cut = found(build({**TEXTS, "a": "?!"}, CORPUS, QRELS), BEFORE, AFTER, "shared words")
    assert sum(each.queries for each in cut.values()) == 3


# document -> the differences of its questions
CHANGES = {
    "up": [0.5, 0.3],  # +0.8 in sum
    "many": [0.1] * 12,  # +1.2
    "down": [-0.4, 0.1],  # -0.3
    "same": [0.0, 0.0],
    "lone": [1.0],
}


@pytest.fixture
def changed():
    queries, base, tuned = [], {}, {}
    for name, changes in CHANGES.items():
        for at, change in enumerate(changes):
            query = Query(f"{name}{at}", "?", name)
            queries.append(query)
            base[query.id], tuned[query.id] = {"m": 0.5}, {"m": 0.5 + change}
    corpus = [Chunk(f"c{n}", n, "text", title=f"Title of {n} > Part" if n == "up" else "") for n in CHANGES]
    qrels = {query.id: {query.cluster: 1} for query in queries}
    task = RetrievalTask("kb", corpus, queries, qrels, "document")
    means = {"m": 0.5}
    return changed_documents(task, Scores("untuned", means, base), Scores("tuned", means, tuned), metric="m")


def test_documents_are_ranked_by_what_they_add_to_the_difference(changed):
    told = [(each.feature, each.name, each.queries, round(each.delta, 3)) for each in changed]
    assert told == [
        ("gaining most", "many", 12, 0.1),
        ("gaining most", "Title of up", 2, 0.4),
        ("losing most", "down", 2, -0.15),
    ]


def test_an_interval_takes_ten_questions(changed):
    intervals = {each.name: each.interval for each in changed}
    assert intervals["many"] == (pytest.approx(0.1), pytest.approx(0.1))
    assert (intervals["Title of up"], intervals["down"]) == (None, None)
