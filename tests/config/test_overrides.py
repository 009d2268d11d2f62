"""Values of the command line mean what they say, and presets combine with every data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from embexp.api import compose_config
from embexp.config.overrides import asks_for_multirun, settable
from embexp.errors import ConfigError
from embexp.package import conf_dir

PATHS = [
    "2024",
    "2024_01_05",
    "007",
    "1e5",
    "true",
    "nan",
    "ümläut",
    "日本",
    "a#b",
    "a=b",
    "it's",
    "~/kb",
    "a (copy).csv",
]
PATHS += [
    "[old]/kb",
    "{x}",
    "a, b",
    "a,b",
    "two words",
    'say "hi"',
    'it\'s "new"',
    "kb/x.csv",
    "-x",
    "C:\\kb",
]


def value(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["dataset.path", "benchmark.questions.path", "dataset.query_column"])
def test_a_path_is_taken_as_it_is_typed(key: str, path: str) -> None:
    assert value(settable(f"{key}={path}")) == path


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("dataset.path='quoted, by hand'", "quoted, by hand"),
        ("dataset.limit=300", 300),
        ("dataset.limit=null", None),
        ("dataset.path=null", None),
        ("dataset.include=[a,b]", ["a", "b"]),
        ("llm.model=größe", "größe"),
    ],
)
def test_other_values_keep_their_types(override: str, expected: object) -> None:
    assert value(settable(override)) == expected


def test_commas_separate_runs_in_a_multirun_alone() -> None:
    assert settable("dataset.path=a,b", multirun=True) == "++dataset.path=a,b"
    assert settable("dataset.path=a,b") == "++dataset.path='a,b'"
    assert asks_for_multirun(["-m", "loss=mnrl"])
    assert not asks_for_multirun(["loss=mnrl"])


def test_choices_of_options_stay_as_they_are() -> None:
    assert settable("dataset=pairs") == "dataset=pairs"
    assert settable("loss=[mnrl") == "loss=[mnrl"


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="kb\ufffd holds bytes that are not UTF-8"):
        settable("dataset.path=kb\udce9")


EXPERIMENTS = sorted(path.stem for path in (conf_dir() / "experiment").glob("*.yaml"))
DATASETS = {
    "pairs": ["dataset.path=pairs.jsonl"],
    "beir": ["dataset.path=scifact"],
    "folder": ["dataset.path=docs"],
    "hub": ["dataset.id=mteb/scifact"],
    "icd10cm": [],
    "pydocs": [],
}


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_preset_combines_with_every_data_set(experiment: str, dataset: str) -> None:
    overrides = [f"experiment={experiment}", f"dataset={dataset}", *DATASETS[dataset]]
    config = compose_config(*overrides)
    assert config.dataset._target_


def test_a_mistake_is_still_one_with_a_preset(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"synthesis.target is not an option"):
        compose_config("experiment=tiny", "dataset=pairs", "dataset.path=x", "synthesis.target=3")
    (tmp_path / "experiment").mkdir()
    preset = "# @package _global_\nsynthesis:\n  targett: 300\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(preset)
    with pytest.raises(ConfigError, match=r"synthesis.targett is not an option"):
        compose_config("experiment=mine", "dataset=pairs", "dataset.path=x", config_dir=tmp_path)


def test_a_number_in_a_file_is_a_text_where_a_text_is_meant() -> None:
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    from embexp.config.check import texts

    node = OmegaConf.create({"_target_": "embexp.data.datasets.PairsFile", "path": 2024, "limit": 3})
    data = instantiate(texts(node), _convert_="all")
    assert (data.path, data.limit) == ("2024", 3)
