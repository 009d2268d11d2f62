"""A run folder from somebody else is data: its configuration cannot make embexp import or call anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from embexp import load_run
from embexp.config.trust import refuse_foreign_targets
from embexp.errors import ConfigError, DataError
from embexp.search import main

OWN = {
    "model": {"_target_": "embexp.models.TinyModel"},
    "retriever": {
        "_target_": "embexp.retrieval.HybridRetriever",
        "dense": {"_target_": "embexp.retrieval.ExactRetriever"},
    },
    "benchmark": {"models": [{"_target_": "embexp.models.HubModel", "repo": "someone/model"}]},
}


def test_the_classes_of_the_options_are_allowed() -> None:
    refuse_foreign_targets(OmegaConf.create(OWN), Path("config.yaml"))


@pytest.mark.parametrize(
    "target",
    [
        "shutil.copy",
        "urllib.request.urlretrieve",
        "os.system",
        "my_losses.Loss",
        "embexp.storage.files.copy_folder",  # ours, but no component
        "embexp.storage.files.shutil.copy",
        " embexp.models.TinyModel; os.system",
        "${oc.env:TARGET}",
    ],
)
@pytest.mark.parametrize("place", ["retriever", "retriever.dense", "benchmark.models[0]", "anything.deep"])
def test_anything_else_is_refused_wherever_it_is(target: str, place: str) -> None:
    config = OmegaConf.create(OWN)
    OmegaConf.update(config, f"{place}._target_", target, force_add=True)

    with pytest.raises(
        ConfigError, match=r"config.yaml: .*_target_ is .* not a component of embexp.*--trust"
    ):
        refuse_foreign_targets(config, Path("config.yaml"))


def made_run(folder: Path, config: str) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "model").mkdir()
    (folder / "data" / "chunks.jsonl").touch()
    (folder / "outcome.json").write_text(json.dumps({"schema": 1}))
    (folder / ".hydra" / "config.yaml").write_text(config)
    return folder


def test_a_search_of_a_foreign_run_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made_run(tmp_path / "run", "retriever:\n  _target_: planted.Planted\n")
    (run / "planted.py").write_text("raise SystemExit('the planted module ran')\n")
    monkeypatch.chdir(run)
    monkeypatch.syspath_prepend(str(run))

    with pytest.raises(SystemExit) as ended:
        main(["a question", "--run", str(run)])

    assert ended.value.code == 2
    assert (
        "retriever._target_ is 'planted.Planted', which is not a component of embexp"
        in capsys.readouterr().err
    )
    assert "planted" not in sys.modules


def test_a_trusted_run_may_name_them(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", "retriever:\n  _target_: planted.Planted\n")

    assert load_run(run, trust=True).config.retriever["_target_"] == "planted.Planted"


@pytest.mark.parametrize("text", ["a: [", "\x00", "- a list"])
def test_a_broken_configuration_is_one_sentence(text: str, tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", text)

    with pytest.raises(DataError, match=r"config.yaml (cannot be read as YAML|is not a mapping)"):
        _ = load_run(run).config
