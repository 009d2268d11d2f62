"""Every option in conf/ composes, passes the checks and can be built without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from embexp.config.check import check
from embexp.config.schema import COMPONENTS, register
from embexp.errors import ConfigError
from embexp.package import conf_dir
from embexp.sweeper.settings import read_options
from embexp.sweeper.space import check_space, default_values
from embexp.sweeper.syntax import parse_space

register()
CONF = conf_dir()
GROUPS = [name for name in COMPONENTS if (CONF / name).is_dir()]
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
NEEDED = {
    ("dataset", "folder"): ["dataset.path=docs"],
    ("dataset", "pairs"): ["dataset.path=pairs.jsonl"],
    ("dataset", "beir"): ["dataset.path=scifact"],
    ("dataset", "hub"): ["dataset.id=mteb/scifact"],
    ("model", "local"): ["model.path=outputs/model"],
    ("model", "adapted"): ["model.path=outputs/model"],
    ("model", "openai_compatible"): ["model.id=m", "model.base_url=http://localhost:1/v1"],
    ("model", "hub"): ["model.id=BAAI/bge-m3"],
    ("llm", "openai_compatible"): ["llm.model=qwen", "llm.base_url=http://localhost:8000/v1"],
    ("llm", "replay"): ["llm.path=journal.jsonl"],
    ("synthesis", "rag"): ["llm=groq"],
    ("synthesis", "extractive_and_rag"): ["llm=groq"],
    ("synthesis", "entries"): ["llm=groq"],
    ("benchmark", "beir"): ["benchmark.dataset.path=scifact"],
    ("benchmark", "hub"): ["benchmark.dataset.id=mteb/scifact"],
    ("benchmark", "mteb"): ["benchmark.id=SciFact"],
    ("suite", "mteb"): ["suite.tasks=[STSBenchmark]"],
    ("benchmark", "queries"): ["benchmark.questions.path=questions.jsonl"],
}


def composed(*overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(
            "config",
            overrides=["paths.root=.", "paths.cache=outputs/cache", *overrides],
            return_hydra_config=False,
        )


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_option_composes_binds_and_instantiates(group: str, option: str) -> None:
    config = composed(f"{group}={option}", *NEEDED.get((group, option), []))
    check(config)
    assert instantiate(config[group], _convert_="all") is not None


TEACHERS = sorted(path.stem for path in (CONF / "teacher").glob("*.yaml"))


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize("place", ["loss.teacher", "loss.loss.teacher", "trainer.cross_encoder"])
def test_every_teacher_composes_binds_and_instantiates(name: str, place: str) -> None:
    loss = {
        "loss.teacher": ["loss=margin_mse"],
        "loss.loss.teacher": ["loss=matryoshka", "loss@loss.loss=distill_kl"],
    }.get(place, [])
    config = composed(*loss, f"teacher@{place}={name}")
    check(config)
    assert instantiate(config[place.partition(".")[0]], _convert_="all") is not None
    lines = (CONF / "teacher" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) <= 25


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_composes(name: str) -> None:
    needed = ["dataset.path=docs"] if name in {"own_documents", "beir"} else []
    check(composed(f"experiment={name}", *needed))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "hparams").glob("*.yaml")))
def test_every_space_selects_the_sweeper_and_can_be_searched(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        fixed = [f"hparams={name}", "paths.root=.", "paths.cache=."]
        config = compose("config", fixed, return_hydra_config=True)
        assert config.hydra.sweeper._target_.endswith("EmbexpOptunaSweeper")
        space = parse_space(read_options(config.hydra.sweeper).params, fixed, None)
        assert default_values(config, space) is not None  # the defaults lie within: they are tried first
        check_space(config, GlobalHydra.instance().config_loader(), space)


@pytest.mark.parametrize("group", ["experiment", "hparams"])
def test_recipes_and_spaces_begin_with_the_command_that_runs_them(group: str) -> None:
    for path in (CONF / group).glob("*.yaml"):
        package, command, purpose = path.read_text(encoding="utf-8").splitlines()[:3]
        assert package == "# @package _global_"
        assert re.match(rf"# python -m embexp.run (-m )?{group}={path.stem}\b", command), path
        assert purpose.startswith("# ")


@pytest.mark.parametrize(("group", "option"), OPTIONS, ids=[f"{group}={option}" for group, option in OPTIONS])
def test_every_option_file_is_short_and_says_what_it_is_for(group: str, option: str) -> None:
    lines = (CONF / group / f"{option}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) <= 25


LAUNCHERS = {
    "cores": ("joblib", "JoblibLauncher"),
    "slurm": ("submitit", "SlurmLauncher"),
    "slurm_local": ("submitit", "LocalLauncher"),
    "ray_local": ("ray", "RayLauncher"),
    "ray_cluster": ("ray", "RayLauncher"),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "hydra" / "launcher").glob("*.yaml")))
def test_every_launcher_composes_over_its_plugin_s_own(name: str) -> None:
    package, launcher = LAUNCHERS[name]
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=[f"hydra/launcher={name}"], return_hydra_config=True)
    assert config.hydra.launcher._target_.endswith(launcher)
    lines = (CONF / "hydra" / "launcher" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) <= 25


def test_the_root_file_is_short() -> None:
    assert len((CONF / "config.yaml").read_text(encoding="utf-8").splitlines()) < 40


@pytest.mark.parametrize("dataset", ["beir", "pairs", "icd10cm", "hub"])
def test_labelled_data_is_neither_cut_nor_added_to(dataset: str) -> None:
    config = composed(f"dataset={dataset}")
    assert config.chunker._target_.endswith("Whole")
    assert config.synthesis._target_.endswith("NoSynthesis")


def test_the_command_line_wins_over_a_data_set_s_choice() -> None:
    assert composed("dataset=beir", "chunker=windows").chunker._target_.endswith("Windows")


def test_a_tuned_model_is_an_option_of_its_own() -> None:
    config = composed("model@tuned=local", "tuned.path=outputs/model")
    assert config.tuned.path == "outputs/model"
    assert config.model._target_ != config.tuned._target_


def test_conf_is_found_beside_the_package() -> None:
    assert isinstance(CONF, Path)
    assert (CONF / "config.yaml").is_file()


@pytest.mark.parametrize(
    "overrides",
    [
        ["benchmark@forgetting=mteb", "forgetting.id=SciFact"],
        ["benchmark@forgetting=hub", "forgetting.dataset.id=mteb/scifact"],
        ["benchmark@forgetting=beir", "forgetting.dataset.path=scifact"],
    ],
)
def test_a_benchmark_with_a_corpus_of_its_own_measures_forgetting(overrides: list[str]) -> None:
    config = composed(*overrides)
    check(config)
    assert instantiate(config.forgetting, _convert_="all") is not None


@pytest.mark.parametrize(
    "overrides",
    [
        ["benchmark@forgetting=heldout"],
        ["benchmark@forgetting=queries", "forgetting.questions.path=q.csv"],
    ],
)
def test_questions_about_the_run_s_own_corpus_cannot_measure_forgetting(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"ask about the run's own corpus: choose a set with a corpus"):
        check(composed(*overrides))
