"""``python -m embexp.migrate``: its settings, what it writes and prints, and the commands of the page."""

from __future__ import annotations

import gc
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import embexp
from embexp import migrate
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.config.migrate_options import migration
from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.migrating import ChromaMigration, DriftAdapter
from embexp.models.tiny import TinyModel
from embexp.models.vector_adapter import VectorAdapter, identity_adapter
from tests.exporting.exported_run import finish_run
from tests.migrating.chroma_contents import contents, opened

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [f"every {word} of series {number} needs oil" for word in ("kettle", "piano") for number in range(15)]
SIZE = {"dimension": 16, "layers": 1}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two random models that every --run names; the folder is that of its files."""
    chunks = [Chunk(f"c{number}", f"d{number}", text) for number, text in enumerate(TEXTS)]
    queries = [Query(f"q{number}", text[6:20], f"d{number}") for number, text in enumerate(TEXTS)]
    questions = {"train": ["piano oil", "kettle oil", "series 3"], "dev": ["a piano", "a kettle of series"]}
    loaded = SimpleNamespace(
        folder=tmp_path / "run",
        sources={"untuned": TinyModel(**SIZE), "tuned": TinyModel(seed=1, **SIZE)},
        task=RetrievalTask(
            "test", chunks, queries, {query.id: {query.cluster: 1} for query in queries}, "document"
        ),
        outcome=SimpleNamespace(comparison=None, seed=0),
        config=SimpleNamespace(paths=SimpleNamespace(cache=tmp_path / "cache")),
        questions=questions.get,
    )
    monkeypatch.setattr("embexp.api.load_run", lambda *_, **__: loaded)
    return tmp_path / "run"


def test_an_adapter_is_fitted_scored_and_saved(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    migrate.main(["migrate.kinds=[identity,linear,low_rank]", "migrate.rank=4"])
    folder = run / "migrate" / "adapter"
    adapter = VectorAdapter.load(folder)
    assert (adapter.input_dimension, adapter.dimension, adapter.about["maps"]) == (16, 16, "queries")
    assert adapter.about["to"] == TinyModel(**SIZE).fingerprint()
    report = json.loads((folder / "migrate.json").read_text(encoding="utf-8"))
    assert list(report["held_out_hits"]) == ["identity", "linear", "low_rank"]
    assert set(report["scores"]) == {"untuned", "unadapted", "adapted", "tuned"}
    printed = capsys.readouterr().out
    for system, words in (
        ("untuned", "untuned +old"),
        ("adapted", r"tuned \+ \w+ adapter +old"),
        ("tuned", "tuned +new"),
    ):
        assert re.search(rf"^ *{words} +{report['scores'][system]:.4f}", printed, re.MULTILINE)
    # Random models: the gain is not sure.
    assert report["share"] is None
    assert re.search(r"On 30 test questions .* 95% interval .*: it is not sure that there is one", printed)


def test_a_share_is_printed_with_its_interval() -> None:
    gain = SimpleNamespace(queries=30, delta=0.1)
    report = SimpleNamespace(gain=gain, share=0.953, share_interval=(0.88, 1.041))
    assert migrate._sentence(report) == (
        "On the old index the adapter keeps 95% of the tuned model's gain, 95% interval 88% to 104%, "
        "on 30 test questions."
    )


def test_an_adapter_of_a_training_is_not_replaced(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity_adapter("linear", 16).save(tmp_path / "model")
    with pytest.raises(SystemExit) as end:
        migrate.main(["--to", str(tmp_path / "model")])
    assert end.value.code == 2
    assert "holds an adapter that embexp.migrate has not written" in capsys.readouterr().err


def test_a_collection_is_embedded_anew(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = TinyModel(**SIZE).load().encode(TEXTS, normalize_embeddings=True)
    with opened(tmp_path / "db") as client:
        ids = [f"id{number}" for number in range(len(TEXTS))]
        client.create_collection("manual", embedding_function=None).add(
            ids=ids, embeddings=old, documents=TEXTS
        )
    words = ["migrate=chroma", f"migrate.path={tmp_path / 'db'}", "migrate.collection=manual"]
    migrate.main(words)
    assert (
        "manual now holds 30 records of the tuned model, 30 of them embedded now" in capsys.readouterr().out
    )
    migrate.main([*words, "migrate.drop_old=true"])
    assert "0 of them embedded now" in (printed := capsys.readouterr().out)
    assert "The old one is deleted." in printed
    report = json.loads((run / "migrate" / "chroma" / "migrate.json").read_text(encoding="utf-8"))
    assert (report["records"], report["old"]) == (30, None)
    gc.collect()
    wanted = TinyModel(seed=1, **SIZE).load().encode(TEXTS, normalize_embeddings=True)
    found = contents(tmp_path / "db")["manual"]
    np.testing.assert_allclose([found[id][2] for id in ids], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], DriftAdapter()),
        (
            ["migrate.kinds=[identity,low_rank]", "migrate.rank=8"],
            DriftAdapter(kinds=["identity", "low_rank"], rank=8),
        ),
        (
            ["migrate=chroma", "migrate.collection=manual", "migrate.host=db", "migrate.port=1"],
            ChromaMigration(collection="manual", host="db", port=1),
        ),
    ],
)
def test_settings_choose_what_is_done(words: list[str], wanted: object) -> None:
    made = migration(words)
    if isinstance(wanted, DriftAdapter):
        assert (list(made.kinds), made.rank, made.hidden) == (list(wanted.kinds), wanted.rank, wanted.hidden)
    else:
        assert made == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["migrate=adaptor"], "adaptor.*adapter"),
        (["migrate.kind=[linear]"], "migrate.kind is not an option of migrate: did you mean 'kinds'"),
        (["migrate.kinds=[cubic]"], "migrate.kinds is .*cubic"),
        (["migrate.kinds=[]"], r"migrate.kinds is \[\]"),
        (["migrate.rank=0"], "migrate.rank is 0"),
        (["migrate=chroma"], "migrate.collection has no value: give it one"),
        (["migrate=chroma", "migrate.collection=x"], "migrate.path and migrate.host: neither is set"),
        (
            ["migrate=chroma", "migrate.collection=x", "migrate.path=a", "migrate.batch=0"],
            "migrate.batch is 0",
        ),
        (["loss=mnrl"], "'loss=mnrl' is not a setting of embexp.migrate, as in migrate=chroma"),
    ],
)
def test_a_wrong_setting_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        migration(words)


@pytest.mark.slow
def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    finished = finish_run(tmp_path)
    texts = [chunk.passage for chunk in embexp.load_run(finished).task.corpus]
    vectors = embexp.load_run(finished).sources["untuned"].load().encode(texts, normalize_embeddings=True)
    with opened(tmp_path / "chroma") as client:
        manual = client.create_collection("manual", embedding_function=None)
        manual.add(ids=[str(number) for number in range(len(texts))], embeddings=vectors, documents=texts)
    capsys.readouterr()
    for command in page_commands():
        if "migrate.host" not in command:  # no server runs here
            migrate.main(command.split())
            gc.collect()
    printed = capsys.readouterr().out
    assert f"manual now holds {len(texts)} records of the tuned model" in printed
    assert "The old one is deleted." in printed
    with opened(tmp_path / "chroma") as client:
        function = client.get_collection("manual", embedding_function=None).configuration_json[
            "embedding_function"
        ]
    assert function["config"]["model_name"] == str(finished / "model")  # so Chroma embeds questions itself
    blocks = re.findall(r"```py\n(.*?)```", page(), re.DOTALL)
    example = next(block for block in blocks if "VectorAdapter.load" in block)
    found: dict[str, np.ndarray] = {}
    exec(example.replace("outputs/DATE/TIME", str(finished)), found)
    assert found["vectors"].shape == (1, 16)
    np.testing.assert_allclose(np.linalg.norm(found["vectors"], axis=1), 1, atol=1e-5)


def page() -> str:
    return (ROOT / "docs" / "production.md").read_text(encoding="utf-8")


def page_commands() -> list[str]:
    """The commands of docs/production.md, without their comments."""
    return re.findall(r"^python -m embexp\.migrate (.*?)(?: +#.*)?$", page(), re.MULTILINE)


def test_the_commands_of_the_page_are_valid() -> None:
    commands = page_commands()
    assert len(commands) >= 4
    made = [migration(migrate.parser().parse_args(each.split()).settings) for each in commands]
    assert {type(each) for each in made} == {DriftAdapter, ChromaMigration}
