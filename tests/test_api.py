"""The calls for notebooks do what the commands do: the same checks, the same files, the same search."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import embexp
from tests.pipeline.pipeline_settings import TINY

TOPICS = ("kettle", "bicycle", "garden", "piano", "harbour")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a knowledge base of 50 pages and a finished run, ``X``."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "kb").mkdir()
    for topic in TOPICS:
        for number in range(10):
            text = (
                f"# The {topic} {number}\n\nEvery {topic} of series {number} needs oil and a {topic} box.\n"
            )
            (folder / "kb" / f"{topic}{number}.md").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        handlers = logging.getLogger().handlers[:]
        outcome = embexp.run_experiment(
            "dataset=folder", "dataset.path=kb", "tracker=none", "hydra.run.dir=outputs/X", *TINY
        )
        assert logging.getLogger().handlers == handlers
    assert outcome.model == "tiny"
    return folder


def test_a_run_leaves_the_files_of_the_command(folder: Path) -> None:
    for name in ("outcome.json", "report.html", "scores.parquet", "model", "run.log", ".hydra/config.yaml"):
        assert (folder / "outputs" / "X" / name).exists(), name
    assert "kb" in (folder / "outputs" / "X" / "run.log").read_text(encoding="utf-8")


def test_the_latest_run_is_loaded_and_searched(folder: Path) -> None:
    run = embexp.load_run(outputs=folder / "outputs")
    assert run.folder == folder / "outputs" / "X"
    assert run.outcome.counts["documents"] == 50
    assert run.config.model.name == "tiny"
    results = run.search("which kettle needs oil", k=3)
    assert list(results) == ["untuned", "tuned"]
    for system in results.values():
        assert len(system) == 3
        assert [result.score for result in system] == sorted((r.score for r in system), reverse=True)
        assert all("needs oil" in result.chunk.text for result in system)


def test_a_run_is_loaded_by_its_folder(folder: Path) -> None:
    assert embexp.load_run(folder / "outputs" / "X").outcome.model == "tiny"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("latest", "There is no finished run below"),
        ("nowhere", r"nowhere is not a finished run \(no outcome.json\)"),
    ],
)
def test_a_run_that_does_not_exist(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(embexp.EmbexpError, match=sentence):
        embexp.load_run(name)


def test_an_empty_question(folder: Path) -> None:
    with pytest.raises(embexp.EmbexpError, match="The question is empty"):
        embexp.load_run(folder / "outputs" / "X").search("  ")


def test_a_configuration_is_composed_and_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = embexp.compose_config("model=tiny", "loss=cosent", "trainer.epochs=3")
    assert config.trainer.epochs == 3
    assert config.loss._target_.endswith("Cosent")
    assert config.paths.cache == str(tmp_path / "outputs" / "cache")
    assert config.trainer.metric == "ndcg@10"
    assert "hydra" not in config


def test_options_of_one_s_own_are_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "wide.yaml").write_text(
        "# mine\ndefaults: [tiny, _self_]\ndimension: 128\n", encoding="utf-8"
    )
    config = embexp.compose_config("model=wide", "benchmark.models=[wide]", config_dir=tmp_path)
    assert config.model.dimension == 128
    assert config.benchmark.models[0].dimension == 128


@pytest.mark.parametrize("call", [embexp.compose_config, embexp.run_experiment])
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loss=mnlr", "loss=mnlr is not an option of loss: did you mean 'mnrl'?"),
        ("trainer.epoch=3", "trainer.epoch is not an option of trainer: did you mean 'epochs'?"),
        ("sead=3", "sead is not a key of the configuration: did you mean 'seed'?"),
        ("dataset=folder", "dataset.path has no value"),
    ],
)
def test_a_mistake_is_explained(call, override: str, sentence: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(embexp.EmbexpError) as raised:
        call(override, f"hydra.run.dir={tmp_path}/X") if call is embexp.run_experiment else call(override)
    assert sentence in str(raised.value)


def test_what_the_package_offers() -> None:
    assert sorted(embexp.__all__) == embexp.__all__
    assert all(hasattr(embexp, name) for name in embexp.__all__)
