from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from embexp.errors import ConfigError, DataError, ModelError
from embexp.finetuning.teachers import (
    BiEncoderTeacher,
    CrossEncoderTeacher,
    HybridTeacher,
    Labels,
    LlmRanker,
    QueryLikelihood,
)
from embexp.llm import likelihood
from embexp.llm.llamacpp import LlamaCppLLM
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from embexp.models import embedding_cache
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.sources import LocalModel
from tests.llm.chat_server import ChatServer, Response, Sent, chat, prompt_of, serving
from tests.retrieval.letter_embedder import LetterEmbedder
from tests.tiny_cross_encoder import save_cross_encoder

PAIRS = [
    ("how to boil", "a kettle boils"),
    ("how to ride", "a bicycle rides"),
    ("how to boil", "a kettle boils"),
]


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory) -> str:
    return str(save_cross_encoder(tmp_path_factory.mktemp("cross")))


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Count the pairs that go through the cross-encoder, call by call."""
    found: list[int] = []
    original = CrossEncoderScorer._predict

    def counting(self, texts):
        found.append(len(texts))
        return original(self, texts)

    monkeypatch.setattr(CrossEncoderScorer, "_predict", counting)
    return found


def test_a_cross_encoder_gives_its_logits(cross_encoder):
    import torch
    from sentence_transformers import CrossEncoder

    scores = CrossEncoderTeacher(model=cross_encoder).scores(PAIRS)
    expected = CrossEncoder(cross_encoder).predict(PAIRS, activation_fn=torch.nn.Identity())
    assert scores.shape == (3,)
    assert np.allclose(scores, expected, atol=1e-5)
    assert scores[0] == scores[2] != scores[1]


def test_no_pair_is_scored_twice(cross_encoder, tmp_path, asked):
    teacher = CrossEncoderTeacher(model=cross_encoder, cache=str(tmp_path / "cache"))
    first = teacher.scores(PAIRS)
    assert asked == [2]  # one of the three is there twice
    again = CrossEncoderTeacher(model=cross_encoder, cache=str(tmp_path / "cache")).scores(PAIRS[::-1])
    assert asked == [2]
    assert np.array_equal(again, first[::-1])
    teacher.scores([*PAIRS, ("how to swim", "a fish swims")])
    assert asked == [2, 1]


def test_another_length_or_model_is_asked_again(cross_encoder, tmp_path, asked):
    cache = str(tmp_path / "cache")
    CrossEncoderTeacher(model=cross_encoder, cache=cache).scores(PAIRS)
    CrossEncoderTeacher(model=cross_encoder, cache=cache, max_tokens=8).scores(PAIRS)
    other = str(save_cross_encoder(tmp_path / "other", seed=1))
    CrossEncoderTeacher(model=other, cache=cache).scores(PAIRS)
    assert asked == [2, 2, 2]


def test_what_was_scored_before_a_kill_is_kept(cross_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_cache, "SLOW_BLOCK", 2)
    pairs = [(f"query {number}", f"passage {number}") for number in range(7)]
    whole = CrossEncoderTeacher(model=cross_encoder).scores(pairs)
    teacher = CrossEncoderTeacher(model=cross_encoder, cache=str(tmp_path / "cache"))
    original, calls = CrossEncoderScorer._predict, []

    def killed_at_the_third(self, texts):
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, texts)

    monkeypatch.setattr(CrossEncoderScorer, "_predict", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        teacher.scores(pairs)
    for file in (tmp_path / "cache").rglob("*.bin"):  # the torn end that a kill may leave
        with file.open("ab") as stream:
            stream.write(b"torn")
    found = teacher.scores(pairs)
    assert calls == [2, 2, 2, 2, 1]  # two blocks, the one that was cut off, again, and the rest
    assert np.array_equal(found, whole)


def test_a_cross_encoder_of_several_numbers_is_refused(tmp_path):
    folder = str(save_cross_encoder(tmp_path / "classes", outputs=3))
    with pytest.raises(ModelError, match=r"gives 3 numbers for a pair: choose a cross-encoder"):
        CrossEncoderTeacher(model=folder).scores(PAIRS)


@pytest.mark.parametrize("name", ["nowhere", "./no/where", "a/b/c"])
def test_a_missing_folder_is_named(name):
    with pytest.raises(ModelError, match=rf"teacher.model={name}: there is no such folder.*ms-marco"):
        CrossEncoderTeacher(model=name).fingerprint()


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"teacher.model=.*does not load as a cross-encoder.*choose another"):
        CrossEncoderTeacher(model=str(tmp_path)).scores(PAIRS)


def test_a_bi_encoder_s_scores_are_scaled_cosines(saved):
    source = LocalModel(path=str(saved))
    scores = BiEncoderTeacher(model=source, scale=10).scores(PAIRS[:2])
    queries, passages = (source.load().encode(list(texts)) for texts in zip(*PAIRS[:2], strict=True))
    for score, query, passage in zip(scores, queries, passages, strict=True):
        cosine = query @ passage / np.linalg.norm(query) / np.linalg.norm(passage)
        assert score == pytest.approx(10 * cosine, abs=1e-4)


def test_a_bi_encoder_s_vectors_are_kept(saved, tmp_path, monkeypatch):
    loads: list[str] = []
    original = LocalModel.load
    monkeypatch.setattr(LocalModel, "load", lambda self: loads.append("load") or original(self))
    teacher = BiEncoderTeacher(model=LocalModel(path=str(saved)), cache=str(tmp_path))
    first = teacher.encode_queries(["a", "b", "a"])
    assert first.shape == (3, 16)
    assert np.array_equal(first[0], first[2])
    assert np.allclose(np.linalg.norm(first, axis=1), 1)
    assert np.array_equal(teacher.encode_queries(["b"]), first[1:2])
    assert loads == ["load"]
    teacher.encode_passages(["b"])  # other prompts may go before a passage
    assert loads == ["load", "load"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CrossEncoderTeacher(model="x", batch_size=0), "teacher.batch_size is 0"),
        (lambda: CrossEncoderTeacher(model="x", max_tokens=3), "teacher.max_tokens is 3"),
        (lambda: BiEncoderTeacher(model=None, scale=0), "teacher.scale is 0"),
    ],
)
def test_impossible_options_are_named(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


# The fusion of the model with BM25

CORPUS = ["aab zeta", "abb kettle", "ccc zeta kettle"]


def test_the_hybrid_teacher_adds_cosine_and_the_share_of_the_words():
    teacher = HybridTeacher(weight=0.25).prepared(CORPUS, LetterEmbedder())
    pairs = [("aab zeta", passage) for passage in CORPUS]
    words, vectors = (
        HybridTeacher(weight=weight).prepared(CORPUS, LetterEmbedder()).scores(pairs) for weight in (1.0, 0.0)
    )
    embedder = LetterEmbedder()
    cosines = embedder.encode_queries(["aab zeta"]) @ embedder.encode_passages(CORPUS).T
    assert np.allclose(vectors, cosines[0], atol=1e-6)
    assert words[1] == 0 < words[2] < words[0] < 1  # no word, one word, both words
    assert np.allclose(teacher.scores(pairs), 0.75 * vectors + 0.25 * words, atol=1e-6)


def test_scores_of_the_hybrid_teacher_keep_the_order_of_the_pairs():
    teacher = HybridTeacher().prepared(CORPUS, LetterEmbedder())
    pairs = [(query, passage) for passage in CORPUS for query in ("aab zeta", "kettle hh")]
    one_by_one = [float(teacher.scores([pair])[0]) for pair in pairs]
    assert np.allclose(teacher.scores(pairs), one_by_one, atol=1e-6)


def test_the_hybrid_teacher_needs_its_corpus():
    with pytest.raises(ConfigError, match=r"needs the corpus and the untuned model to score 1 pairs"):
        HybridTeacher().scores([("a", "b")])


# Query likelihood


class FakeLikelihood:
    """The surprise of a query: 2 nats a word, half of it where the prompt has the word."""

    def __init__(self) -> None:
        self.asked = []

    def log_likelihoods(self, items):
        self.asked += items
        return [
            -sum(1.0 if word in prompt.split() else 2.0 for word in text.split()) for prompt, text in items
        ]


@pytest.fixture
def read(monkeypatch) -> FakeLikelihood:
    fake = FakeLikelihood()

    @contextmanager
    def opened(self):
        yield fake

    monkeypatch.setattr(LlamaCppLLM, "open_likelihood", opened)
    return fake


def test_a_passage_scores_the_share_of_the_query_that_it_gives_away(read):
    pairs = [("kettle boils tea", "a kettle boils"), ("kettle boils tea", "nothing"), ("tea", "tea time")]
    # 6 nats alone, 4 after the first passage, 6 after the second; 2 alone and 1 after the third.
    assert np.allclose(QueryLikelihood().scores(pairs), [1 - 4 / 6, 0, 1 - 1 / 2])
    prompts = [prompt for prompt, _ in read.asked]
    assert "Passage: a kettle boils\nPlease write a question based on this passage.\nQuestion:" in prompts
    assert "Please write a question based on this passage.\nQuestion:" in prompts  # the query alone
    assert {text for _, text in read.asked} == {" kettle boils tea", " tea"}


def test_likelihoods_are_kept_and_passages_are_read_in_turn(read, tmp_path):
    teacher = QueryLikelihood(cache=str(tmp_path), passage_characters=50)
    pairs = [(query, passage) for query in ("one", "two") for passage in ("first " * 20, "second")]
    first = teacher.scores(pairs)
    assert len(read.asked) == 2 + 4
    of_passages = [prompt for prompt, _ in read.asked[2:]]
    assert of_passages[0] == of_passages[1] != of_passages[2] == of_passages[3]
    assert len(of_passages[0].splitlines()[0]) <= len("Passage: ") + 50
    assert np.array_equal(QueryLikelihood(cache=str(tmp_path), passage_characters=50).scores(pairs), first)
    assert len(read.asked) == 6
    assert QueryLikelihood(cache=str(tmp_path), passage_characters=51).scores(pairs).shape == (4,)
    assert len(read.asked) == 12


def test_a_missing_gguf_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"teacher.model_path=.*nowhere.gguf: there is no such file"):
        QueryLikelihood(model_path=str(tmp_path / "nowhere.gguf")).check()


def test_a_missing_package_is_named_with_what_needs_none(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package xllamacpp.*teacher@loss.teacher=hybrid"):
        QueryLikelihood().check()


def test_no_pairs_need_no_model():
    assert QueryLikelihood(model_path="/nowhere.gguf").scores([]).shape == (0,)
    assert likelihood.Likelihood(None, name="none", slots=1).log_likelihoods([]) == []


# A language model that grades


def grades(sent: Sent) -> Response:
    """Grade a passage by the number in it; a passage without one gets no grade."""
    shown = re.findall(r"<passage-(\d+)-\w+>\n(.*?)\n</passage", prompt_of(sent), re.DOTALL)
    numbers = [(int(number), re.search(r"\d+", text)) for number, text in shown]
    found = [{"number": number, "grade": int(grade[0])} for number, grade in numbers if grade]
    return chat(f"Here you are:\n```json\n{json.dumps({'grades': found})}\n```")


def ranker(service: ChatServer, folder: Path, **options) -> LlmRanker:
    llm = OpenAICompatibleLLM(model="m", base_url=service.url, max_concurrency=2)
    return LlmRanker(llm=llm, journal=str(folder / "journal.jsonl"), **options)


LISTS = [(query, f"{query} passage {grade}") for query in ("red", "blue") for grade in (3, 9, 0, 7)]


def test_a_language_model_grades_the_passages_of_a_query_in_one_request(tmp_path):
    with serving(grades) as service:
        teacher = ranker(service, tmp_path)
        assert teacher.scores(LISTS).tolist() == [3, 9, 0, 7, 3, 9, 0, 7]
        assert len(service.sent) == 2
        assert ranker(service, tmp_path).scores(LISTS).tolist() == [3, 9, 0, 7, 3, 9, 0, 7]
        assert teacher.scores(LISTS[:4][::-1]).tolist() == [7, 0, 9, 3]  # in another order: the same request
        assert len(service.sent) == 2
        prompt = prompt_of(service.sent[0])
    assert prompt.count("passage 9") == 1
    assert prompt.index("passage 3") > prompt.index("Query: ")


def test_the_first_passage_of_a_list_is_not_shown_first(tmp_path):
    with serving(grades) as service:
        pairs = [
            (f"query {number}", f"passage {grade} of {number}")
            for number in "abcdefgh"
            for grade in (9, 1, 2)
        ]
        ranker(service, tmp_path).scores(pairs)
        first = [re.search(r"<passage-1-\w+>\npassage (\d)", prompt_of(sent))[1] for sent in service.sent]
    assert len(set(first)) > 1


def test_a_passage_without_a_grade_counts_as_0(tmp_path, caplog):
    with serving(grades) as service:
        scores = ranker(service, tmp_path).scores([*LISTS, ("red", "no number"), ("blue", "grade 99")])
    assert scores.tolist()[-2:] == [0, 0]
    assert "2 of 10 passages got no readable grade and count as 0" in caplog.text


def test_a_model_that_does_not_grade_is_told(tmp_path):
    with (
        serving(lambda sent: chat("I cannot say.")) as service,
        pytest.raises(DataError, match=r"m gave no readable grade for 8 of 8 passages: choose another llm"),
    ):
        ranker(service, tmp_path).scores(LISTS)


def test_the_price_of_a_ranker_is_known_before(tmp_path):
    llm = OpenAICompatibleLLM(
        model="m", base_url="http://127.0.0.1:9/v1", prices={"m": {"input": 1.0, "output": 2.0}}
    )
    teacher = LlmRanker(llm=llm, journal=str(tmp_path / "journal.jsonl"))
    short, long = (teacher.estimate(queries=100, passages=20, characters=size) for size in (400, 1_000_000))
    assert short.requests == 100
    assert short.completion_tokens == 100 * 20 * 14
    # 20 passages of 100 tokens more each; a long one is cut at 1,500 characters.
    assert long.prompt_tokens - short.prompt_tokens == 100 * 20 * (375 - 100)
    assert short.usd == pytest.approx((short.prompt_tokens + 2 * short.completion_tokens) / 1e6)


@pytest.mark.parametrize(
    ("llm", "message"),
    [
        (None, r"llm is not set: choose one that chats, as in llm=groq, or teacher@loss.teacher=hybrid"),
        (LlamaCppLLM(), r"only completes text: choose a model that chats.*query_likelihood"),
    ],
)
def test_a_ranker_needs_a_model_that_chats(llm, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        LlmRanker(llm=llm, journal=str(tmp_path / "j")).check()


@pytest.mark.parametrize("teacher", [HybridTeacher(), Labels(), CrossEncoderTeacher(model="x")])
def test_a_teacher_of_scores_has_no_vectors(teacher):
    with pytest.raises(ConfigError, match=rf"{type(teacher).__name__} gives scores only"):
        teacher.vectors(PAIRS)
