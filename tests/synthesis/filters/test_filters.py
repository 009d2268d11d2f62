from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from embexp.data.records import Pair
from embexp.errors import ConfigError, ModelError
from embexp.models.embedding_cache import Fetched
from embexp.synthesis.filters.funnel import Funnel, Tally
from embexp.synthesis.filters.models import CrossEncoderFilter, Judge, RoundTrip
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.filters.text import Chatter, Copied, Duplicates, Language, Length, Overlap, occurs
from embexp.synthesis.prompts import Prompts
from embexp.synthesis.tasks import Draft, Slot
from tests.synthesis.synthesis_fakes import FakeIndex, FakeLLM, knowledge

SLOT = Slot(1, "question", "an expert", "easy")
PASSAGE = "A bounded deque drops items from the opposite end when it is full."


def draft(query: str, positive: str = PASSAGE, negatives: tuple[str, ...] = (), chunk: str = "c0-0") -> Draft:
    pair = Pair(
        id=query, query=query, positive=positive, document_id="d", chunk_id=chunk, negatives=negatives
    )
    return Draft(pair, SLOT)


def why(step: object, *drafts: Draft) -> list[str | None]:
    return list(step.reasons(drafts))  # type: ignore[attr-defined]


def test_the_funnel_counts_and_keeps_examples() -> None:
    tally = Tally(examples_kept=2)
    funnel = Funnel([Length((2, 5)), Chatter()], tally)
    kept = funnel.keep([draft("good query"), draft("x"), draft("y"), draft("z"), draft("Here are questions")])
    assert [one.pair.query for one in kept] == ["good query"]
    assert tally.rejected == {"length": 3, "chatter": 1}
    assert tally.examples["length"] == [
        "x (the query has 1 words, not 2 to 5)",
        "y (the query has 1 words, not 2 to 5)",
    ]
    assert funnel.keep([]) == []


def test_chatter_is_looked_for_in_passages_only_where_a_model_wrote_them() -> None:
    talk = draft("good query", positive="Sure! Here is a passage about deques.")
    assert why(Chatter(), talk) == [None]
    assert why(Chatter(passages=True), talk) == ["chatter: 'Sure!'"]


def test_lengths_of_passages() -> None:
    step = Length((1, 9), (3, 5))
    drafts = [draft("q", "one two three"), draft("q", "one"), draft("q", "one two three", ("one",))]
    assert why(step, *drafts) == [
        None,
        "the positive has 1 words, not 3 to 5",
        "a negative has 1 words, not 3 to 5",
    ]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        # 5 of 6 words are enough: ceil(0.8 * 6) = 5
        ("drops items from the opposite end", "copied: 'drops items from the opposite'"),
        ("Drops items from the opposite side", "copied: 'drops items from the opposite'"),
        ("bounded deque drops items", "copied: 'bounded deque drops items'"),
        ("bounded deque full", None),
        ("which side of a full deque loses an element", None),
    ],
)
def test_copied_stretches(query: str, reason: str | None) -> None:
    assert why(Copied(0.8), draft(query)) == [reason]


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("drops items from the opposite end", True),
        ("DROPS   items\nfrom “the” opposite end.", True),
        ("A bounded deque ... when it is full", True),
        ("when it is full … a bounded deque", False),
        ("drops items from the other end", False),
        ("deque", False),
        ("", False),
    ],
)
def test_evidence_must_occur(quote: str, found: bool) -> None:
    assert occurs(quote, PASSAGE) is found


def test_a_passage_of_two_words_is_its_own_evidence() -> None:
    assert occurs("bounded deque", "Bounded deque")


def test_overlap_counts_longer_words_by_their_beginnings() -> None:
    # "bounds" ~ "bounded", "dropping" ~ "drops" of bounds, dropping, things, carefully: 2 of 4
    query = "what bounds dropping things carefully"
    assert why(Overlap(0.5), draft(query)) == [None]
    assert why(Overlap(0.51), draft(query)) == ["50% of its words occur in the passage"]
    assert why(Overlap(0.5), draft("why so")) == [None]


def test_near_duplicates_over_the_whole_set() -> None:
    step = Duplicates(0.8)
    assert why(step, draft("How do I cap a deque at ten items?")) == [None]
    again = why(
        step, draft("how do i cap a deque at ten items"), draft("How do I cap the deque at ten items?")
    )
    assert again[0] == "there is 'how do i cap a deque at ten items'"
    # 4-letter runs: 30 in the first, 32 in the second; 26 shared -> 26 / 36 = 0.72
    assert again[1] is None
    looser = Duplicates(0.7)
    why(looser, draft("How do I cap a deque at ten items?"))
    assert why(looser, draft("How do I cap the deque at ten items?")) == [
        "there is 'how do i cap a deque at ten items'"
    ]


def test_examples_do_not_come_back() -> None:
    step = Duplicates(0.8, seen=("what is a frobnicator",))
    assert why(step, draft("What is a frobnicator?")) == ["there is 'what is a frobnicator'"]


def test_exact_duplicates_alone() -> None:
    step = Duplicates(1.0)
    assert why(step, draft("one query"), draft("One query?"), draft("one query more")) == [
        None,
        "there is 'one query'",
        None,
    ]


def test_passages_repeat_too() -> None:
    step = Duplicates(0.8, passages=True)
    first = draft("first query", "a passage about bikes and their locks", ("a passage on chains and oil",))
    same = draft("second query here", "A passage about bikes and their locks!", ("another text",))
    own = draft(
        "third one again", "the number of gears is seven in all", ("The number of gears is seven in all.",)
    )
    assert why(step, first, same, own) == [
        None,
        "there is a passage 'a passage about bikes and their locks'",
        "the negative repeats the positive",
    ]


def test_short_texts_are_compared() -> None:
    assert why(Duplicates(0.8), draft("ab"), draft("AB"), draft("cd")) == [None, "there is 'ab'", None]


def test_the_round_trip_asks_for_the_own_chunk() -> None:
    chunks = knowledge(2, 2)
    index = FakeIndex(chunks, blind=frozenset({"c1-1"}))
    good = draft(chunks[0].text, chunk=chunks[0].id)
    lost = draft(chunks[3].text, chunk="c1-1")
    assert why(RoundTrip(index, 1), good, lost) == [None, "its chunk is not among the first 1 hits"]


def test_languages() -> None:
    pytest.importorskip("py3langid")
    step = Language(("en",))
    drafts = [
        draft("how do I return a bike after the station has closed"),
        draft("wie gebe ich ein Fahrrad zurück, wenn die Station geschlossen ist"),
        draft("Fahrrad zurückgeben"),
    ]
    assert why(step, *drafts) == [None, "language de", None]
    with pytest.raises(ConfigError, match="'english' is not the ISO 639-1 code"):
        Language(("english",)).reasons(drafts)


def test_a_missing_language_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)
    with pytest.raises(ConfigError, match="pip install py3langid"):
        Language(("en",)).reasons([draft("how do I return a bike after closing")])


def test_the_judge_keeps_good_grades() -> None:
    judge = Judge(FakeLLM(), Prompts(), least=4)
    drafts = [draft(f"query {at}") for at in range(10)]
    # the fake grades items 1..8 of a request with 2, 3, 4, 5, 1, 2, 3, 4 and of the next with 2, 3
    reasons = ["grade 2", "grade 3", None, None, "grade 1", "grade 2", "grade 3", None, "grade 2", "grade 3"]
    assert why(judge, *drafts) == reasons
    assert judge.spent.requests == 2
    assert judge.spent.prompt_tokens == 800


def test_what_was_not_judged_is_dropped() -> None:
    assert why(Judge(FakeLLM(reply=lambda request: "no idea"), Prompts(), least=1), draft("query")) == [
        "no grade"
    ]


def test_a_cross_encoder_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    class Scorer:
        def scores(self, pairs: list[tuple[str, str]], cache: None) -> Fetched:
            logits = [[math.log(9) if query == "good" else math.log(1 / 4)] for query, _ in pairs]
            return Fetched(np.array(logits, dtype=np.float32), 0.0, 0)

    step = CrossEncoderFilter("somewhere", least=0.5)
    monkeypatch.setitem(step.__dict__, "_scorer", Scorer())
    assert why(step, draft("good"), draft("bad")) == [None, "score 0.20"]


@pytest.mark.slow
def test_a_missing_cross_encoder_is_named() -> None:
    with pytest.raises(ModelError, match=r"synthesis\.filters\.cross_encoder=nowhere/model"):
        CrossEncoderFilter("nowhere/model", least=0.5).reasons([draft("good")])


def names(**options: object) -> list[str]:
    filters = replace(Filters(), **options)
    index = FakeIndex([])
    return [step.name for step in filters.build(index=index, completes=bool(options.get("overlap")))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"overlap": None}, ["chatter", "length", "copied", "round_trip", "duplicates"]),
        ({"overlap": 0.3}, ["chatter", "length", "copied", "overlap", "round_trip", "duplicates"]),
        ({"copied": None, "round_trip": None, "overlap": None}, ["chatter", "length", "duplicates"]),
        (
            {"languages": ["en"], "cross_encoder": "m", "overlap": None},
            ["chatter", "length", "language", "copied", "round_trip", "cross_encoder", "duplicates"],
        ),
    ],
)
def test_filters_are_built_from_options(options: dict[str, object], expected: list[str]) -> None:
    assert names(**options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copied": 1.5}, r"synthesis\.filters\.copied is 1\.5: give a number from 0 to 1, or null"),
        ({"min_query_words": 9, "max_query_words": 3}, "min_query_words=9 and max_query_words=3"),
        ({"round_trip": 0}, r"synthesis\.filters\.round_trip is 0"),
        ({"judge": 6}, r"synthesis\.filters\.judge is 6: give a whole number from 1 to 5, or null"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Filters(**options)  # type: ignore[arg-type]
