"""Sweeps over real trainings of the tiny model: dev alone decides, nothing is done twice, losers leave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import optuna
import pytest
from hydra.core.global_hydra import GlobalHydra

from embexp import run as run_command
from tests.pipeline.pipeline_settings import TINY
from tests.sweeper.parabola_sweeps import wait_for

PAIRS = ["dataset=folder", "synthesis.target=60", "benchmark=heldout", "retriever=exact"]
SWEEP = ["-m", "hydra/sweeper=embexp_optuna", "hydra.sweep.dir=sweep"]


def study_in(folder: Path) -> optuna.Study:
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/study.db")
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def stages(cache: Path, name: str) -> list[Path]:
    return [path for path in (cache / name).iterdir() if path.is_dir()]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, shared_kb: Path) -> Path:
    """A sweep of eight trials by ``hparams=tiny``, with MLflow, over a small folder of documents."""
    folder = tmp_path_factory.mktemp("swept")
    arguments = [
        "-m",
        "hparams=tiny",
        *TINY,
        *PAIRS,
        f"dataset.path={shared_kb}",
        "hydra.sweep.dir=sweep",
        "trainer.evaluations=3",
        "trainer.batch_size=choice(8,16)",
        "trainer.epochs=4",
        "synthesis.target=200",
        "split.max_dev=40",
        "hydra.sweeper.pruner.n_startup_trials=2",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["run", *arguments])
        GlobalHydra.instance().clear()
        run_command.main()
    return folder / "sweep"


def test_a_sweep_beats_the_defaults_and_leaves_its_report(swept: Path) -> None:
    study = study_in(swept)
    record = json.loads((swept / "sweep.json").read_text())
    assert len(study.trials) == 8
    assert record["best"]["values"][0] > record["defaults"]["values"][0]
    for name in ("sweep.html", "sweep.md", "winner/report.html", "winner/outcome.json", "winner/model"):
        assert (swept / name).exists(), name
    # nothing but the winner's run has opened the test split
    assert not list(swept.glob("[0-9]*/outcome.json"))
    outcome = json.loads((swept / "winner" / "outcome.json").read_text())
    assert outcome["cached"] == ["synthesize", "finetune"]
    # what the trials share is there once, and of their models one is left
    cache = swept.parent / "outputs" / "cache"
    names = ("chunks", "pairs", "splits", "finetune")
    assert {name: len(stages(cache, name)) for name in names} == dict.fromkeys(names, 1)
    assert len(list(swept.glob("[0-9]*/model"))) == 1


def test_the_sweep_s_runs_in_mlflow_are_nested_and_the_best_is_tagged(swept: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{swept.parent}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("embexp").experiment_id], max_results=100)
    [study] = [run for run in runs if run.data.tags.get("stage") == "sweep"]
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == study.info.run_id]
    trials = [run for run in below if "trial" in run.data.tags]
    assert len(trials) == 8
    assert len([run for run in below if run.data.tags.get("winner") == "true"]) == 1
    assert set(trials[0].data.params) == {"trainer.learning_rate", "trainer.batch_size", "loss.scale"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    [best] = [run for run in trials if run.data.tags.get("best") == "true"]
    assert best.data.metrics["quality"] == pytest.approx(study_in(swept).best_value)
    pruned = [run for run in trials if "pruned" in run.data.tags]
    states = [trial.state.name for trial in study_in(swept).trials]
    assert len(pruned) == states.count("PRUNED") > 0
    assert "config.yaml" in [artifact.path for artifact in client.list_artifacts(best.info.run_id)]
    kept = [artifact.path for artifact in client.list_artifacts(study.info.run_id)]
    assert {"sweep.html", "sweep.json", "sweep.md"} <= set(kept)


@pytest.mark.slow
def test_a_sweep_goes_on_after_its_run_was_deleted(run, kb: Path, tmp_path: Path) -> None:
    sweep = ["-m", "hparams=tiny", *TINY, *PAIRS, f"dataset.path={kb}", "hydra.sweep.dir=sweep"]
    sweep += ["tracker=mlflow", "hydra.sweeper.winner=false", "trainer.batch_size=8"]
    assert run("run", *sweep, "hydra.sweeper.n_trials=1").code == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("embexp").experiment_id
    for one in client.search_runs([experiment]):
        client.delete_run(one.info.run_id)
    ended = run("run", *sweep, "hydra.sweeper.n_trials=2")
    assert ended.code == 0, ended.out + ended.err
    assert "has been deleted in MLflow. The sweep goes on under a new parent run" in ended.out + ended.err
    assert [trial.state.name for trial in study_in(tmp_path / "sweep").trials] == ["COMPLETE"] * 2
    runs = client.search_runs([experiment])
    [parent] = [one for one in runs if one.data.tags.get("stage") == "sweep"]
    [trial] = [one for one in runs if "trial" in one.data.tags]
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "sweep.md" in [artifact.path for artifact in client.list_artifacts(parent.info.run_id)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["trainer.learning_rat=interval(0,1)"],
            "trainer.learning_rat is not an option of trainer",
        ),
        (["trainer.epochs=choice(1,two)"], "trainer.epochs is 'two': give a whole number"),
        (["loss=mnrl,gistt"], "loss=gistt is not an option of loss: did you mean 'gist'?"),
        (["trainer.epochs=tag(log,range(1,9))"], "the tag 'log' does not apply"),
        (["hydra.sweeper.n_trial=3"], "hydra.sweeper.n_trial is not a key"),
        (["hparams=tinny"], "hparams=tinny is not an option of hparams: did you mean 'tiny'?"),
    ],
)
def test_a_wrong_space_ends_before_any_work(run, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    ended = run("run", "-m", "hparams=tiny", "experiment=tiny", "tracker=none", *arguments)
    assert ended.code == 2
    assert sentence in ended.out + ended.err
    assert not (tmp_path / "outputs" / "cache").exists()


@pytest.mark.slow
def test_trials_of_the_joblib_launcher_are_pruned_while_they_train(command, kb: Path, tmp_path: Path) -> None:
    """The defaults stay at a dev score of 0.9, the learning rate of 0.03 spoils the model at once."""
    ended = command(
        "run",
        "-m",
        "hparams=tiny",
        *TINY,
        *PAIRS,
        f"dataset.path={kb}",
        "hydra.sweep.dir=sweep",
        "trainer.evaluations=4",
        "trainer.learning_rate=choice(5e-5,0.03)",
        "loss.scale=20",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "hydra.sweeper.batch_size=2",
        "hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner",
        "hydra.sweeper.pruner.lower=0.6",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.winner=false",
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    whole, pruned = study_in(tmp_path / "sweep").trials
    assert (whole.state.name, pruned.state.name) == ("COMPLETE", "PRUNED")
    assert len(whole.intermediate_values) == 4
    assert len(pruned.intermediate_values) == 2  # the untuned model's, and the one that was too low
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    run = client.get_run(pruned.user_attrs["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["pruned"] == "true"
    assert not (tmp_path / "sweep" / "1" / "model").exists()


@pytest.mark.slow
def test_a_sweep_killed_more_often_than_a_trial_has_attempts_ends_with_just_its_trials(
    kb: Path, tmp_path: Path
) -> None:
    """SIGKILL three times within the training of trial 1: none is lost, none is done twice."""
    arguments = [
        "-m",
        "hparams=tiny",
        *TINY,
        *PAIRS,
        f"dataset.path={kb}",
        "hydra.sweep.dir=sweep",
        "trainer.evaluations=3",
        "trainer.batch_size=choice(8,16)",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.retries=1",
    ]
    command = [sys.executable, str(Path(__file__).parent / "paused_run.py"), *arguments]
    (tmp_path / "pause").write_text("1")
    for _ in range(3):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            wait_for((tmp_path / "paused").exists, process)
            process.kill()
        (tmp_path / "paused").unlink()
    (tmp_path / "pause").unlink()
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    trials = study_in(tmp_path / "sweep").trials
    finished = [trial for trial in trials if trial.state.is_finished() and trial.state.name != "FAIL"]
    cut_off = [trial for trial in trials if trial.state.name == "FAIL"]
    assert (len(finished), len(cut_off)) == (4, 3)
    assert len({tuple(sorted(trial.params.items())) for trial in finished}) == 4
    assert [trial.user_attrs["error"] for trial in cut_off] == ["its process ended"] * 3
    assert len({tuple(sorted(trial.params.items())) for trial in [*cut_off, trials[4]]}) == 1
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert record["best"]["values"][0] >= record["defaults"]["values"][0]
    assert (tmp_path / "sweep" / "winner" / "outcome.json").exists()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    kept = {client.get_run(trial.user_attrs["run_id"]).info.status for trial in finished}
    assert kept == {"FINISHED"}
