from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone, tzinfo
from html.parser import HTMLParser
from pathlib import Path

import pytest

from embexp.benchmarking import metrics
from embexp.benchmarking.embedding_map import EmbeddingMap, Spot
from embexp.benchmarking.examples import biggest_changes
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.slices import Slice
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.statistics.multiple_tests import Contrast
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.benchmarking.thresholds import ScoreThreshold, ThresholdPoint
from embexp.data.leaks import Leak, Leaks
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Report, _funnel, _FunnelStep, write_model_card, write_report
from embexp.retrieval.index import Hit
from tests.markdown_tables import tables
from tests.reporting.full_report import full_report

ATTACK = "<script>alert(1)</script> | `x` [y](http://evil)"
VOID = {"meta", "br", "wbr"}


class Page(HTMLParser):
    """Collects tags and visible text, and checks that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def report(
    outcome: Outcome,
    task: RetrievalTask,
    scores: dict[str, Scores],
    rankings: dict[str, dict[str, list[Hit]]],
) -> Report:
    attacked = replace(
        task,
        queries=[Query("q1", ATTACK, "d1"), *task.queries[1:]],
        corpus=[replace(c, title=ATTACK) for c in task.corpus],
    )
    return Report(
        outcome=outcome,
        scores=scores,
        queries=attacked.queries,
        examples=biggest_changes(attacked, scores, rankings, metric="ndcg@10"),
        config=f"model: minilm\n# {ATTACK}\n",
        provenance={"git_commit": "abc123", "odd": ATTACK},
    )


@pytest.fixture
def page(report: Report, tmp_path: Path) -> Page:
    return Page(write_report(tmp_path, report)[0].read_text())


def test_the_page_needs_no_network(report: Report, tmp_path: Path) -> None:
    text = write_report(tmp_path, report)[0].read_text()
    page = Page(text)
    assert "default-src 'none'" in text
    assert not [attrs for _, attrs in page.tags if attrs.keys() & {"src", "href", "srcset"}]
    assert "url(" not in text
    assert "@import" not in text


def test_texts_from_the_data_stay_text(page: Page) -> None:
    assert page.count("script") == 1
    assert page.text.count("<script>alert(1)</script>") >= 3


def test_the_verdict_and_every_section_are_there(page: Page) -> None:
    assert "WIN Retrieval improved ndcg@10 0.500 → 0.750, +0.250" in page.text
    for heading in (
        "Every system on the same questions",
        "Question by question",
        "Training",
        "Biggest wins",
        "Biggest losses",
        "Can the numbers be trusted?",
        "Data and time",
        "Configuration",
        "Provenance",
    ):
        assert heading in page.text
    assert page.count("svg") == 3
    assert "pairs, train 1,500" in page.text
    assert "finetune 1 min 31 s" in page.text
    assert "12 near-duplicate passages" in page.text
    assert "chroma returns 99.5%" in page.text
    assert "abc123" in page.text


def test_it_suits_dark_screens_phones_and_paper(report: Report, tmp_path: Path) -> None:
    text = write_report(tmp_path, report)[0].read_text()
    assert "@media screen and (prefers-color-scheme: dark)" in text
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "@media print" in text


def test_questions_are_counted_by_how_they_changed(page: Page) -> None:
    assert "better 2 50% +0.750 same 1 25% 0 worse 1 25% −0.500" in page.text


def test_answers_and_moves_are_marked(page: Page) -> None:
    assert "first relevant result: rank 3 → rank 1" in page.text
    assert "first relevant result: rank 1 → not shown" in page.text
    assert "relevant ↑2" in page.text


def test_markdown_stays_one_table_row_per_question(report: Report, tmp_path: Path) -> None:
    text = write_report(tmp_path, report)[1].read_text()
    assert text.startswith("# WIN: retrieval improved, ndcg@10 0.500 → 0.750")
    assert "<script>" not in text
    row = next(line for line in text.splitlines() if "alert" in line and line.startswith("|"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert r"\[y\](http" in row
    assert "| tuned | **0.750** | **0.900** |" in text
    assert "| bm25 | 0.250 | – |" in text
    assert "Question by question (ndcg@10): 2 better, 1 same, 1 worse." in text


def test_every_table_of_the_full_report_is_one_to_a_markdown_parser(tmp_path: Path) -> None:
    full = full_report()
    text = write_report(tmp_path, full)[1].read_text(encoding="utf-8")
    by_corner = {rows[0][0]: rows for rows in tables(text)}
    assert list(by_corner) == ["model", "system", "against untuned", "feature", "", "threshold", "question"]
    assert len(tables(text)) == 9  # scores and costs have systems; wins and losses have questions
    card = tables(write_model_card(tmp_path, full.outcome).read_text(encoding="utf-8"))
    assert [rows[0][0] for rows in card] == ["model", "system"]
    scores = card[1]
    assert [row[0] for row in scores[1:]] == list(full.outcome.scores)
    assert len(by_corner["against untuned"]) == 1 + len(full.contrasts)


@pytest.mark.parametrize(
    ("name", "interval", "tone"),
    [("NO EVIDENCE", (-0.1, 0.2), "unsure"), ("REGRESSION", (-0.3, -0.1), "loss")],
)
def test_other_verdicts_have_their_own_tone(
    report: Report,
    verdict: Callable[..., Outcome],
    name: str,
    interval: tuple[float, float],
    tone: str,
    tmp_path: Path,
) -> None:
    changed = replace(report, outcome=verdict(name, interval))
    page = Page(write_report(tmp_path, changed)[0].read_text())
    assert ("main", {"class": tone}) in page.tags
    assert name in page.text


def test_a_run_without_tuned_model_training_or_scores_has_a_page_too(
    outcome: Outcome, tmp_path: Path
) -> None:
    bare = outcome.model_copy(
        update={
            "comparison": None,
            "training": None,
            "scores": {},
            "index": None,
            "seconds": {},
            "counts": {},
            "leaks": Leaks(),
            "cached": (),
        }
    )
    html, markdown = write_report(tmp_path, Report(outcome=bare, scores={}))
    page = Page(html.read_text())
    assert "No verdict: there is no tuned model to compare." in page.text
    assert page.count("svg") == 0
    assert "Biggest" not in page.text
    assert markdown.read_text().startswith("# No verdict")


def test_an_untuned_benchmark_still_shows_its_systems(
    outcome: Outcome, scores: dict[str, Scores], tmp_path: Path
) -> None:
    kept = {name: scores[name] for name in ("untuned", "bm25")}
    bare = outcome.model_copy(
        update={"comparison": None, "training": None, "scores": {name: kept[name].mean for name in kept}}
    )
    page = Page(write_report(tmp_path, Report(outcome=bare, scores=kept))[0].read_text())
    assert "Every system on the same questions" in page.text
    assert "Question by question" not in page.text


def test_an_example_without_results_says_so(report: Report, tmp_path: Path) -> None:
    empty = replace(report, examples=[replace(report.examples[0], untuned=(), tuned=())])
    html, markdown = write_report(tmp_path, empty)
    assert "no results" in Page(html.read_text()).text
    assert "| – | – |" in markdown.read_text()


def test_the_same_run_gives_the_same_bytes(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noon(datetime):
        """The minute that a report names must not turn between the two."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2026, 1, 1, 12, tzinfo=tz or timezone.utc)

    monkeypatch.setattr("embexp.reporting.report.datetime", Noon)
    first = [path.read_bytes() for path in write_report(tmp_path / "a", report)]
    assert [path.read_bytes() for path in write_report(tmp_path / "b", report)] == first


def test_kinds_of_questions_and_every_system_against_the_untuned_one(report: Report, tmp_path: Path) -> None:
    cut = [
        Slice("query type", ATTACK, 1200, 30, 0.5, 0.75, 0.25, (0.05, 0.45)),
        Slice("length", "1 to 5 words", 4, 4, 0.5, 0.4, -0.1, None),
    ]
    comparison = Comparison("ndcg@10", -0.25, (-0.4, -0.1), 0.01, 4, 4, "NO EVIDENCE", 0.125)
    full = replace(report, slices=cut, contrasts=[Contrast("untuned", "bm25", comparison, 0.25)])
    html, markdown = write_report(tmp_path, full)
    page = Page(html.read_text())
    assert page.count("script") == 1
    assert "Kinds of questions" in page.text
    assert "length 1 to 5 words 4 0.500 0.400 −0.100 –" in page.text
    assert "1,200 0.500 0.750 +0.250 +0.050 … +0.450" in page.text
    assert "bm25 −0.250 −0.400 … −0.100 0.0100 0.1250 0.2500" in page.text
    text = markdown.read_text()
    assert "| length | 1 to 5 words | 4 | 0.500 | 0.400 | −0.100 | – |" in text
    assert "| bm25 | −0.250 | −0.400 … −0.100 | 0.0100 | 0.1250 | 0.2500 |" in text
    assert "<script>" not in text


def test_seeds_and_learning_curve_have_their_sections(
    report: Report, repeated: Outcome, tmp_path: Path
) -> None:
    html, markdown = write_report(tmp_path, replace(report, outcome=repeated))
    page = Page(html.read_text())
    assert "8 1,500 – 0.700 +0.200 −0.010 … +0.410 NO EVIDENCE" in page.text
    assert "25% 375 0.600" in page.text
    assert "More pairs are likely to help: the score is still rising, +0.100" in page.text
    assert "The verdict depends on the training seed (1 WIN, 1 NO EVIDENCE)" in page.text
    assert page.count("svg") == 4
    text = markdown.read_text()
    assert "- Seeds: ndcg@10 0.725 on average over 2 training seeds (0.700 … 0.750" in text
    assert "- Learning curve: ndcg@10 0.600 with 25% of the pairs, 0.650 with 50% of the pairs" in text


def test_the_retriever_has_a_line_below_the_verdict_and_a_section(
    report: Report, served: Outcome, tmp_path: Path
) -> None:
    html, markdown = write_report(tmp_path, replace(report, outcome=served))
    page = Page(html.read_text())
    gain = "the tuned model with BM25 at weight 0.4: ndcg@10 0.500 → 0.800, +0.300"
    assert page.text.index("WIN Retrieval improved") < page.text.index(f"Retriever: {gain}")
    assert f"T{gain[1:]}" in page.text
    assert "0.6 × cosine + 0.4 × BM25 / its upper bound" in page.text
    assert "weight of BM25 untuned tuned 0 0.400 0.600 0.1 0.450 0.620" in page.text
    assert "0.4, chosen 0.550 0.640" in page.text
    assert page.count("svg") == 4
    labels = [str(attrs.get("aria-label")) for tag, attrs in page.tags if tag == "svg"]
    assert any("by the weight of BM25, chosen at 0.4" in label for label in labels)
    assert ("p", {"class": "served win"}) in page.tags
    text = markdown.read_text()
    assert f"**Retriever: {gain}" in text
    assert "- Serve it with retriever=hybrid retriever.weight=0.4" in text
    assert "| model | 0 | 0.1 | 0.2 | 0.3 | 0.4 | 0.5 | 0.6 | 0.7 |\n|:--|--:|" in text
    assert "| tuned | 0.600 | 0.620 | 0.630 | 0.650 | **0.640** | 0.600 | 0.550 | 0.500 |" in text


def test_a_retriever_that_dev_could_not_choose_has_no_curve(
    report: Report, served: Outcome, tmp_path: Path
) -> None:
    assert served.retriever
    default = replace(served.retriever, curve={}, reason="0 dev questions are too few")
    changed = replace(report, outcome=served.model_copy(update={"retriever": default}))
    html, markdown = write_report(tmp_path, changed)
    page = Page(html.read_text())
    assert "Reason: 0 dev questions are too few." in page.text
    assert page.count("svg") == 3
    assert "| model |" not in markdown.read_text()


def test_a_run_without_a_retriever_does_not_mention_one(page: Page) -> None:
    assert "etriever" not in page.text


def test_the_threshold_has_a_section_with_a_plot_and_a_table(
    report: Report, outcome: Outcome, tmp_path: Path
) -> None:
    found = ScoreThreshold(
        "tuned",
        100,
        40,
        threshold=0.42,
        interval=(0.38, 0.47),
        at=ThresholdPoint(0.42, 0.75, 0.8, 0.9),
        intervals={"precision": (0.65, 0.85), "answered": (0.7, 0.9), "refused": (0.82, 0.98)},
        curve=(ThresholdPoint(0.2, 0.6, 1.0, 0.1), ThresholdPoint(0.6, None, 0.0, 1.0)),
    )
    changed = outcome.model_copy(update={"score_threshold": found})
    html, markdown = write_report(tmp_path, replace(report, outcome=changed))
    page = Page(html.read_text())
    assert (
        "Below a cosine of 0.42 (95% interval 0.38 … 0.47) there is probably no answer. With it, the tuned "
        "model answers 80% (70 … 90%) of the questions that have an answer, with 75% (65 … 85%) right first "
        "hits, and refuses 90% (82 … 98%) of those whose documents were removed (100 dev questions from 40 "
        "documents)."
    ) in page.text
    assert "0.200 60% 100% 10% 0.420, recommended 75% 80% 90% 0.600 – 0% 100%" in page.text
    assert page.count("svg") == 4
    # 382 units of width hold thresholds from .2 to .6: .42 is 55% of the way, the interval 45% to 67.5%.
    [band] = [attrs for tag, attrs in page.tags if attrs.get("class") == "band"]
    [line] = [attrs for tag, attrs in page.tags if attrs.get("class") == "limit"]
    assert (line["x1"], band["x"]) == ("256.1", "217.9")
    assert float(band["width"] or 0) == pytest.approx(86.0, abs=0.1)
    assert "| **0.420** | 75% | 80% | 90% |" in markdown.read_text()


def test_without_a_threshold_the_section_says_why(report: Report, outcome: Outcome, tmp_path: Path) -> None:
    found = ScoreThreshold("tuned", 3, 2, reason="3 dev questions from 2 documents are too few")
    changed = outcome.model_copy(update={"score_threshold": found})
    page = Page(write_report(tmp_path, replace(report, outcome=changed))[0].read_text())
    assert "No score threshold: 3 dev questions from 2 documents are too few." in page.text
    assert "Rates by score threshold" not in page.text
    assert page.count("svg") == 3


def test_a_new_metric_is_explained_without_a_change_to_the_report(
    report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    f2 = metrics._Metric(("P_{k}", "recall_{k}"), "mostly recall", lambda values, _: max(values))
    monkeypatch.setitem(metrics._METRICS, "f2", f2)
    metrics.check_metrics(["f2@10"])
    scores = {name: {**values, "f2@10": 0.5} for name, values in report.outcome.scores.items()}
    changed = replace(report, outcome=report.outcome.model_copy(update={"scores": scores}))
    page = Page(write_report(tmp_path, changed)[0].read_text())
    assert "f2 mostly recall" in page.text
    assert "recall share of the relevant passages" in page.text


def test_the_map_shows_both_models_and_escapes_its_texts(report: Report, tmp_path: Path) -> None:
    spots = [
        Spot("question", ATTACK, (0.0, 0.0), (0.0, 0.0)),
        Spot("passage", ATTACK, (2.0, 1.0), (0.5, 0.25)),
        Spot("passage", "far away", (-2.0, -1.0), (-2.0, -1.0)),
    ]
    drawn = EmbeddingMap(spots, [(0, 1, 0.5)], (0.25, 0.5), (0.4, 0.8), (0.5, 0.3))
    page = Page(write_report(tmp_path, replace(report, map=drawn))[0].read_text())
    assert page.count("script") == 1
    assert "cosine to the answer 0.80, to the nearest other passage in the sample 0.30" in page.text
    assert "25% of the variance before and 50% after" in page.text
    assert page.count("circle") >= 6
    lines = [attrs for tag, attrs in page.tags if tag == "line" and attrs.get("class") == "rise"]
    # 424 units of width hold x from -2 to 2, so that one is 106: the answer comes from x + 212 to x + 53
    assert [(line["x1"], line["x2"]) for line in lines] == [("220.0", "432.0"), ("220.0", "273.0")]


def test_leaks_documents_and_the_funnel_are_shown_and_escaped(report: Report, tmp_path: Path) -> None:
    leaks = replace(report.outcome.leaks, examples=(Leak("question", "train", ATTACK, ATTACK, 0.93),))
    full = replace(
        report,
        outcome=report.outcome.model_copy(update={"leaks": leaks}),
        documents=[Slice("gaining most", ATTACK, 12, 12, 0.5, 0.6, 0.1, (0.05, 0.15))],
        synthesis={"accepted": 3, "rejected": {ATTACK: 1}, "examples_dropped": {ATTACK: [ATTACK]}},
    )
    html, markdown = write_report(tmp_path, full)
    page = Page(html.read_text())
    assert "<script>" not in markdown.read_text()
    assert "| 12 | 0.500 | 0.600 | +0.100 | +0.050 … +0.150 |" in markdown.read_text()
    assert "Questions by the language model: 3 accepted, 1 rejected by " in markdown.read_text()
    assert page.count("script") == 1
    assert "question, train 93% <script>alert(1)</script>" in page.text
    assert "12 0.500 0.600 +0.100 +0.050 … +0.150" in page.text
    assert "What the filters rejected" in page.text
    assert "accepted 3" in page.text
    widths = [attrs["style"] for _, attrs in page.tags if (attrs.get("class") or "").startswith("fill")]
    assert widths == ["width:75.0%", "width:25.0%"]


def test_the_most_frequent_reason_comes_first() -> None:
    report = {
        "accepted": 60,
        "rejected": {"copied": 10, "round trip": 30},
        "examples_dropped": {"round trip": ["what is it? (rank 40)"]},
    }
    assert _funnel(report) == [
        _FunnelStep("accepted", 60, 0.6),
        _FunnelStep("round trip", 30, 0.3, ["what is it? (rank 40)"]),
        _FunnelStep("copied", 10, 0.1),
    ]


@pytest.mark.parametrize(
    ("report", "steps"), [({}, []), ({"accepted": 0}, [_FunnelStep("accepted", 0, 0.0)])]
)
def test_without_a_synthesis_report_there_is_no_funnel(
    report: dict[str, object], steps: list[_FunnelStep]
) -> None:
    assert _funnel(report) == steps


def test_the_card_has_verdict_scores_and_configuration(outcome: Outcome, tmp_path: Path) -> None:
    card = write_model_card(tmp_path, outcome, config="seed: 0\n").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: sentence-transformers")
    assert "WIN: retrieval improved" in card
    assert "seed: 0" in card
    assert "pairs for training" in card
    for system, values in outcome.scores.items():
        row = next(line for line in card.splitlines() if line.startswith(f"| {system} |"))
        assert row.count("|") == len(values) + 2
    head = next(line for line in card.splitlines() if line.startswith("| system |"))
    assert card.splitlines()[card.splitlines().index(head) + 1].startswith("|---|")


def test_the_card_says_which_weights_it_holds(outcome: Outcome, tmp_path: Path) -> None:
    training = replace(
        outcome.training,
        selected="merged 0.5",
        candidates={"untuned": 0.25, "tuned": 0.5, "merged 0.5": 0.75},
    )
    card = write_model_card(tmp_path, outcome.model_copy(update={"training": training})).read_text(
        encoding="utf-8"
    )
    assert "This folder holds the merged 0.5 weights; dev scores" in card
    assert "untuned 0.250, tuned 0.500, merged 0.5 0.750." in card


def test_the_card_says_how_to_serve_the_model(served: Outcome, outcome: Outcome, tmp_path: Path) -> None:
    card = write_model_card(tmp_path, served).read_text(encoding="utf-8")
    assert "## Retriever\n\nThe tuned model with BM25 at weight 0.4: ndcg@10 0.500 → 0.800" in card
    assert "- Serve it with retriever=hybrid retriever.weight=0.4" in card
    assert "| tuned | 0.600 | 0.620 | 0.630 | 0.650 | **0.640** | 0.600 | 0.550 | 0.500 |\n\n## Data" in card
    assert "Retriever" not in write_model_card(tmp_path, outcome).read_text(encoding="utf-8")
