"""Several processes that train one model: they end where one process ends, and with one sentence if not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embexp.errors import ConfigError
from embexp.finetuning.distributed import process_group as processes
from embexp.finetuning.distributed.process_group import LAUNCHER_VARIABLES, init_process_group, shard

SCRIPT = Path(__file__).with_name("shared_training.py")
QUICK = ["mnrl with negatives", "cosent", "query_encoder that reads loanwords", "rank 0 is killed"]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(processes, "_process_group", None)


def train(folder: Path, size: int, *cases: str) -> list[dict]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), str(size), *cases],
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(found: list[dict]) -> None:
    for case in found:
        assert case["apart"] < 1e-3, case
        assert case["resumed_from"] == (2 if "killed" in case["case"] else None), case
        assert case["moved"] > 0.05, case


def test_two_processes_end_with_the_weights_of_one(tmp_path):
    found = train(tmp_path, 2, *QUICK)
    assert [case["case"] for case in found] == QUICK
    check(found)


@pytest.mark.slow
def test_every_loss_and_method_is_shared_by_four_processes(tmp_path):
    found = train(tmp_path, 4)
    assert len({case["case"] for case in found}) == len(found) >= 23
    check(found)


def test_rows_are_dealt_out_evenly():
    assert shard([1, 2, 3, 4, 5], 2) == [[1, 3, 5], [2, 4]]
    assert shard([1], 3) == [[1], [], []]


@pytest.mark.parametrize(
    ("visible", "local", "expected"),
    [(None, "1", "1"), ("4,5", "1", "5"), ("4", "1", ""), ("", "0", "0")],
)
def test_a_process_takes_its_place_and_its_gpu(visible, local, expected):
    environment = {"RANK": "3", "LOCAL_RANK": local, "WORLD_SIZE": "4", "MASTER_ADDR": "here"}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    group = init_process_group(environment)
    assert (group.rank, group.size) == (3, 4)
    assert environment == {"MASTER_ADDR": "here", "CUDA_VISIBLE_DEVICES": expected}


def test_one_process_of_a_launcher_is_alone():
    environment = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    assert init_process_group(environment) is None
    assert not environment.keys() & set(LAUNCHER_VARIABLES)


def test_a_place_that_makes_no_sense_is_named():
    with pytest.raises(ConfigError, match=r"RANK=2, LOCAL_RANK=2 and WORLD_SIZE=2: start with torchrun"):
        init_process_group({"RANK": "2", "WORLD_SIZE": "2"})


def test_a_script_that_does_not_know_of_the_others_is_told(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"this script trains alone.*init_process_group"):
        processes.current_process_group()
