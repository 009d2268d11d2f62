from __future__ import annotations

import numpy as np
import pytest

from embexp.errors import ConfigError, ModelError
from embexp.finetuning.teachers import BiEncoderTeacher, CrossEncoderTeacher
from embexp.models import embedding_cache
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.sources import LocalModel
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
        (lambda: CrossEncoderTeacher(model="x", batch_size=0), "teacher.batch_size=0"),
        (lambda: CrossEncoderTeacher(model="x", max_tokens=3), "teacher.max_tokens=3"),
        (lambda: BiEncoderTeacher(model=None, scale=0), "teacher.scale=0"),
    ],
)
def test_impossible_options_are_named(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
