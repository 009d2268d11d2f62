import pytest

from embexp.benchmarking.approximate import compare_with_exact
from embexp.errors import DataError
from embexp.retrieval.index import Hit


class Fixed:
    def __init__(self, *hits):
        self._hits = [Hit(name, score) for name, score in hits]

    def search(self, queries, *, k):
        return [self._hits[:k] for _ in queries]


EXACT = Fixed(("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.7), ("e", 0.1))


@pytest.mark.parametrize(
    ("found", "recall"),
    [
        ([("a", 0.9), ("b", 0.8), ("c", 0.7)], 1.0),
        ([("a", 0.9), ("b", 0.8), ("d", 0.7)], 1.0),  # as good as c
        ([("a", 0.9), ("c", 0.7), ("e", 0.1)], 2 / 3),
        ([("a", 0.9), ("a", 0.9), ("a", 0.9)], 1 / 3),
        ([], 0.0),
    ],
)
def test_recall_counts_hits_that_exact_search_could_have_returned(found, recall):
    report = compare_with_exact(
        Fixed(*found), EXACT, ["one", "two"], k=3, retriever="chroma", build_seconds=1.5
    )
    assert report.recall == pytest.approx(recall)
    assert (report.retriever, report.k, report.build_seconds) == ("chroma", 3, 1.5)
    assert report.query_seconds > 0
    assert report.exact_query_seconds > 0


def test_asks_all_questions_and_names_the_index_by_its_class():
    report = compare_with_exact(EXACT, EXACT, ["q"] * 600)
    assert (report.retriever, report.recall) == ("Fixed", 1.0)


def test_an_empty_exact_result_leaves_nothing_to_miss():
    assert compare_with_exact(EXACT, Fixed(), ["q"]).recall == 1.0


def test_no_questions():
    with pytest.raises(DataError, match="No question to compare"):
        compare_with_exact(EXACT, EXACT, [])
