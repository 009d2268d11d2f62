import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.slices import changed_documents
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk

# document -> the differences of its questions
CHANGES = {
    "up": [0.5, 0.3],  # +0.8 in sum
    "many": [0.1] * 12,  # +1.2
    "down": [-0.4, 0.1],  # -0.3
    "same": [0.0, 0.0],
    "lone": [1.0],
}


@pytest.fixture
def found():
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


def test_documents_are_ranked_by_what_they_add_to_the_difference(found):
    told = [(each.feature, each.name, each.queries, round(each.delta, 3)) for each in found]
    assert told == [
        ("gaining most", "many", 12, 0.1),
        ("gaining most", "Title of up", 2, 0.4),
        ("losing most", "down", 2, -0.15),
    ]


def test_an_interval_takes_ten_questions(found):
    intervals = {each.name: each.interval for each in found}
    assert intervals["many"] == (pytest.approx(0.1), pytest.approx(0.1))
    assert (intervals["Title of up"], intervals["down"]) == (None, None)
