from __future__ import annotations

import random
import re
import shutil

import pytest
import torch
from torch import nn

from embexp.errors import DamagedError, EmbexpError
from embexp.finetuning.checkpoints import (
    Checkpoints,
    Progress,
    load_checkpoint,
    save_checkpoint,
    training_fingerprint,
    weights_digest,
)
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
    if progress.get("best_step") is not None:
        checkpoints.save_best(progress["best_step"], nn.Linear(2, 1))
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
        lambda folder: (folder / "weights.safetensors").write_bytes(b"1235"),
        lambda folder: (folder.parent / "best" / "10.safetensors").unlink(),
        lambda folder: flip(folder.parent / "best" / "10.safetensors", -1),
    ],
)
def test_a_torn_or_damaged_checkpoint_is_skipped_and_removed(checkpoints, tear, caplog):
    write(checkpoints, 5, best_step=5)
    write(checkpoints, 10, best_step=10)
    tear(checkpoints.folder / "checkpoint-10")
    assert checkpoints.latest()[2] == 5
    (warning,) = [record.message for record in caplog.records]
    assert re.search(r"checkpoint-10 is (incomplete|damaged \().*Skipping it", warning)
    assert not (checkpoints.folder / "checkpoint-10").exists()


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(100))
def test_damage_anywhere_never_brings_back_other_weights(checkpoints, seed):
    draw = random.Random(seed)
    model = nn.Linear(3, 2)
    for step in (5, 10):
        folder = checkpoints.folder / f"checkpoint-{step}"
        save_checkpoint(folder, model, model)
        (folder / "optimizer.pt").write_bytes(bytes(range(50)))
        checkpoints.save_best(step, model)
        checkpoints.complete(step, Progress(best_step=step, best_score=step / 100))
    files = [path for path in checkpoints.folder.rglob("*") if path.is_file() and path.name != "run.json"]
    damaged = draw.choice(sorted(files))
    flip(damaged, draw.randrange(damaged.stat().st_size))

    path, progress, step = checkpoints.latest()
    assert (path.name, progress) == (f"checkpoint-{step}", Progress(best_step=step, best_score=step / 100))
    assert step == (5 if "10" in str(damaged.relative_to(checkpoints.folder)) else 10)
    loaded, best = nn.Linear(3, 2), nn.Linear(3, 2)
    load_checkpoint(path, loaded, loaded)
    checkpoints.load_best(step, best)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in loaded.state_dict().items())
    assert all(torch.equal(model.state_dict()[name], value) for name, value in best.state_dict().items())


@pytest.mark.parametrize("place", [3, 40, -1])
def test_damaged_weights_are_refused(checkpoints, place):
    checkpoints.save_best(7, nn.Linear(3, 2))
    flip(checkpoints.folder / "best" / "7.safetensors", place)
    with pytest.raises(DamagedError, match=r"7\.safetensors (cannot be read|were changed)"):
        checkpoints.load_best(7, nn.Linear(3, 2))


def test_damaged_untuned_weights_are_saved_again(checkpoints, caplog):
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    checkpoints.save_start(model)
    flip(checkpoints.folder / "start.safetensors", -1)
    checkpoints.save_start(model)
    checkpoints.load_start(other)
    assert torch.equal(other.weight, model.weight)
    assert "were changed. They are saved again" in caplog.text


@pytest.mark.parametrize("name", ["model.safetensors", "done.json"])
def test_a_training_whose_result_is_damaged_is_not_finished(checkpoints, name):
    checkpoints.finish(Training(pairs=1, steps=1, seconds=1.0, pairs_per_second=1.0), nn.Linear(2, 1))
    flip(checkpoints.folder / name, -20)
    assert checkpoints.finished() is None


def test_what_a_damaged_marker_belongs_to_is_removed(checkpoints):
    write(checkpoints, 5)
    flip(checkpoints.folder / "run.json", 5)
    checkpoints.claim("one run")
    assert checkpoints.latest() is None


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


def test_a_mix_that_is_all_tuned_has_the_tuned_weights_to_the_last_bit(checkpoints):
    untuned, tuned, model = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64)
    with torch.no_grad():
        untuned.weight.fill_(-0.0)
        tuned.weight.fill_(-0.0)
    checkpoints.save_start(untuned)
    checkpoints.save_tuned(tuned)
    checkpoints.load_mix(model, weight=1.0)
    assert weights_digest(model) == weights_digest(tuned)
    checkpoints.load_mix(model, weight=0.5)
    assert torch.equal(model.bias, torch.lerp(untuned.bias, tuned.bias, 0.5))


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
