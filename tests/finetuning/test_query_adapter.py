"""An adapter of query vectors: what it learns, what it leaves out, and which one dev selects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.records import Pair
from embexp.data.splitting import Splits
from embexp.errors import ConfigError, DataError, ModelError
from embexp.finetuning import QueryAdapterFineTuner, TrainingStep
from embexp.finetuning.adapter_training import AdapterObjective, adapter_rows, towards_identity, train_adapter
from embexp.finetuning.losses import CachedMnrl, Cosent, MnrlSymmetric
from embexp.finetuning.losses.in_batch import Mnrl
from embexp.models.adapted import AdaptedModel
from embexp.models.encoder import AdaptedEmbedder, ModelEmbedder
from embexp.models.tiny import TinyModel
from embexp.models.vector_adapter import AdapterKind, VectorAdapter, identity_adapter
from tests.finetuning.jargon import make_pair
from tests.models.test_adapted import KINDS, adapter_of

DIMENSION = 16


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Turned:
    """An embedder whose query vectors are those of their passages, turned: a matrix turns them back."""

    fingerprint, name, address, dimension = "turned", "", "", DIMENSION

    def __init__(self, *, noise: float = 0.3) -> None:
        draw = np.random.default_rng(0)
        self.turn = np.linalg.qr(draw.normal(size=(DIMENSION, DIMENSION)))[0].astype(np.float32)
        self.noise = noise

    def vectors(self, texts: Sequence[str]) -> Any:
        rows = [np.random.default_rng(int(text.split()[-1])).normal(size=DIMENSION) for text in texts]
        return unit(np.array(rows).reshape(-1, DIMENSION))

    def encode_passages(self, texts: Sequence[str]) -> Any:
        return self.vectors(texts)

    def encode_queries(self, texts: Sequence[str]) -> Any:
        half = (self.vectors(texts) + self.vectors(texts) @ self.turn) / 2
        noise = self.vectors([f"noise {10_000 + int(text.split()[-1])}" for text in texts])
        return unit(half + self.noise * noise)


def pair(number: int, **changes: Any) -> Pair:
    options = {
        "id": f"p{number}",
        "query": f"query {number}",
        "positive": f"passage {number}",
        "document_id": f"d{number}",
    }
    return Pair(**{**options, **changes})


SPLITS = Splits([pair(n) for n in range(400)], [pair(n) for n in range(1000, 1120)], [])


def ranks(embedder: Any, pairs: Sequence[Pair]) -> dict[str, float]:
    """Return the mean reciprocal rank of each query's passage among those of all."""
    scores = embedder.encode_queries([each.query for each in pairs])
    scores = scores @ embedder.encode_passages([each.positive for each in pairs]).T
    found = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
    return {"ndcg@10": float((1 / found).mean())}


def fit(embedder: Any, splits: Splits = SPLITS, **options: Any) -> Any:
    given = {"hidden": 32, "epochs": 15, "batch_size": 64, "ridge": 0.1, "evaluations": 4, "merge": [0.5]}
    steps: list[TrainingStep] = options.pop("steps", [])
    loss, corpus = options.pop("loss", Mnrl()), options.pop("corpus", ())
    given_score = options.pop("score", None)

    def score(adapter: VectorAdapter) -> Mapping[str, float]:
        return ranks(AdaptedEmbedder(embedder, adapter), splits.dev)

    return QueryAdapterFineTuner(**{**given, **options}).fit_adapter(
        embedder, loss, splits, corpus=corpus, score=given_score or score, seed=0, on_step=steps.append
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_retrieves_better_on_texts_that_it_has_not_seen(kind: AdapterKind) -> None:
    embedder = Turned()
    steps: list[TrainingStep] = []
    training, adapter = fit(embedder, kind=kind, steps=steps, learning_rate=3e-3)

    asked = [pair(number) for number in range(2000, 2200)]
    before, after = ranks(embedder, asked), ranks(AdaptedEmbedder(embedder, adapter), asked)
    assert after["ndcg@10"] > before["ndcg@10"] + 0.05
    assert training.candidates["tuned"] > training.candidates["untuned"]
    assert list(training.candidates) == ["untuned", "tuned", "merged 0.5"]
    assert training.pairs == 400
    assert training.steps == 15 * 7
    assert training.selected_score("ndcg@10") == max(training.candidates.values())
    assert [step.step for step in steps if "dev_ndcg@10" in step.metrics] == [0, 35, 70, 105]
    assert len([step for step in steps if "loss" in step.metrics]) == 15
    assert steps == list(training.history)


@pytest.mark.parametrize("loss", [Mnrl(), CachedMnrl()])
def test_the_same_seed_gives_the_same_adapter(loss: Any) -> None:
    first, second = (fit(Turned(), loss=loss)[1] for _ in range(2))
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, second.weights[name])


def test_more_passages_than_fit_are_sampled_and_it_still_learns() -> None:
    embedder = Turned()
    corpus = [(f"d{number}", f"passage {number}") for number in range(3000, 3600)]
    training, _ = fit(embedder, corpus=corpus, max_passages=100, hard_negatives=8, kind="linear")
    assert training.candidates["tuned"] > training.candidates["untuned"] + 0.05


def test_the_untuned_vectors_are_kept_where_no_adapter_is_better() -> None:
    embedder = Turned()
    vectors = embedder.encode_queries(["query 1", "query 2"])

    def nearness(adapter: VectorAdapter) -> Mapping[str, float]:
        return {"ndcg@10": float((adapter.apply(vectors) * vectors).sum())}

    training, adapter = fit(embedder, score=nearness)
    assert training.selected == "untuned"
    assert training.best_step == 0
    np.testing.assert_allclose(adapter.apply(vectors), vectors, atol=1e-6)


def test_a_large_ridge_keeps_queries_where_they_are() -> None:
    embedder = Turned()
    queries = embedder.encode_queries([each.query for each in SPLITS.train])

    def moved(ridge: float) -> float:
        adapter = fit(embedder, ridge=ridge, select="tuned")[1]
        return float(np.linalg.norm(adapter.apply(queries) - queries, axis=1).mean())

    assert moved(1000.0) < 0.2 * moved(0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_the_way_is_between_the_identity_and_the_adapter(kind: AdapterKind) -> None:
    adapter = adapter_of(kind, DIMENSION)
    vectors = Turned().vectors(["a 1", "b 2"])
    np.testing.assert_allclose(towards_identity(adapter, 0.0).apply(vectors), vectors, atol=1e-6)
    np.testing.assert_allclose(
        towards_identity(adapter, 1.0).apply(vectors), adapter.apply(vectors), atol=1e-6
    )
    half = towards_identity(adapter, 0.5).apply(vectors)
    assert (half * vectors).sum() > (adapter.apply(vectors) * vectors).sum()


def test_without_dev_questions_the_last_adapter_stays() -> None:
    training, adapter = fit(Turned(), Splits(SPLITS.train, [], []), kind="residual")
    assert training.selected == "tuned"
    assert training.candidates == {}
    assert np.abs(adapter.weights["up"]).max() > 0


def test_answers_and_their_documents_are_no_negatives() -> None:
    train = [
        pair(0),
        pair(1, query="query 0", query_id="p0"),  # another answer of the first query
        pair(2, document_id="d0"),
        pair(3, label=0.0),
        pair(4, negatives=("passage 9",)),
    ]
    train = [pair(0, label=1.0), *train[1:]]
    corpus = [("d0", "passage 5"), ("d1", "passage 6"), ("d7", "passage 7"), ("d0", "passage 0")]
    rows = adapter_rows(Splits(train, [], []), corpus, max_pairs=None, seed=0)

    texts = [set(map(rows.passages.__getitem__, each)) for each in rows.excluded]
    assert rows.passages == [f"passage {n}" for n in (0, 1, 2, 3, 4, 9, 5, 6, 7)]
    assert list(rows.queries) == ["query 0", "query 0", "query 2", "query 4"]
    assert [rows.passages[at] for at in rows.positives] == [f"passage {n}" for n in (0, 1, 2, 4)]
    assert texts[0] == {"passage 1", "passage 2", "passage 5", "passage 6"}
    assert texts[1] == {"passage 0", "passage 5", "passage 6"} | {"passage 2"}
    assert texts[3] == set()


def test_weights_repeat_pairs_and_a_limit_samples_them() -> None:
    splits = Splits([pair(0, weight=3), pair(1)], [], [])
    assert len(adapter_rows(splits, (), max_pairs=None, seed=0)) == 4
    assert len(adapter_rows(splits, (), max_pairs=2, seed=0)) == 2


def test_a_training_that_diverges_ends_with_the_remedy() -> None:
    rows = adapter_rows(SPLITS, (), max_pairs=None, seed=0)
    embedder = Turned()
    queries, passages = embedder.encode_queries(rows.queries), embedder.encode_passages(rows.passages)
    queries[3] = np.nan
    objective = AdapterObjective(
        scale=20.0,
        ridge=0.0,
        epochs=1,
        batch_size=400,
        learning_rate=0.5,
        max_passages=4096,
        hard_negatives=0,
        seed=0,
    )
    with pytest.raises(ModelError, match=r"diverged at step 1: lower trainer.learning_rate, now 0.5"):
        list(train_adapter(identity_adapter("linear", DIMENSION), rows, queries, passages, objective))


@pytest.mark.parametrize("loss", [Cosent(), MnrlSymmetric()], ids=lambda loss: type(loss).__name__)
def test_another_loss_is_refused(loss: Any) -> None:
    with pytest.raises(ConfigError, match=rf"cannot use the loss {type(loss).__name__}: set loss=mnrl"):
        QueryAdapterFineTuner().check(TinyModel(), loss)
    with pytest.raises(ConfigError, match="set loss=mnrl"):
        fit(Turned(), loss=loss)


def test_an_adapter_of_an_adapter_is_refused(tmp_path: Path) -> None:
    source = AdaptedModel(path=str(tmp_path), base=TinyModel(name="below"))
    with pytest.raises(ConfigError, match="tune the model below it, below, again"):
        QueryAdapterFineTuner().check(source, Mnrl())


@pytest.mark.parametrize(
    ("splits", "error", "said"),
    [
        (Splits([], [], []), DataError, "There is no training pair"),
        (Splits([pair(0, label=0.0), pair(1, label=0.0)], [], []), ConfigError, "is a positive"),
    ],
)
def test_pairs_to_learn_from_are_needed(splits: Splits, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        fit(Turned(), splits)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden": 0}, "trainer.hidden is 0"),
        ({"ridge": -1.0}, "trainer.ridge is -1.0"),
        ({"max_passages": 0}, "trainer.max_passages is 0"),
        ({"merge": [1.5]}, "trainer.merge"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        QueryAdapterFineTuner(**options)


def test_a_metric_that_dev_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match=r"trainer.metric=mrr@10: the dev evaluation gives ndcg@10"):
        fit(Turned(), metric="mrr@10")


def test_several_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="without torchrun"):
        QueryAdapterFineTuner().run_worker(Mnrl(), lambda: None)  # type: ignore[arg-type,return-value]


def test_a_loaded_model_is_tuned_in_place(tmp_path: Path) -> None:
    model = TinyModel(seed=1, layers=1).load()
    splits = Splits([make_pair(n) for n in range(96)], [make_pair(n) for n in range(100, 160)], [])
    before = model.encode_document(["lamach mereth"], normalize_embeddings=True)

    def dev_scores(tried: Any) -> Mapping[str, float]:
        return ranks(ModelEmbedder(tried, fingerprint="in training"), splits.dev)

    training = QueryAdapterFineTuner(kind="linear", epochs=5, batch_size=32, evaluations=3).fit(
        model, Mnrl(), splits, dev_scores=dev_scores, work_dir=tmp_path, seed=0, on_step=lambda _: None
    )
    after = model.encode_document(["lamach mereth"], normalize_embeddings=True)
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert type(model[-1]).__name__ == "Router"
    assert set(training.candidates) >= {"untuned", "tuned"}
