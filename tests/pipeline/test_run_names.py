"""Runs beside each other are called by what differs between them, and by that alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

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
