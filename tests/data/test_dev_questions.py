"""Dev questions that can carry a choice: others are asked as well where one type has too few."""

from __future__ import annotations

from collections import Counter

from embexp.data.splitting import MIN_DEV_QUESTIONS
from tests.data.test_splitting import documents, pair, split


def commands(*, sentences: int):
    """Short documents: each yields two keyword queries, and a few a sentence."""
    keywords = [
        pair(f"k{at}-{turn}", f"d{at}", chunk_id=f"c{at}", query_type="keywords")
        for at in range(200)
        for turn in range(2)
    ]
    return keywords + [
        pair(f"s{at}", f"d{at}", chunk_id=f"c{at}", query_type="sentence") for at in range(sentences)
    ]


def test_questions_of_other_types_fill_a_dev_set_of_too_few(caplog):
    splits = split(commands(sentences=6), test_types=["sentence"])
    assert {each.query_type for each in splits.test} == {"sentence"}
    kinds = Counter(each.query_type for each in splits.dev)
    # A tenth of 200 documents.
    assert len(documents(splits.dev)) == 20
    assert kinds["keywords"] == 40
    assert kinds["sentence"] >= 1
    assert not documents(splits.dev) & documents(splits.train)
    assert (
        f"Dev has only {kinds['sentence']} questions of the type sentence, too few to select" in caplog.text
    )
    assert "keywords 40" in caplog.text


def test_enough_questions_of_the_type_stay_alone(caplog):
    splits = split(commands(sentences=200), test_types=["sentence"])
    assert [each.query_type for each in splits.dev] == ["sentence"] * MIN_DEV_QUESTIONS
    assert "others are asked" not in caplog.text


def test_code_without_prose_is_asked_by_its_comments():
    comments = [pair(f"c{at}", f"d{at}", chunk_id=f"c{at}", query_type="comment") for at in range(200)]
    splits = split(commands(sentences=6) + comments)
    assert {each.query_type for each in [*splits.dev, *splits.test]} == {"comment"}


def test_others_are_left_alone_where_they_would_not_suffice(caplog):
    pairs = [
        pair(f"{kind}{at}", f"d{at}", query_type=kind) for at in range(40) for kind in ("summary", "keywords")
    ]
    splits = split(pairs)
    assert [each.query_type for each in splits.dev] == ["summary"] * 4
    assert "others are asked" not in caplog.text
