"""A whole sweep over a task that costs nothing: its trials, its failures, what it says and leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embexp.errors import ConfigError, SweepError
from tests.markdown_tables import tables
from tests.sweeper.parabola_sweeps import states


def lines(folder: Path) -> list[list[str]]:
    """Return what each job wrote: process, x, y, name."""
    return [line.split() for line in (folder / "diary.txt").read_text().splitlines()]


def test_the_total_is_kept_and_the_winner_runs_once_more(sweep, tmp_path: Path) -> None:
    study = sweep("x=interval(0,9)", "hydra.sweeper.n_trials=6")
    assert states(study) == {"COMPLETE": 6}
    assert study.trials[0].params == {"x": 5.0}  # what holds without a sweep is tried first
    ran = lines(tmp_path)
    assert len(ran) == 7
    assert float(ran[-1][1]) == pytest.approx(study.best_trial.params["x"], rel=1e-5)
    assert (tmp_path / "sweep" / "winner" / ".hydra" / "overrides.yaml").is_file()


def test_the_same_command_goes_on_and_a_greater_total_adds_to_it(sweep, tmp_path: Path) -> None:
    sweep("x=interval(0,9)", "hydra.sweeper.n_trials=3")
    sweep("x=interval(0,9)", "hydra.sweeper.n_trials=3")
    assert len(lines(tmp_path)) == 4  # three trials and the winner: the second command had nothing to do
    study = sweep("x=interval(0,9)", "hydra.sweeper.n_trials=5")
    assert states(study) == {"COMPLETE": 5}
    assert len({trial.params["x"] for trial in study.trials}) == 5  # no value is drawn twice


def test_the_report_names_the_winner_and_the_command_that_repeats_it(sweep, tmp_path: Path, capfd) -> None:
    study = sweep("x=interval(0,9)", "y=choice(1,2)", "name='a b'", "hydra.sweeper.n_trials=5")
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert record["best"]["number"] == study.best_trial.number
    assert len(record["trials"]) == 5
    assert record["defaults"]["values"] == [5.0]  # (5 - 3)² + 1
    command = record["command"]
    assert f"x={study.best_trial.params['x']:.6g}" in command
    assert "'name='\"'\"'a b'\"'\"''" in command  # quoted for a shell
    assert (tmp_path / "sweep" / "sweep.html").is_file()
    out = capfd.readouterr().out
    assert f"Trial {study.best_trial.number} is the best" in out or "Nothing beat the defaults" in out
    assert "sweep/sweep.html" in out
    trials, space = tables((tmp_path / "sweep" / "sweep.md").read_text())
    assert len(trials) == 1 + 5
    assert [str(study.best_trial.number), "complete"] in [row[:2] for row in trials]
    assert {row[0] for row in space[1:]} == study.best_trial.params.keys()


def test_one_choice_opens_others_and_the_report_shows_it(sweep, tmp_path: Path) -> None:
    (tmp_path / "conf" / "hparams").mkdir(parents=True)
    (tmp_path / "conf" / "hparams" / "branches.yaml").write_text(
        "# @package _global_\n"
        "hydra:\n  sweeper:\n"
        "    params: {name: 'choice(a,b)', x: 'interval(4,6)'}\n"
        "    conditional:\n      name=b: {x: 'interval(0,3)', y: 'choice(2,4)'}\n"
    )
    folder = f"hydra.searchpath=['file://{tmp_path / 'conf'}']"
    study = sweep(folder, "+hparams=branches", "hydra.sweeper.n_trials=8")
    assert study.trials[0].params == {"name": "a", "x": 5.0}  # what holds without a sweep
    for trial in study.trials:
        opened = trial.params["name"] == "b"
        assert ("y" in trial.params) == opened
        assert (trial.params["x"] <= 3) == opened
    assert len({trial.params["name"] for trial in study.trials}) == 2
    trials, space = tables((tmp_path / "sweep" / "sweep.md").read_text())
    cells = [dict(zip(trials[0], row, strict=True)) for row in trials[1:]]
    assert all((cell["y"] == "–") == (cell["name"] == "a") for cell in cells)
    values = [row[:2] for row in space[1:]]
    assert ["x if name=b", "0.0 … 3.0"] in values
    assert ["y if name=b", "2 \\| 4"] in values or ["y if name=b", "2 | 4"] in values
    page = (tmp_path / "sweep" / "sweep.html").read_text()
    assert "y if name=b" in page
    assert "A dash: the trial did not have that key" in page


def test_trials_that_fail_are_replaced_until_the_total_is_finished(sweep, capfd) -> None:
    study = sweep(
        "x=interval(0,9)",
        "name=choice(a,wrong,pruned,nan)",
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.sampler._target_=optuna.samplers.RandomSampler",
    )
    found = states(study)
    assert found["COMPLETE"] >= 1
    assert found["FAIL"] >= 1
    assert found["PRUNED"] >= 1
    assert found["COMPLETE"] + found["PRUNED"] == 6
    assert not [trial for trial in study.trials if "repeats" in trial.user_attrs]  # not tried again
    assert capfd.readouterr().out.count("is given up: ") == found["FAIL"]
    errors = {trial.user_attrs.get("error") for trial in study.trials} - {None}
    assert errors <= {"this one cannot work", "it returned [nan], which are no finite numbers"}


def test_a_space_of_which_nothing_else_runs_ends_the_sweep(sweep) -> None:
    with pytest.raises(SweepError, match=r"The last 10 trials were given up.*n_trials=1 ends the sweep"):
        sweep(
            "x=interval(0,9)",
            "name=at_5",
            "hydra.sweeper.n_trials=3",
            "hydra.sweeper.sampler._target_=optuna.samplers.RandomSampler",
        )


def test_an_error_that_may_pass_is_tried_again_so_often_and_no_more(sweep, capfd) -> None:
    study = sweep(
        "name=choice(a,unlucky)",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.retries=1",
        "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler",
    )
    assert states(study) == {"COMPLETE": 1, "FAIL": 2}
    [repeat] = [trial for trial in study.trials if "repeats" in trial.user_attrs]
    assert repeat.params == {"name": "unlucky"}
    assert repeat.user_attrs["error"] == "this one might work another time"
    assert "no further values: 1 of 2 trials have finished, 1 were given up" in capfd.readouterr().out


def test_a_sweep_whose_trials_all_fail_ends_with_the_reason(sweep) -> None:
    with pytest.raises(SweepError, match="No trial has finished and 3 failed, the last with: this"):
        sweep("x=interval(0,9)", "name=wrong", "hydra.sweeper.n_trials=20")


def test_two_objectives_end_in_a_front(sweep, tmp_path: Path, capfd) -> None:
    study = sweep(
        "x=interval(0,3)",
        "name=two",
        "hydra.sweeper.direction=[minimize,minimize]",
        "hydra.sweeper.n_trials=6",
        "hydra.sweeper.objectives=[quality,embedding_ms]",
    )
    record = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert sorted(record["front"]) == sorted(trial.number for trial in study.best_trials)
    # nearer to 3 is better in the first objective, and worse in the second
    assert record["best"]["params"]["x"] == max(trial.params["x"] for trial in study.trials)
    assert "Pareto front" in capfd.readouterr().out


@pytest.mark.parametrize("sampler", ["QMCSampler", "NSGAIISampler"])
def test_any_sampler_of_optuna_s_can_be_named(sweep, sampler: str) -> None:
    study = sweep(
        "x=interval(0,9)",
        "hydra.sweeper.n_trials=4",
        f"hydra.sweeper.sampler._target_=optuna.samplers.{sampler}",
    )
    assert states(study) == {"COMPLETE": 4}
    assert len({trial.params["x"] for trial in study.trials}) == 4


def test_a_space_that_is_used_up_ends_the_sweep(sweep) -> None:
    study = sweep(
        "y=choice(1,2,3)",
        "hydra.sweeper.n_trials=9",
        "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler",
    )
    assert states(study) == {"COMPLETE": 3}


def test_another_space_under_the_same_name_is_refused(sweep) -> None:
    sweep("x=interval(0,9)", "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=mine")
    with pytest.raises(ConfigError, match=r"The study mine has other trials: x was .* Set hydra"):
        sweep("x=interval(0,4)", "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=mine")
    with pytest.raises(ConfigError, match="The study mine is to minimize, not to maximize"):
        sweep("x=interval(0,9)", "hydra.sweeper.study_name=mine", "hydra.sweeper.direction=maximize")
    with pytest.raises(ConfigError, match=r"y was 1 and is now 2"):
        sweep("x=interval(0,9)", "y=2", "hydra.sweeper.study_name=mine")


@pytest.mark.parametrize(
    ("storage", "sentence"),
    [
        ("postgresql://someone:secret@127.0.0.1:1/none", "cannot be used: .*refused"),
        ("sqlite:////proc/nowhere/study.db", "The storage /proc/nowhere/study.db cannot be used"),
        ("mysql://host/x", "write sqlite:///FILE.db, FILE.journal, or postgresql://"),
        ("study.txt", "write sqlite:///FILE.db, FILE.journal, or postgresql://"),
    ],
)
def test_a_storage_that_is_not_there_is_one_sentence(sweep, storage: str, sentence: str) -> None:
    if storage.startswith("postgresql"):
        pytest.importorskip("psycopg2")
    with pytest.raises((ConfigError, SweepError), match=sentence) as caught:
        sweep("x=interval(0,9)", f"hydra.sweeper.storage={storage}")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_sentence(sweep, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("milk, eggs and a great deal of other things\n" * 50)
    with pytest.raises(SweepError, match=r"notes\.db cannot be used: file is not a database"):
        sweep("x=interval(0,9)", "hydra.sweeper.storage=sqlite:///notes.db")


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("n_trials=0", "hydra.sweeper.n_trials is 0: give a whole number from 1 to"),
        ("direction=up", "hydra.sweeper.direction is 'up'"),
        ("direction=[minimize,maximize]", "2 directions for 1 objectives"),
        ("objectives=[]", "hydra.sweeper.objectives is empty"),
        ("sampler._target_=optuna.samplers.Tpe", "names 'optuna.samplers.Tpe', which cannot be built"),
    ],
)
def test_a_wrong_option_is_one_sentence(sweep, option: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence.replace("[", r"\[")):
        sweep("x=interval(0,9)", f"hydra.sweeper.{option}")


def test_an_argument_that_a_pruner_does_not_have_is_named(sweep) -> None:
    with pytest.raises(ConfigError, match=r"'optuna\.pruners\.MedianPruner', which cannot be built: .*"):
        sweep("x=interval(0,9)", "++hydra.sweeper.pruner.wait=3")
