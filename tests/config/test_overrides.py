"""Values of the command line mean what they say, and presets combine with every data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from embexp.api import compose_config
from embexp.config.overrides import asks_for_multirun, config_dirs, hydra_arguments, hydra_override
from embexp.config.schema import register
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
    "kb (1)/größe=2#a~b",
    "a,b (c)",
]


def value(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "key", ["dataset.path", "benchmark.questions.path", "dataset.query_column", "hydra.sweep.subdir"]
)
def test_a_path_is_taken_as_it_is_typed(key: str, path: str) -> None:
    assert value(hydra_override(f"{key}={path}")) == path


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
    assert value(hydra_override(override)) == expected


@pytest.mark.parametrize("path", ["out (1)", "a=b", "2024_01_05", "ümläut#1", "a,b"])
@pytest.mark.parametrize("key", ["hydra.run.dir", "paths.cache", "hydra.sweeper.folder", "tracker.root"])
def test_a_folder_is_taken_as_it_is_typed(key: str, path: str) -> None:
    assert value(hydra_override(f"{key}={path}")) == path


@pytest.mark.parametrize(
    "key", ["hydra.run.dir", "paths.cache", "tracker.artifacts", "synthesis.examples", "llm.path"]
)
def test_a_folder_may_begin_at_home(key: str) -> None:
    assert value(hydra_override(f"{key}=~/o (1)")) == str(Path.home() / "o (1)")


def test_an_interpolation_in_a_path_stays_one() -> None:
    assert hydra_override("hydra.run.dir=o/${now:%Y}/x") == "hydra.run.dir=o/${now:%Y}/x"


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("dataset.path=a,b", ["a", "b"]),
        ("dataset.path=kb (1),kb (2)", ["'kb (1)'", "'kb (2)'"]),
        ("llm=choice(null,groq)", ["'null'", "groq"]),
        ("llm=null,groq", ["'null'", "groq"]),
        ("loss.scale=choice(null,20)", ["null", "20"]),
    ],
)
def test_a_multirun_takes_each_value(override: str, values: list[str]) -> None:
    read = OverridesParser.create().parse_override(hydra_override(override, multirun=True))
    assert list(read.sweep_string_iterator()) == values


def test_the_flag_decides_whether_there_are_several_runs() -> None:
    assert asks_for_multirun(["-m", "loss=mnrl"])
    assert not asks_for_multirun(["loss=mnrl"])
    assert hydra_override("dataset.path=a,b") == "dataset.path='a,b'"


@pytest.mark.parametrize(
    ("override", "more"),
    [
        ("loss=mnrl,gist", ""),
        ("seed=1,2", ""),
        ("model=choice(tiny,minilm)", ""),
        ("dataset.path=choice(a,b)", ""),
        ("trainer.epochs=range(1,4)", ""),
        ("trainer.epochs=1,2", "write 'trainer.epochs=[1,2]'"),
        ("+benchmark.models=a,b", "write 'benchmark.models=[a,b]'"),
    ],
)
def test_a_forgotten_flag_is_named(override: str, more: str) -> None:
    with pytest.raises(ConfigError, match="add -m to run each of them") as raised:
        hydra_override(override)
    assert more in str(raised.value)
    assert "+" not in str(raised.value)


@pytest.mark.parametrize("override", ["loss=[mnrl,gist]", "model@tuned=[tiny,minilm]"])
def test_options_are_not_merged(override: str) -> None:
    with pytest.raises(ConfigError, match="chooses 2 options"):
        hydra_override(override)


@pytest.mark.parametrize(
    "override", ["dataset=pairs", "loss=[mnrl", "~llm", "dataset.include=[a,b]", "experiment=[a,b]", "a b=3"]
)
def test_other_overrides_stay_as_they_are(override: str) -> None:
    assert hydra_override(override) == override


@pytest.mark.parametrize(("override", "read"), [("llm=null", "llm='null'"), ("loss=5", "loss='5'")])
def test_the_name_of_an_option_is_a_text(override: str, read: str) -> None:
    assert hydra_override(override) == read


def test_a_command_line_may_be_empty() -> None:
    assert (hydra_arguments([]), config_dirs([])) == ([], [])


def test_flags_may_stand_among_the_overrides() -> None:
    given = ["loss=cosent", "--config-dir", "conf", "model=tiny", "-m"]
    assert hydra_arguments(given) == ["--config-dir", "conf", "-m", "loss=cosent", "model=tiny"]


def test_the_values_of_flags_stay_as_they_are() -> None:
    given = ["--config-dir", "my (conf)=1", "-cn", "a,b", "--cfg", "job", "dataset.path=a,b"]
    assert hydra_arguments(given) == [*given[:-1], "dataset.path='a,b'"]
    assert config_dirs([*given, "--config-dir=x"]) == [Path("my (conf)=1").resolve(), Path("x").resolve()]


@pytest.mark.parametrize("form", ["--experimental-rerun={}", "--experimental-rerun {}"])
def test_a_run_is_repeated_by_its_overrides_and_not_from_a_pickle(form: str, tmp_path: Path) -> None:
    (tmp_path / "overrides.yaml").write_text("- loss=cosent\n- dataset.path='a,b'\n")
    with pytest.raises(ConfigError, match=r"reads a pickle.*embexp writes none") as raised:
        hydra_arguments(form.format(tmp_path / "config.pickle").split(" "))
    assert """with loss=cosent 'dataset.path='"'"'a,b'"'"''""" in str(raised.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="kb\ufffd holds bytes that are not UTF-8"):
        hydra_override("dataset.path=kb\udce9")


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

    from embexp.config.check import as_declared

    node = OmegaConf.create({"_target_": "embexp.data.datasets.PairsFile", "path": 2024, "limit": 3})
    data = instantiate(as_declared(node), _convert_="all")
    assert (data.path, data.limit) == ("2024", 3)


@pytest.mark.parametrize("key", ["trainer.patience", "chunker.overlap", "retriever.dense.batch"])
def test_an_argument_that_no_file_names_needs_no_plus(key: str) -> None:
    config = compose_config(f"{key}=3", *(["retriever=hybrid"] if "retriever" in key else []))
    assert OmegaConf.select(config, key) == 3


def test_an_argument_of_optuna_s_classes_needs_no_plus() -> None:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        keys = ["hydra.sweeper.sampler.n_startup_trials=3", "hydra.sweeper.pruner.n_warmup_steps=2"]
        config = compose("config", ["hparams=tiny", *keys], return_hydra_config=True)
    assert config.hydra.sweeper.sampler.n_startup_trials == 3
    assert config.hydra.sweeper.pruner.n_warmup_steps == 2


@pytest.mark.parametrize("override", ["llm=null", "suite=null", "model@tuned=null", "experiment=null"])
def test_null_leaves_a_group_empty(override: str) -> None:
    config = compose_config("llm=groq" if "llm" not in override else "seed=0", override)
    assert config.suite is None
    assert config.tuned is None
    assert (config.llm is None) == (override == "llm=null")


@pytest.mark.parametrize("folder", ["conf (1)", "a=b", "größe#1", "it's"])
def test_a_folder_of_options_may_have_any_name(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder / "loss").mkdir(parents=True)
    (tmp_path / folder / "loss" / "mine.yaml").write_text("defaults: [mnrl]\nscale: 33\n")
    assert compose_config("loss=mine", config_dir=tmp_path / folder).loss.scale == 33
    with pytest.raises(ConfigError, match=r"loss.scal is not an option of loss: did you mean 'scale'"):
        compose_config("loss=mine", "loss.scal=3", config_dir=tmp_path / folder)
