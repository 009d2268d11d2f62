"""Commands under torchrun: one process does the work and writes, the others help it with training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.pipeline_settings import TINY


def start(cwd: Path, *arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    place = launcher or ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
    return subprocess.run(
        [sys.executable, "-m", *place, "-m", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HYDRA_FULL_ERROR": "0"},
    )


NO_DROPOUT = ["trainer.dropout=0.0", "trainer.attention_dropout=0.0", "trainer.select=tuned"]
FLOAT32 = [
    "trainer.bf16=false"
]  # sums of bf16 products depend on how a batch is cut by more than is compared here


@pytest.mark.slow
def test_torchrun_and_accelerate_give_the_run_of_one_process(run, beir: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    data = ["dataset=beir", f"dataset.path={beir}", *TINY, *NO_DROPOUT, *FLOAT32]
    alone = run("run", *data, "hydra.run.dir=X", "tracker=none")
    assert alone.code == 0, alone.err
    shared = start(tmp_path, "embexp.run", *data, "hydra.run.dir=Y", "paths.cache=other")
    assert shared.returncode == 0, shared.stderr[-3000:]
    launcher = (
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes=2",
        "--num_machines=1",
        "--mixed_precision=no",
        "--dynamo_backend=no",
        "--main_process_port=0",
    )
    again = start(
        tmp_path,
        "embexp.finetune",
        *data,
        "hydra.run.dir=Z",
        "paths.cache=third",
        "tracker=none",
        launcher=launcher,
    )
    assert again.returncode == 0, again.stderr[-3000:]
    weights = [load_file(tmp_path / folder / "model/model.safetensors") for folder in "XYZ"]
    for name, expected in weights[0].items():
        for found in weights[1:]:
            assert torch.allclose(found[name], expected, atol=5e-6), name
    outcomes = [json.loads((tmp_path / folder / "outcome.json").read_text()) for folder in "XY"]
    assert outcomes[0]["training"]["steps"] == outcomes[1]["training"]["steps"]
    assert outcomes[0]["comparison"]["delta"] == pytest.approx(outcomes[1]["comparison"]["delta"], abs=1e-3)
    written_once(tmp_path, shared)


def written_once(folder: Path, shared: subprocess.CompletedProcess[str]) -> None:
    """One process told of its work, and one run stands in the tracker."""
    import sqlite3

    assert shared.stdout.count("Report ") == 1
    assert shared.stderr.count("Training rows:") == 1
    assert {path.name for path in folder.iterdir() if path.is_dir()} >= {"X", "Y", "Z", "mlruns"}
    assert not (folder / "outputs" / "Y").exists()
    with sqlite3.connect(folder / "mlflow.db") as database:
        parents = database.execute(
            "select count(*) from runs where run_uuid not in "
            "(select run_uuid from tags where key = 'mlflow.parentRunId')"
        ).fetchone()
    assert parents == (1,)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dataset=folder", "dataset.path=nowhere"], "error: nowhere"),
        (["-m", "seed=0,1"], "error: 2 processes train one run together"),
        (["loss=mnlr"], "error: loss=mnlr is not an option"),
    ],
)
def test_a_mistake_ends_all_processes_with_one_sentence(arguments, sentence, tmp_path: Path) -> None:
    done = start(tmp_path, "embexp.run", "model=tiny", "tracker=none", *arguments)
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1, done.stderr
    assert sentence in done.stderr
    assert "exitcode  : 2" in done.stderr
