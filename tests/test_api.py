"""The calls for notebooks do what the commands do: the same checks, the same files, the same search."""

from __future__ import annotations

import gc
import json
import logging
import shutil
from pathlib import Path

import pytest
import yaml

import embexp
from embexp import search
from embexp.models.tiny import TinyModel
from embexp.retrieval.chroma import _client_settings
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
    assert list(results)[:2] == ["untuned", "tuned"]
    for system in results.values():
        assert len(system) == 3
        assert [result.score for result in system] == sorted((r.score for r in system), reverse=True)
        assert all("needs oil" in result.chunk.text for result in system)


def with_retriever(folder: Path, copy: Path, **values: object) -> embexp.Run:
    """Load a copy of the run whose outcome.json has another retriever, or none."""
    shutil.copytree(folder / "outputs" / "X", copy)
    record = json.loads((copy / "outcome.json").read_text(encoding="utf-8"))
    record["retriever"] = {**record["retriever"], **values} if values else None
    if not values:
        del record["retriever"]
    (copy / "outcome.json").write_text(json.dumps(record), encoding="utf-8")
    return embexp.load_run(copy)


@pytest.mark.parametrize("model", ["untuned", "tuned"])
def test_the_retriever_to_serve_fuses_its_model_with_bm25(folder: Path, tmp_path: Path, model: str) -> None:
    run = with_retriever(folder, tmp_path / "run", model=model, weight=0.4, fusion="convex")
    question = "which kettle of series 3 needs oil"
    results = run.search(question, k=50)
    assert (list(results), run.served) == (["untuned", "tuned", "retriever"], "retriever")
    assert len(results["retriever"]) == 50
    alone = {each.chunk.id: each.score for each in results[model]}
    shares = {
        each.chunk.title: (each.score - 0.6 * alone[each.chunk.id]) / 0.4 for each in results["retriever"]
    }
    # BM25's share of its upper bound is in [0, 1) and greatest where all the words stand
    assert all(-1e-4 <= share < 1 for share in shares.values())
    assert max(shares, key=lambda title: shares[title]) == "The kettle 3"


@pytest.mark.parametrize("model", ["untuned", "tuned"])
def test_a_model_alone_is_served_from_its_own_column(folder: Path, tmp_path: Path, model: str) -> None:
    run = with_retriever(folder, tmp_path / "run", model=model, weight=0.0, fusion="none")
    assert (list(run.search("kettle")), run.served) == (["untuned", "tuned"], model)


def test_a_run_that_chose_no_retriever_is_searched_as_before(folder: Path, tmp_path: Path) -> None:
    run = with_retriever(folder, tmp_path / "run")
    assert (list(run.search("kettle")), run.served) == (["untuned", "tuned"], None)


@pytest.mark.parametrize(
    ("values", "heading", "note"),
    [
        (
            {"model": "tuned", "weight": 0.3},
            "# untuned move tuned move retriever",
            "Served: the tuned model with BM25 at weight 0.3 (the last column).",
        ),
        ({"model": "tuned", "weight": 0.0}, "# untuned move tuned", "Served: the tuned model alone."),
        ({}, "# untuned move tuned", None),
    ],
)
def test_the_command_says_which_results_are_served(
    folder: Path,
    tmp_path: Path,
    values: dict[str, object],
    heading: str,
    note: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = with_retriever(folder, tmp_path / "run", **values)
    search.main(["which kettle needs oil", "--run", str(run.folder), "-k", "2"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert heading in lines
    served = [line for line in lines if line.startswith("Served")]
    assert len(served) == bool(note)
    assert not note or served[0].startswith(note)


def test_the_outcome_says_what_is_truncated_and_why_there_is_no_threshold(folder: Path) -> None:
    outcome = embexp.load_run(folder / "outputs" / "X").outcome
    assert set(outcome.truncation) == {"passages", "queries"}
    assert [(each.limit, each.cut, each.lost) for each in outcome.truncation.values()] == [(254, 0, 0)] * 2
    assert outcome.truncation["passages"].texts == outcome.counts["chunks"]
    assert outcome.score_threshold
    assert (outcome.score_threshold.model, outcome.score_threshold.threshold) == ("tuned", None)
    assert "are too few for a threshold" in outcome.score_threshold.reason


@pytest.mark.parametrize(
    ("question", "note"),
    [
        # "aa" is one token: 508 of them are twice the limit of 254.
        (
            "aa " * 508,
            "Truncated: the question has 508 tokens, and the untuned and the tuned model read the first 254: "
            "50% of it is lost. Ask a shorter question, or tune a model that reads longer texts.",
        ),
        ("aa " * 254, ""),
    ],
)
def test_a_search_says_what_is_cut_of_its_question(
    folder: Path, question: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    search.main([question, "--run", str(folder / "outputs" / "X"), "-k", "2"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Truncated")]
    assert lines == ([note] if note else [])


def with_threshold(folder: Path, copy: Path, threshold: float | None, *, retriever: str = "") -> Path:
    """Return a copy of the run with a score threshold, and with another retriever where one is named."""
    shutil.copytree(folder / "outputs" / "X", copy)
    record = json.loads((copy / "outcome.json").read_text(encoding="utf-8"))
    if threshold is not None:
        at = {"threshold": threshold, "precision": 0.9, "answered": 0.8, "refused": 0.7}
        record["score_threshold"] |= {
            "threshold": threshold,
            "interval": [threshold - 0.1, threshold + 0.1],
            "reason": "",
            "at": at,
        }
    (copy / "outcome.json").write_text(json.dumps(record), encoding="utf-8")
    if retriever:
        config = yaml.safe_load((copy / ".hydra" / "config.yaml").read_text(encoding="utf-8"))
        config["retriever"] = {"_target_": f"embexp.retrieval.{retriever}"}
        (copy / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return copy


@pytest.mark.parametrize("retriever", ["", "Bm25Retriever", "ExactRetriever"])
@pytest.mark.parametrize(("above", "said"), [(0.05, True), (-0.05, False), (None, False)])
def test_a_search_says_when_there_is_probably_no_answer(
    folder: Path,
    tmp_path: Path,
    above: float | None,
    said: bool,
    retriever: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The best cosine decides whatever the run searches with: BM25's scores are no cosines."""
    question = "which kettle needs oil"
    best = embexp.load_run(folder / "outputs" / "X").search(question, k=1)["tuned"][0].score
    threshold = None if above is None else best + above
    copy = with_threshold(folder, tmp_path / "run", threshold, retriever=retriever)
    search.main([question, "--run", str(copy), "-k", "2"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "probably no answer" in line]
    assert len(lines) == said
    start = "there is probably no answer. The best cosine of the tuned model is"
    assert not said or lines[0].startswith(f"Below {threshold:.3f}: {start} {best:.3f}")


def test_an_index_of_another_model_is_refused_and_kept(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder / "outputs" / "X", copy)
    shutil.rmtree(copy / "model")
    TinyModel(seed=5).load().save(str(copy / "model"))
    before = fingerprints(copy / "index")
    with pytest.raises(SystemExit) as ended:
        search.main(["kettle", "--run", str(copy)])
    assert ended.value.code == 2
    del ended  # it holds the open database
    gc.collect()
    said = capsys.readouterr().err
    name = f"tuned-{embexp.load_run(copy).outcome.dataset}"
    index = f"The collection {name} of the Chroma database in {copy / 'index'}"
    assert f"{index} was made by another model than {copy / 'model'}" in said
    assert "search again, which embeds the corpus with this model" in said
    assert fingerprints(copy / "index") == before
    shutil.move(copy / "index", tmp_path / "away")
    search.main(["kettle", "--run", str(copy)])
    assert fingerprints(copy / "index") != before


def fingerprints(index: Path) -> dict[str, str]:
    """Return the model and the size of each collection."""
    import chromadb

    client = chromadb.PersistentClient(str(index), settings=_client_settings())
    listed = client.list_collections()
    found = {each.name: f"{each.metadata['fingerprint']} {each.count()}" for each in listed}
    client.close()
    return found


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
