"""Which weights each method trains, and that the result loads with the library alone."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from embexp.errors import ConfigError
from embexp.finetuning.losses import Cosent, Gist, Mnrl
from embexp.finetuning.parameter_efficient import Full, LastLayers, Lora, QueryAdapter
from embexp.models.tiny import TinyModel


def state(model) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def changed(before, after) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def ranking(pairs):
    """Score a model by the rank of each query's own passage; queries and passages go their own ways."""

    def score(model):
        queries = model.encode_query([pair.query for pair in pairs], normalize_embeddings=True)
        passages = model.encode_document([pair.positive for pair in pairs], normalize_embeddings=True)
        scores = queries @ passages.T
        ranks = (scores > scores.diagonal()[:, None]).sum(axis=1) + 1
        return {"ndcg@10": float((1 / ranks).mean())}

    return score


@pytest.fixture
def two_layers():
    return TinyModel(seed=1, layers=2).load()


METHODS = {
    "full": (Full(), 3e-3),
    "last_layers": (LastLayers(layers=1), 3e-3),
    "lora": (Lora(rank=8, alpha=16), 1e-2),
    "query_adapter": (QueryAdapter(), 1e-2),
}


@pytest.mark.parametrize("loss", [Mnrl(), Gist(), Cosent()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_raises_the_dev_score_and_loads_with_the_library_alone(
    name, loss, two_layers, train, splits, tmp_path
):
    if name == "lora":
        pytest.importorskip("peft")
    from sentence_transformers import SentenceTransformer

    method, rate = METHODS[name]
    training = train(
        two_layers, loss, method=method, learning_rate=rate, dev_scores=ranking(list(splits.dev)), epochs=5
    )
    assert training.best_step > 0
    assert training.selected == "tuned"
    assert training.candidates["tuned"] > training.candidates["untuned"]
    assert all(parameter.requires_grad for parameter in two_layers.parameters())
    two_layers.save_pretrained(str(tmp_path / "saved"))
    loaded = SentenceTransformer(str(tmp_path / "saved"), device="cpu", local_files_only=True)
    for encode, own in ((loaded.encode_query, two_layers.encode_query), (loaded.encode, two_layers.encode)):
        assert np.array_equal(encode(["barato deneli"]), own(["barato deneli"]))


def test_last_layers_leave_the_others_alone(two_layers, train):
    before = state(two_layers)
    train(two_layers, Mnrl(), method=LastLayers(layers=1), evaluations=0, epochs=1)
    touched = changed(before, state(two_layers))
    assert touched
    assert all("layer.1." in name for name in touched)


def test_lora_ends_in_the_models_own_weights(two_layers, train):
    pytest.importorskip("peft")
    before = state(two_layers)
    train(two_layers, Mnrl(), method=Lora(), learning_rate=1e-2, evaluations=0, epochs=1)
    after = state(two_layers)
    assert set(before) == set(after)
    assert changed(before, after)
    assert not [name for name in changed(before, after) if "embeddings" in name or "LayerNorm" in name]


def test_a_query_adapter_leaves_passages_alone(two_layers, train, splits):
    untuned = copy.deepcopy(two_layers)
    texts = ["lamach mereth", "nidisk"]
    train(two_layers, Mnrl(), method=QueryAdapter(), learning_rate=1e-2, dev_scores=ranking(list(splits.dev)))
    cosine = untuned.encode_document(texts, normalize_embeddings=True)
    assert np.allclose(two_layers.encode_document(texts, normalize_embeddings=True), cosine, atol=1e-6)
    assert not np.allclose(two_layers.encode_query(texts), untuned.encode_query(texts), atol=1e-3)


def test_an_untrained_query_adapter_changes_nothing(two_layers):
    before = two_layers.encode_query(["lamach mereth"])
    QueryAdapter().extend(two_layers)
    assert np.allclose(two_layers.encode_query(["lamach mereth"]), before, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_resumes_to_the_same_weights(name, two_layers, train, splits, tmp_path):
    if name == "lora":
        pytest.importorskip("peft")
    method, rate = METHODS[name]
    whole, again, third = (copy.deepcopy(two_layers) for _ in range(3))
    options = {"method": method, "learning_rate": rate, "evaluations": 4}
    options |= {"dev_scores": ranking(list(splits.dev)), "merge": [0.5]}
    train(whole, Mnrl(), work_dir=tmp_path / "whole", **options)

    def interrupt(point):
        if point.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(two_layers, Mnrl(), on_step=interrupt, **options)
    assert train(again, Mnrl(), **options).resumed_from == 6
    assert not changed(state(whole), state(again))
    train(third, Mnrl(), **options)
    assert not changed(state(whole), state(third))


@pytest.mark.parametrize("name", METHODS)
def test_what_was_drawn_before_a_training_does_not_change_it(name, two_layers, train, tmp_path):
    """A command that goes on after a kill has drawn other numbers than one that has done all of its work."""
    if name == "lora":
        pytest.importorskip("peft")
    method, rate = METHODS[name]
    again = copy.deepcopy(two_layers)
    for model, drawn in ((two_layers, 0), (again, 1)):
        torch.manual_seed(drawn)
        options = {"method": method, "learning_rate": rate, "evaluations": 0, "epochs": 1}
        train(model, Mnrl(), work_dir=tmp_path / str(drawn), **options)
    assert not changed(state(two_layers), state(again))


@pytest.mark.parametrize("method", [Lora(), LastLayers()])
def test_a_model_without_layers_is_named(method, train):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from embexp.models.tiny import build_tokenizer

    static = SentenceTransformer(modules=[StaticEmbedding(build_tokenizer(), embedding_dim=16)])
    with pytest.raises(ConfigError, match=r"needs a transformer.*use trainer=default"):
        train(static, Mnrl(), method=method)


def test_without_peft_the_extra_is_named_when_it_is_built(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "embexp\[lora\]"'):
        Lora()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LastLayers(layers=0), "trainer.method.layers is 0"),
        (lambda: Lora(rank=0), "trainer.method.rank is 0"),
        (lambda: Lora(dropout=1.0), "trainer.method.dropout is 1.0"),
    ],
)
def test_impossible_methods_are_named(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_every_method_has_an_option():
    names = {path.stem for path in (Path(__file__).parents[2] / "conf" / "trainer").glob("*.yaml")}
    assert names >= {"default", "lora", "last_layers", "query_adapter", "merged"}
