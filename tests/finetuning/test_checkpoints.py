from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn

from embexp.errors import EmbexpError
from embexp.finetuning.checkpoints import Checkpoints, Progress, training_fingerprint
from embexp.finetuning.training import Training, TrainingStep


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    found = Checkpoints(tmp_path)
    found.claim("one run")
    return found


def write(checkpoints: Checkpoints, step: int, **progress) -> None:
    folder = checkpoints.folder / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"1234")
    (folder / "optimizer.pt").write_bytes(b"12")
    checkpoints.complete(step, Progress(**progress))


def test_the_newest_checkpoint_comes_back_with_its_progress(checkpoints):
    history = [TrainingStep(3, {"loss": 1.5})]
    write(checkpoints, 9, best_step=None)
    write(checkpoints, 10, history=history, best_step=10, best_score=0.5, without_gain=1)
    path, progress, step = checkpoints.latest()
    assert (path.name, step) == ("checkpoint-10", 10)
    assert progress == Progress(history=history, best_step=10, best_score=0.5, without_gain=1)


def test_two_checkpoints_are_kept(checkpoints):
    for step in (5, 10, 15, 100):
        write(checkpoints, step)
    assert sorted(path.name for path in checkpoints.folder.glob("checkpoint-*")) == [
        "checkpoint-100",
        "checkpoint-15",
    ]


@pytest.mark.parametrize(
    "tear",
    [
        lambda folder: (folder / "complete.json").unlink(),
        lambda folder: (folder / "complete.json").write_text('{"files": {'),
        lambda folder: (folder / "optimizer.pt").unlink(),
        lambda folder: (folder / "weights.safetensors").write_bytes(b"12"),
    ],
)
def test_a_torn_checkpoint_is_skipped_and_removed(checkpoints, tear, caplog):
    write(checkpoints, 5)
    write(checkpoints, 10)
    tear(checkpoints.folder / "checkpoint-10")
    assert checkpoints.latest()[2] == 5
    assert "checkpoint-10 is incomplete" in caplog.text
    assert not (checkpoints.folder / "checkpoint-10").exists()


def test_without_checkpoints_there_is_nothing_to_resume(checkpoints):
    assert checkpoints.latest() is None


def test_weights_of_older_bests_go_with_the_next_checkpoint(checkpoints):
    model = nn.Linear(2, 1)
    checkpoints.save_best(5, model)
    checkpoints.save_best(10, model)
    write(checkpoints, 10, best_step=10, best_score=0.1)
    assert [path.name for path in (checkpoints.folder / "best").iterdir()] == ["10.safetensors"]


def test_best_weights_return_to_the_last_bit(checkpoints):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    checkpoints.save_best(7, model)
    checkpoints.load_best(7, other)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_a_finished_run_is_remembered_without_its_checkpoints(checkpoints):
    training = Training(
        pairs=3, steps=9, seconds=1.5, pairs_per_second=2.0, history=(TrainingStep(1, {"loss": 2.0}),)
    )
    write(checkpoints, 5)
    checkpoints.save_best(9, nn.Linear(2, 1))
    checkpoints.finish(training, nn.Linear(2, 1))
    assert checkpoints.finished() == training
    assert checkpoints.latest() is None
    assert not (checkpoints.folder / "best").exists()


def test_a_run_whose_weights_are_gone_is_not_finished(checkpoints):
    checkpoints.finish(Training(pairs=1, steps=1, seconds=1.0, pairs_per_second=1.0), nn.Linear(2, 1))
    (checkpoints.folder / "model.safetensors").unlink()
    assert checkpoints.finished() is None


def test_what_other_settings_left_is_removed(checkpoints, caplog):
    write(checkpoints, 5)
    checkpoints.save_best(5, nn.Linear(2, 1))
    Checkpoints(checkpoints.folder).claim("one run")
    assert checkpoints.latest() is not None
    Checkpoints(checkpoints.folder).claim("another run")
    assert checkpoints.latest() is None
    assert not (checkpoints.folder / "best").exists()
    assert "checkpoints of other settings or data" in caplog.text


def test_a_full_disk_is_found_before_training(checkpoints, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 5 << 20))
    # 1,000,000 float32 weights: 3 checkpoints of 3 x 4 MB, and 5 x 4 MB of other weights: 56 MB, 53 MiB.
    with pytest.raises(EmbexpError, match=r"writes up to 53 MiB .* has 5 MiB free"):
        checkpoints.check_space(nn.Linear(1000, 1000, bias=False))


def test_enough_space_passes(checkpoints):
    checkpoints.check_space(nn.Linear(2, 2))


def test_a_fingerprint_follows_weights_and_settings():
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    before = training_fingerprint(model, {"epochs": 1})
    assert training_fingerprint(model, {"epochs": 1}) == before
    assert training_fingerprint(model, {"epochs": 2}) != before
    with torch.no_grad():
        model.weight[0, 0] += 1
    assert training_fingerprint(model, {"epochs": 1}) != before
    assert training_fingerprint(model.bfloat16(), {"epochs": 1}) != before
