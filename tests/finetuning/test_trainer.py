from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from embexp.data.records import Pair
from embexp.data.splitting import Splits
from embexp.errors import ConfigError, DataError, EmbexpError
from embexp.finetuning.context import evaluation_steps
from embexp.finetuning.losses import CachedMnrl, Cosine, Mnrl, Triplet
from embexp.finetuning.query_adapter import LEAST_STEPS
from embexp.finetuning.trainer import SentenceTransformerFineTuner


def weights(model) -> list[bytes]:
    return [value.numpy().tobytes() for value in model.state_dict().values()]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(train, model, tmp_path):
    import copy

    second, third = copy.deepcopy(model), copy.deepcopy(model)
    train(model, Mnrl(), work_dir=tmp_path / "1", epochs=1)
    train(second, Mnrl(), work_dir=tmp_path / "2", epochs=1)
    train(third, Mnrl(), work_dir=tmp_path / "3", epochs=1, seed=1)
    assert weights(model) == weights(second) != weights(third)


def test_training_says_what_it_did(train, model, splits):
    heard = []
    training = train(model, Mnrl(), on_step=heard.append)
    # 96 pairs in batches of 32 are 3 steps an epoch.
    assert (training.pairs, training.steps, training.resumed_from) == (96, 9, None)
    assert tuple(heard) == training.history
    dev = {point.step: point.metrics["dev_ndcg@10"] for point in heard if "dev_ndcg@10" in point.metrics}
    assert sorted(dev) == [0, 4, 9]
    assert training.best_step == max(dev, key=lambda step: (dev[step], -step))
    steps = [point for point in heard if "loss" in point.metrics]
    assert [point.step for point in steps] == list(range(1, 10))
    assert set(steps[0].metrics) == {"loss", "learning_rate", "grad_norm"}
    assert training.pairs_per_second > 0
    assert not model.training
    assert model.max_seq_length == 256


@pytest.mark.parametrize(
    ("total", "evaluations", "steps"),
    [(90, 0, []), (90, 1, [90]), (90, 2, [0, 90]), (90, 4, [0, 30, 60, 90]), (3, 9, [0, 1, 2, 3])],
)
def test_evaluations_are_spread_evenly(total, evaluations, steps):
    assert sorted(evaluation_steps(total, evaluations)) == steps


def test_the_best_weights_return(train, model):
    kept, scores = [], iter([0.1, 0.9, 0.5, 0.4])

    def dev_scores(trained):
        kept.append(weights(trained))
        return {"ndcg@10": next(scores)}

    training = train(model, Mnrl(), dev_scores=dev_scores, evaluations=4)
    assert training.best_step == 3
    assert weights(model) == kept[1] != kept[3]


def test_the_untuned_weights_return_where_training_does_not_help(train, model, caplog):
    before, scores = weights(model), iter([0.9, 0.5, 0.4])
    training = train(model, Mnrl(), dev_scores=lambda trained: {"ndcg@10": next(scores)})
    assert training.best_step == 0
    assert weights(model) == before
    assert "scored above the untuned model on dev" in caplog.text


def test_training_stops_when_patience_is_at_an_end(train, model):
    scores = iter([0.5, 0.6, 0.4, 0.3, 0.2, 0.1])
    training = train(
        model, Mnrl(), dev_scores=lambda trained: {"ndcg@10": next(scores)}, evaluations=10, patience=2
    )
    # Scored at 0, 1, 2 and 3: the best at 1, then two without gain.
    assert (training.steps, training.best_step) == (3, 1)


@pytest.mark.parametrize("changes", [{"evaluations": 0}, {"splits": "no dev"}])
def test_without_evaluations_the_last_weights_stay(changes, train, model, splits):
    if changes.get("splits"):
        changes = {"splits": replace(splits, dev=[])}
    before = weights(model)
    training = train(model, Mnrl(), epochs=1, **changes)
    assert training.best_step is None
    assert weights(model) != before


class Known:
    """Stands in for ``UntunedModel`` and records its calls."""

    def __init__(self):
        self.lengths, self.encoded = [], []

    def embedder(self, model):
        self.lengths.append(model.max_seq_length)
        return self

    def encode_queries(self, texts):
        return self.encode_passages(texts)

    def encode_passages(self, texts):
        import numpy as np

        self.encoded.append(len(texts))
        return np.eye(len(texts), 4, dtype=np.float32)

    def dev_scores(self, model):
        self.lengths.append(model.max_seq_length)
        return {"ndcg@10": 0.25}


def test_the_untuned_model_s_vectors_come_from_who_knows_them(train, model):
    known = Known()
    training = train(
        model,
        Mnrl(),
        untuned=known,
        hard_negatives=1,
        max_tokens=8,
        epochs=1,
        dev_scores=lambda trained: {"ndcg@10": 0.5},
    )
    assert known.encoded == [96, 96]  # passages and queries of mining
    assert known.lengths == [8, 256]  # mined as trained, scored at the model's own length
    assert training.dev("ndcg@10") == [0.25, 0.5, 0.5]


def test_dev_is_scored_at_the_models_own_length(train, model):
    lengths = []

    def dev_scores(trained):
        lengths.append(trained.max_seq_length)
        return {"ndcg@10": 0.5}

    train(model, Mnrl(), dev_scores=dev_scores, max_tokens=8, epochs=1)
    assert set(lengths) == {256}


def test_mixed_precision_ends_with_the_training(train, model):
    from sentence_transformers import SentenceTransformer

    encode, scored = SentenceTransformer.forward, []

    def dev_scores(trained):
        scored.append(trained.forward.__func__ is encode)
        return {"ndcg@10": 0.5}

    train(model, Mnrl(), dev_scores=dev_scores, epochs=1, bf16=True)
    assert all(scored)
    assert model.forward.__func__ is encode


class InterruptedRunError(Exception):
    pass


def test_an_interrupted_run_goes_on_where_it_was(train, model, tmp_path):
    import copy

    whole, again = copy.deepcopy(model), copy.deepcopy(model)
    expected = train(whole, Mnrl(), work_dir=tmp_path / "whole", evaluations=4)

    def interrupt(point):
        if point.step == 8:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(model, Mnrl(), on_step=interrupt, evaluations=4)
    heard = []
    training = train(again, Mnrl(), on_step=heard.append, evaluations=4)
    assert training.resumed_from == 6
    assert weights(again) == weights(whole)
    assert tuple(heard) == training.history == expected.history
    assert training.best_step == expected.best_step


def test_a_run_that_had_ended_is_not_trained_again(train, model, caplog):
    import copy

    caplog.set_level("INFO")
    again, heard = copy.deepcopy(model), []
    first = train(model, Mnrl(), epochs=1)
    second = train(again, Mnrl(), epochs=1, on_step=heard.append)
    assert second == replace(first, resumed_from=first.steps)
    assert weights(model) == weights(again)
    assert tuple(heard) == first.history
    assert "not training again" in caplog.text


def test_other_settings_do_not_go_on_from_there(train, model):
    import copy

    again = copy.deepcopy(model)
    train(model, Mnrl(), epochs=1)
    assert train(again, Mnrl(scale=10), epochs=1).resumed_from is None


@pytest.mark.parametrize(
    "loss", ["mnrl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("softmax", "embed_distill"))]
)
def test_a_run_killed_after_random_steps_ends_with_the_same_weights(loss, tmp_path):
    script = Path(__file__).with_name("killed_training.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "7", loss],
        capture_output=True,
        text=True,
        timeout=1800,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] > 0
    assert found["killed"]["digest"] == found["whole"]["digest"]
    assert found["killed"]["dev"] == found["whole"]["dev"]
    assert found["killed"]["best"] == found["whole"]["best"]


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_a_run_killed_while_it_writes_ends_with_the_same_weights(kills, tmp_path):
    script = Path(__file__).with_name("killed_writing.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "7", "mnrl", str(kills)],
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["kills"]) == kills
    for kill in found["kills"]:
        assert "result.json" not in kill["left"], "the process ended before it was killed"
        assert kill["digest"] == found["whole"]["digest"], kill
        assert kill["dev"] == found["whole"]["dev"], kill


def test_no_pairs_are_an_error(train, model, splits):
    with pytest.raises(DataError, match=r"There is no training pair.*split\.dev"):
        train(model, Mnrl(), splits=replace(splits, train=[]))


@pytest.mark.parametrize("loss", [Mnrl(), Triplet()])
def test_one_pair_is_an_error(loss, train, model, splits):
    with pytest.raises(EmbexpError, match=r"one training pair|only 0 training passages"):
        train(model, loss, splits=replace(splits, train=splits.train[:1]))


def test_pairs_that_exclude_each_other_are_an_error(train, model, splits):
    same = [replace(pair, document_id="the only one") for pair in splits.train]
    with pytest.raises(ConfigError, match="No batch can be made of 96 training pairs"):
        train(model, Mnrl(), splits=replace(splits, train=same))
    assert train(model, Mnrl(), splits=replace(splits, train=same), distinct="text", epochs=1).steps == 3


def test_a_metric_that_dev_does_not_give_is_named(train, model):
    with pytest.raises(ConfigError, match=r"trainer.metric=ndcg@10: the dev evaluation gives mrr@10"):
        train(model, Mnrl(), dev_scores=lambda trained: {"mrr@10": 0.5})


def test_a_folder_that_may_not_be_written_fails_before_training(train, model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises((EmbexpError, OSError)):
        train(model, Mnrl(), work_dir=tmp_path / "file" / "work")


def test_a_loss_that_the_model_cannot_take_is_a_config_error(train):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from embexp.models.tiny import build_tokenizer

    static = SentenceTransformer(modules=[StaticEmbedding(build_tokenizer(), embedding_dim=16)])
    with pytest.raises(ConfigError, match="CachedMnrl cannot be used with this model"):
        train(static, CachedMnrl())
    assert train(static, Mnrl(), learning_rate=0.5).best_step > 0


def test_labels_reach_the_loss(train, model, splits):
    labelled = [replace(pair, label=float(at % 2)) for at, pair in enumerate(splits.train)]
    assert train(model, Cosine(), splits=replace(splits, train=labelled), evaluations=0, epochs=1).pairs == 96
    other = train(model, Mnrl(), splits=replace(splits, train=labelled), evaluations=0, epochs=1)
    assert other.pairs == 48


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "trainer.epochs is 0: give a whole number from 1 to"),
        ({"batch_size": 1}, "trainer.batch_size is 1: give a whole number from 2 to"),
        ({"max_pairs": 1}, "trainer.max_pairs is 1"),
        ({"evaluations": -1}, "trainer.evaluations is -1"),
        ({"patience": 0}, "trainer.patience is 0"),
        ({"hard_negatives": -1}, "trainer.hard_negatives is -1"),
        ({"learning_rate": 0.0}, "trainer.learning_rate is 0.0: give a number above 0 and at most 1"),
        ({"learning_rate": float("nan")}, "trainer.learning_rate is nan"),
        ({"warmup_ratio": 1.0}, "trainer.warmup_ratio is 1.0: give a number from 0 and below 1"),
        ({"dropout": -0.1}, "trainer.dropout is -0.1"),
        ({"relative_margin": 1.0}, "trainer.relative_margin is 1.0: give a number from 0 and below 1"),
        ({"retries": -1}, "trainer.retries is -1: give a whole number from 0 to"),
        ({"merge": [0.5, 1.0]}, r"trainer.merge is \[0.5, 1.0\]: give a list of numbers above 0 and below 1"),
        ({"range_min": 5, "range_max": 5}, "trainer.range_min=5 and trainer.range_max=5"),
        ({"absolute_margin": -0.1}, "trainer.absolute_margin is -0.1: give a number from 0 to"),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        SentenceTransformerFineTuner(**changes)


OPTIONS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "trainer").glob("*.yaml"))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_trainer_option_trains(name, model, splits, tmp_path):
    if name == "lora":
        pytest.importorskip("peft")
    from hydra import compose, initialize_config_dir
    from hydra.utils import instantiate

    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        config = compose(config_name=f"trainer/{name}", overrides=["+metric=ndcg@10"])
    tuner = instantiate(config.trainer, _convert_="all")
    training = tuner.fit(
        model,
        Mnrl(),
        splits,
        dev_scores=lambda trained: {"ndcg@10": 0.5},
        work_dir=tmp_path,
        seed=0,
        on_step=lambda point: None,
    )
    epochs = training.plan.epochs if training.plan else tuner.epochs
    most = LEAST_STEPS if name == "query_adapter" else epochs * 3  # its steps take a millisecond
    assert 2 <= training.steps <= most


def test_pair_texts_are_all_that_a_pair_must_have(train, model):
    pairs = [Pair(id=str(n), query=f"q {n}", positive=f"p {n}", document_id=str(n)) for n in range(8)]
    assert train(model, Mnrl(), splits=Splits(train=pairs, dev=[], test=[]), epochs=1).steps == 1
