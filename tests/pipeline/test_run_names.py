"""Runs beside each other are called by what differs between them, and by that alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from embexp.config.build import build_run
from embexp.config.schema import register
from embexp.package import conf_dir
from embexp.pipeline.run_names import names_by_difference, settings_of

MNRL = {"_target_": "embexp.Mnrl", "scale": 20.0}
COSENT = {"_target_": "embexp.CoSent", "scale": 20.0, "margin": 0.1}


def left(folder: Path, choices: dict[str, str], **config: object) -> dict[str, str]:
    (folder / ".hydra").mkdir(parents=True)
    whole = {"seed": 0, "paths": {"cache": str(folder)}, "trainer": {"epochs": 1}, "loss": MNRL, **config}
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(whole))
    hydra = {"hydra": {"runtime": {"choices": {"trainer": "default", "loss": "mnrl", **choices}}}}
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.safe_dump(hydra))
    return settings_of(folder)


CASES = {
    "options of a group": ([({}, {}), ({"loss": "cosent"}, {"loss": COSENT})], ["loss=mnrl", "loss=cosent"]),
    "a key": (
        [({}, {}), ({}, {"trainer": {"epochs": 3}})],
        ["trainer.epochs=1", "trainer.epochs=3"],
    ),
    "a key of one option among several": (
        [({}, {}), ({}, {"loss": {**MNRL, "scale": 5.0}}), ({"loss": "cosent"}, {"loss": COSENT})],
        ["loss=mnrl loss.scale=20.0", "loss=mnrl loss.scale=5.0", "loss=cosent loss.scale=20.0"],
    ),
    "a root key": ([({}, {}), ({}, {"seed": 1})], ["seed=0", "seed=1"]),
    "a class alone": (
        [({}, {"loss": {**MNRL, "_target_": "own.A"}}), ({}, {"loss": {**MNRL, "_target_": "own.B"}})],
        ["loss._target_=own.A", "loss._target_=own.B"],
    ),
    "nothing": ([({}, {}), ({}, {})], ["0", "1"]),
    "two runs alike": (
        [({}, {}), ({}, {}), ({}, {"seed": 1})],
        ["seed=0 (0)", "seed=0 (1)", "seed=1"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_names_hold_what_differs(tmp_path: Path, case: str) -> None:
    runs, names = CASES[case]
    settings = {str(at): left(tmp_path / str(at), choices, **own) for at, (choices, own) in enumerate(runs)}
    assert list(names_by_difference(settings).values()) == names


def test_a_folder_without_a_configuration_has_no_settings(tmp_path: Path) -> None:
    assert settings_of(tmp_path) == {}


LONG = ["trainer.batch_size=32", "trainer.epochs=2", "trainer.max_pairs=500", "trainer.evaluations=2"]
TITLES = {
    "defaults": ([], "pydocs minilm mnrl"),
    "other options": (["model=tiny", "loss=cosent"], "pydocs tiny cosent"),
    "another trainer": (["trainer=fast"], "pydocs minilm mnrl trainer=fast"),
    "keys and a seed": (
        ["loss=cosent", "loss.scale=5.0", "seed=1"],
        "pydocs minilm cosent loss.scale=5.0 seed=1",
    ),
    "an added key": (
        ["+trainer.patience=4", "trainer=fast"],
        "pydocs minilm mnrl trainer.patience=4 trainer=fast",
    ),
    "a preset": (["experiment=tiny"], "pydocs tiny mnrl experiment=tiny"),
    "a folder of one's own": (
        ["dataset=folder", "dataset.path='/home/me/my kb/'"],
        "folder minilm mnrl dataset.path=my kb",
    ),
    "where files are kept": (["paths.cache=/x", "tracker=none", "hydra.verbose=false"], "pydocs minilm mnrl"),
    "many": (
        ["trainer=default", *LONG, "seed=1234567"],
        f"pydocs minilm mnrl trainer=default {' '.join(LONG)} …",
    ),
    "a secret": (
        ["llm=openai_compatible", "llm.model=x", "llm.base_url='http://me:fKq83hZ1@localhost:9/v1'"],
        "pydocs minilm mnrl llm=openai_compatible llm.model=x llm.base_url='http://me:********@localhost:9/v1'",
    ),
}


@pytest.mark.parametrize("case", TITLES)
def test_a_run_in_the_tracker_is_named_by_what_the_command_line_changes(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides, name = TITLES[case]
    register()
    folder = f"hydra.runtime.output_dir={tmp_path}"
    with initialize_config_dir(str(conf_dir()), job_name="run", version_base="1.3"):
        config = compose("config", overrides=[*overrides, folder], return_hydra_config=True)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    experiment, _ = build_run(config)
    assert experiment.title == name
