from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import load_file

from embexp.config.schema import register
from embexp.errors import ConfigError, ModelError
from embexp.finetuning.checkpoints import _write
from embexp.finetuning.losses import (
    Angle,
    CachedGist,
    CachedMnrl,
    Contrastive,
    Cosent,
    DistillKl,
    EmbedDistill,
    Gist,
    MarginMse,
    Matryoshka,
    Mnrl,
    MnrlSymmetric,
    OnlineContrastive,
    Softmax,
    Triplet,
)
from embexp.finetuning.losses.gist_guide import guide_for
from embexp.finetuning.teachers import Labels
from embexp.models.tiny import TinyModel
from embexp.package import conf_dir
from embexp.storage.checksums import read_checked_json, record_files, write_checked_json

OPTIONS = sorted(path.stem for path in (Path(__file__).parents[3] / "conf" / "loss").glob("*.yaml"))


def option(name: str, *overrides: str):
    """Build an option of conf/loss as the commands do; a teacher that is a model is the tiny one."""
    register()
    taught = name in ("margin_mse", "distill_kl", "embed_distill")
    teacher = ["teacher@loss.teacher=bi_encoder", "model@loss.teacher.model=tiny", "loss.teacher.cache=null"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(
            "config",
            overrides=["paths.root=.", f"loss={name}", *(teacher if taught else []), *overrides],
        )
    return instantiate(config.loss, _convert_="all")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_starts_with_a_comment_and_is_short(name):
    lines = (Path(__file__).parents[3] / "conf" / "loss" / f"{name}.yaml").read_text().splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) < 25


@pytest.mark.parametrize("name", ["gist", "cached_gist", "mnrl_symmetric"])
def test_in_batch_losses_read_hard_negatives(name, model, train):
    training = train(model, option(name), hard_negatives=2, evaluations=0, epochs=1)
    losses = [point.metrics["loss"] for point in training.history]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["cosent", "contrastive"])
def test_scored_losses_learn_from_labels(name, model, train, splits):
    wrong = [
        replace(pair, id=f"x{pair.id}", positive=splits.train[at - 5].positive)
        for at, pair in enumerate(splits.train)
    ]
    labelled = [replace(pair, label=5.0) for pair in splits.train] + [
        replace(pair, label=0.5) for pair in wrong
    ]
    training = train(model, option(name), splits=replace(splits, train=labelled))
    assert training.pairs == 192
    assert training.best_step > 0


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (lambda: Mnrl(scale=0), "loss.scale is 0"),
        (lambda: MnrlSymmetric(scale=-1), "loss.scale is -1"),
        (lambda: CachedMnrl(mini_batch_size=0), "loss.mini_batch_size is 0"),
        (lambda: Gist(temperature=0), "loss.temperature is 0"),
        (lambda: CachedGist(temperature=float("nan")), "loss.temperature is nan"),
        (lambda: Triplet(margin=0), "loss.margin is 0"),
        (lambda: Contrastive(margin=-0.1), "loss.margin is -0.1"),
        (lambda: OnlineContrastive(margin=0), "loss.margin is 0"),
        (lambda: Cosent(scale=0), "loss.scale is 0"),
        (lambda: Angle(scale=0), "loss.scale is 0"),
        (lambda: Matryoshka(loss=Mnrl(), dims=[]), r"loss.dims is empty"),
        (lambda: Matryoshka(loss=Mnrl(), dims=[32, 16], weights=[1.0]), "loss.weights has 1 values for 2"),
    ],
)
def test_impossible_options_are_named(build, key):
    with pytest.raises(ConfigError, match=key):
        build()


def test_the_guide_is_a_frozen_copy_of_the_untuned_model(model):
    import torch

    guide = guide_for(model, "self")
    before = guide.encode("apple", convert_to_tensor=True, show_progress_bar=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert torch.equal(before, guide.encode("apple", convert_to_tensor=True, show_progress_bar=False))
    assert not any(parameter.requires_grad for parameter in guide.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_guide_can_be_a_saved_model(model, tmp_path):
    model.save_pretrained(str(tmp_path / "guide"))
    assert guide_for(model, str(tmp_path / "guide")).get_embedding_dimension() == 64


@pytest.mark.parametrize("kind", [Gist, CachedGist])
def test_a_guide_that_changes_changes_what_the_cache_asks(model, tmp_path, kind):
    loss = kind(guide=str(tmp_path / "guide"))
    model.save_pretrained(loss.guide)
    before = loss.fingerprint()
    assert before == loss.fingerprint()
    TinyModel(seed=9).load().save_pretrained(loss.guide)
    assert before != loss.fingerprint()
    assert kind().fingerprint() == ""
    assert kind(guide="owner/name").fingerprint() == "owner/name"
    assert kind(guide="all-MiniLM-L6-v2").fingerprint() == "all-MiniLM-L6-v2"


def test_a_missing_guide_is_named(model, tmp_path):
    loss = Gist(guide=str(tmp_path / "nowhere"))
    for asked in (loss.fingerprint, lambda: loss.build(model, None)):
        with pytest.raises(ModelError, match=r"loss.guide=.*nowhere.*loss.guide=self"):
            asked()


def test_matryoshka_adds_the_full_length_and_leaves_out_longer_ones(model, caplog):
    loss = Matryoshka(loss=Mnrl(), dims=[256, 32, 16], weights=[3.0, 2.0, 0.5])
    module = loss.build(model, None)
    assert module.matryoshka_dims == (64, 32, 16)
    assert module.matryoshka_weights == (1.0, 2.0, 0.5)
    assert "loss.dims=[256] are left out" in caplog.text
    assert loss.columns == "pairs"
    assert loss.max_negatives is None
    assert Matryoshka(loss=Gist(), dims=[32]).max_negatives == 1


@pytest.mark.parametrize("inner", [Softmax(), EmbedDistill(teacher=None)], ids=lambda loss: loss.columns)
def test_matryoshka_refuses_losses_with_weights_for_one_length(inner):
    with pytest.raises(
        ConfigError, match=rf"{type(inner).__name__} has weights for one length.*loss@loss.loss"
    ):
        Matryoshka(loss=inner, dims=[32])


@pytest.mark.parametrize("within", ["cosent", "gist", "cached_mnrl", "margin_mse", "triplet", "contrastive"])
def test_matryoshka_takes_another_loss_by_an_option(within, model, train):
    taught = within == "margin_mse"
    teacher = ["teacher@loss.loss.teacher=bi_encoder", "model@loss.loss.teacher.model=tiny"]
    teacher += ["loss.loss.teacher.cache=null"]
    loss = option("matryoshka", f"loss@loss.loss={within}", "loss.dims=[32]", *(teacher if taught else []))
    assert type(loss.loss) is type(option(within))
    assert (loss.teacher is not None) is taught
    training = train(model, loss, epochs=2, evaluations=0)
    losses = [point.metrics["loss"] for point in training.history]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["softmax", "embed_distill"])
def test_what_a_loss_trains_of_its_own_resumes_to_the_same_weights(name, model, train, tmp_path):
    loss = option(name, *(["loss.teacher.model.dimension=32"] if name == "embed_distill" else []))
    whole, again, without = (copy.deepcopy(model) for _ in range(3))
    options = {"evaluations": 0, "checkpoint_seconds": 1e-6}
    train(whole, loss, work_dir=tmp_path / "whole", **options)

    def interrupt(point):
        if point.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, loss, on_step=interrupt, **options)
    shutil.copytree(tmp_path / "work", tmp_path / "other")
    assert train(again, loss, **options).resumed_from == 5
    assert_equal(whole, again)

    # The classifier or projection decides: with other weights than those kept the end is another.
    replace_weights(tmp_path / "other" / "checkpoint-5", "loss.safetensors", by=0.5)
    assert train(without, loss, work_dir=tmp_path / "other", **options).resumed_from == 5
    with pytest.raises(AssertionError, match="embeddings"):
        assert_equal(whole, without)


def replace_weights(checkpoint, name, *, by):
    """Add a number to all weights in a file of a checkpoint, as if the training had written them."""
    _write(checkpoint / name, {key: value + by for key, value in load_file(checkpoint / name).items()})
    marker = read_checked_json(checkpoint / "complete.json")
    files = record_files(checkpoint, sorted(marker["files"]))
    write_checked_json(checkpoint / "complete.json", {**marker, "files": files})


def assert_equal(one, other):
    for name, value in one.state_dict().items():
        assert np.array_equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("loss", [MarginMse(teacher=Labels()), DistillKl(teacher=Labels())])
def test_the_loss_is_lowest_where_the_student_agrees_with_the_teacher(loss, model):
    import torch

    module = loss.build(model, None)
    query, near, far = (torch.tensor([vector]) for vector in ([1.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
    # The student's scores are 20 and 0.
    agreed, other = torch.tensor([[20.0, 0.0]]), torch.tensor([[0.0, 20.0]])
    assert module.compute_loss_from_embeddings([query, near, far], agreed).item() == pytest.approx(
        0, abs=1e-5
    )
    expected = {"MarginMse": 40.0**2, "DistillKl": 20.0}[type(loss).__name__]
    # (20 - 0 - (0 - 20))² for the margins; for KL nearly log(1 / softmax(0, 20)) = 20.
    found = module.compute_loss_from_embeddings([query, near, far], other).item()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("outputs", "projected"), [(64, False), (32, True), (128, True)])
def test_a_projection_is_trained_where_lengths_differ(outputs, projected, model):
    module = EmbedDistill(teacher=Labels()).build(model, outputs)
    assert (module.projection is not None) is projected
    if projected:
        assert tuple(module.projection.weight.shape) == (outputs, 64)


def test_a_loss_s_digest_is_its_teacher_s():
    for loss in (MarginMse(teacher=Labels()), DistillKl(teacher=Labels()), EmbedDistill(teacher=Labels())):
        assert loss.fingerprint() == "labels 20"
