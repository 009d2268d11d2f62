"""A collection is embedded anew beside the old one and switched; a kill at any step loses nothing."""

from __future__ import annotations

import gc
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.migrating.reembedding import ChromaMigration, reembed
from embexp.retrieval import chroma
from embexp.retrieval.chroma import ChromaRetriever
from tests.migrating.chroma_contents import contents, opened
from tests.retrieval.letter_embedder import LetterEmbedder, TurnedEmbedder

TEXTS = {f"id{number}": f"{'abcdefgh'[number % 8]} b {number}" for number in range(25)}


def fill(path: Path, *, texts: dict[str, str | None] | None = None, **created: Any) -> None:
    """Write a collection as another program does."""
    texts = TEXTS if texts is None else texts
    with opened(path) as client:
        collection = client.create_collection("manual", embedding_function=None, **created)
        if texts:
            vectors = LetterEmbedder().encode_queries([text or "a" for text in texts.values()])
            collection.add(
                ids=list(texts),
                embeddings=vectors,
                documents=None if None in texts.values() else list(texts.values()),
                metadatas=[{"page": number, "share": float("nan")} for number in range(len(texts))],
            )


def settings(path: Path, /, **changed: Any) -> ChromaMigration:
    return ChromaMigration(**{"collection": "manual", "path": str(path), "batch": 4, **changed})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    fill(tmp_path / "db")
    return tmp_path / "db"


def check_migrated(path: Path, before: dict[str, Any]) -> None:
    """The new collection has the old one's records with new vectors, and the old one is as it was."""
    found = contents(path)
    assert len(found) == 2
    old = next(name for name in found if name != "manual")
    assert old.startswith("manual-before-")
    assert repr(found[old]) == repr(before["manual"])
    for id, (text, metadata, vector) in found["manual"].items():
        assert (text, repr(metadata)) == (before["manual"][id][0], repr(before["manual"][id][1]))
        np.testing.assert_allclose(vector, TurnedEmbedder().encode_passages([text])[0], atol=1e-6)


def test_a_collection_is_embedded_anew_and_switched(path: Path) -> None:
    before, tuned = contents(path), TurnedEmbedder()
    report = reembed(settings(path), tuned, LetterEmbedder())
    gc.collect()
    assert (report.records, report.embedded, report.sampled, report.found) == (25, 25, 25, 1.0)
    assert report.largest_deviation < 1e-5
    check_migrated(path, before)
    with opened(path) as client:
        new = client.get_collection("manual", embedding_function=None)
        assert new.metadata["fingerprint"] == "turned"
        assert new.configuration_json["hnsw"]["space"] == "l2"  # as the old one


def test_a_second_command_finds_it_done_and_drops_the_old_one(path: Path) -> None:
    reembed(settings(path), TurnedEmbedder(), LetterEmbedder())
    tuned = TurnedEmbedder()
    report = reembed(settings(path, drop_old=True), tuned, LetterEmbedder())
    gc.collect()
    assert (report.records, report.embedded, report.old) == (25, 0, None)
    assert len(tuned.passages) == 25  # the sample alone
    assert list(contents(path)) == ["manual"]


class KilledError(BaseException):
    """Stands for SIGKILL: nothing in embexp catches it."""


@pytest.mark.parametrize(
    ("call", "times"),
    [("add", 1), ("add", 3), ("modify", 1), ("modify", 2), ("query", 1)],
    ids=["first batch", "third batch", "before the switch", "between the renames", "while verifying"],
)
@pytest.mark.parametrize(
    "done",
    [
        pytest.param(False, id="before the call", marks=pytest.mark.slow),
        pytest.param(True, id="after the call"),
    ],
)
def test_a_killed_migration_goes_on(
    path: Path, call: str, times: int, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chromadb import Collection

    before, tuned, calls = contents(path), TurnedEmbedder(), 0
    original = getattr(Collection, call)

    def killed(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == times:
            if done:
                original(self, *arguments, **named)
            raise KilledError
        return original(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Collection, call, killed)
        with pytest.raises(KilledError):
            reembed(settings(path), tuned, LetterEmbedder())
    report = reembed(settings(path), tuned, LetterEmbedder())
    gc.collect()
    check_migrated(path, before)
    written = {"add": 4 * (times - 1 + done)}.get(call, 25)
    assert report.embedded == 25 - written


def test_an_empty_collection_that_took_the_name_meanwhile_gives_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_between_the_renames(path, monkeypatch)
    with opened(path) as client:
        client.create_collection("manual", embedding_function=None)
    reembed(settings(path), TurnedEmbedder(), LetterEmbedder())
    gc.collect()
    assert {name[:13]: len(each) for name, each in contents(path).items()} == {
        "manual": 25,
        "manual-before": 25,
    }


def test_records_that_were_written_under_the_name_meanwhile_are_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_between_the_renames(path, monkeypatch)
    with opened(path) as client:
        client.create_collection("manual", embedding_function=None).add(ids=["x"], embeddings=[[1.0]])
    with pytest.raises(RetrievalError, match="a program wrote 1 records to a new collection manual"):
        reembed(settings(path), TurnedEmbedder(), LetterEmbedder())


def kill_between_the_renames(path: Path, monkeypatch: pytest.MonkeyPatch, *, name: str = "manual") -> None:
    from chromadb import Collection

    original, wanted = Collection.modify, name

    def first_only(self: Any, name: str) -> None:
        if name == wanted:
            raise KilledError
        original(self, name=name)

    with monkeypatch.context() as patch:
        patch.setattr(Collection, "modify", first_only)
        with pytest.raises(KilledError):
            reembed(settings(path, collection=name), TurnedEmbedder(), LetterEmbedder())
    gc.collect()


def test_what_changes_in_the_old_collection_meanwhile_is_followed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_in_batch(path, 4, monkeypatch)
    with opened(path) as client:
        old = client.get_collection("manual", embedding_function=None)
        old.delete(ids=["id0"])
        old.update(ids=["id1"], documents=["h h"], embeddings=LetterEmbedder().encode_queries(["h h"]))
        old.update(ids=["id2"], metadatas=[{"page": 99}])
        old.add(ids=["new"], documents=["c"], embeddings=LetterEmbedder().encode_queries(["c"]))
    before = contents(path)
    del before[next(name for name in before if name != "manual")]
    report = reembed(settings(path), TurnedEmbedder(), LetterEmbedder())
    gc.collect()
    check_migrated(path, before)
    assert report.records == 25
    assert "id0" not in contents(path)["manual"]


def kill_in_batch(path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from chromadb import Collection

    original, calls = Collection.add, 0

    def add(self: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KilledError
        original(self, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Collection, "add", add)
        with pytest.raises(KilledError):
            reembed(settings(path), TurnedEmbedder(), LetterEmbedder())
    gc.collect()


@pytest.mark.parametrize("name", ["my-next-docs", "a" * 500])
def test_any_name_that_chroma_accepts_is_kept(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(path) as client:
        client.get_collection("manual", embedding_function=None).modify(name=name)
    kill_between_the_renames(path, monkeypatch, name=name)
    reembed(settings(path, collection=name), TurnedEmbedder(), LetterEmbedder())
    gc.collect()
    assert {each: len(records) for each, records in contents(path).items() if "-before-" not in each} == {
        name: 25
    }


def test_embexps_own_collection_is_embedded_with_titles(tmp_path: Path) -> None:
    chunks = [Chunk("1", "d", "b b", title="a"), Chunk("2", "d", "c")]
    ChromaRetriever().index(chunks, LetterEmbedder(name="untuned letters"), path=tmp_path)
    gc.collect()
    reembed(settings(tmp_path, collection="untuned-letters"), TurnedEmbedder(), LetterEmbedder())
    gc.collect()
    wanted = TurnedEmbedder().encode_passages(["a\nb b"])[0]
    np.testing.assert_allclose(contents(tmp_path)["untuned-letters"]["1"][2], wanted, atol=1e-6)


def test_stored_vectors_of_another_model_do_not_verify(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_in_batch(path, 3, monkeypatch)
    with opened(path) as client:
        new = next(each for each in client.list_collections() if each.name != "manual")
        new = client.get_collection(new.name, embedding_function=None)
        new.update(ids=["id0"], embeddings=[[0, 0, 0, 0, 0, 0, 0, 1.0]])
    with pytest.raises(RetrievalError, match=r"manual-next-\w+ .*deviates by .*Delete manual-next"):
        reembed(settings(path), TurnedEmbedder(), LetterEmbedder())
    gc.collect()
    assert "manual" in contents(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"path": "nowhere"}, "nowhere holds no Chroma database"),
        ({"collection": "manuel"}, r"has no collection 'manuel' \(it has manual\)"),
    ],
)
def test_a_missing_collection_is_named(path: Path, changed: dict[str, str], message: str) -> None:
    with pytest.raises(RetrievalError, match=message):
        reembed(settings(path, **changed), TurnedEmbedder(), LetterEmbedder())


def test_a_collection_of_another_model_is_refused_unless_told(tmp_path: Path) -> None:
    fill(tmp_path, metadata={"fingerprint": "other"})
    with pytest.raises(
        RetrievalError, match=r"another model .*fingerprint other, not letters.*any_model=true"
    ):
        reembed(settings(tmp_path), TurnedEmbedder(), LetterEmbedder())
    assert reembed(settings(tmp_path, any_model=True), TurnedEmbedder(), LetterEmbedder()).records == 25


def test_a_collection_of_another_dimension_is_refused(path: Path) -> None:
    class Longer(LetterEmbedder):
        dimension = 9

    with pytest.raises(RetrievalError, match="dimension 8, not 9"):
        reembed(settings(path), TurnedEmbedder(), Longer())


def test_a_model_that_changes_questions_alone_is_refused(path: Path) -> None:
    with pytest.raises(RetrievalError, match="gives passages the vectors that manual has already"):
        reembed(settings(path), LetterEmbedder("adapted"), LetterEmbedder())


def test_records_without_text_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, texts=dict.fromkeys(("one", "two")))
    with pytest.raises(RetrievalError, match=r"2 of 2 records of the collection manual have no text.*'one'"):
        reembed(settings(tmp_path), TurnedEmbedder(), LetterEmbedder())


def test_an_empty_collection_is_named(tmp_path: Path) -> None:
    fill(tmp_path, texts={})
    with pytest.raises(RetrievalError, match="is empty: there is nothing to embed"):
        reembed(settings(tmp_path), TurnedEmbedder(), LetterEmbedder())


def test_a_full_disk_is_told_before_the_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, usage = contents(path), shutil.disk_usage(path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000))
    with pytest.raises(RetrievalError, match=r"needs about 0.0 GB beside the old one.*0.0 GB left"):
        reembed(settings(path), TurnedEmbedder(), LetterEmbedder())
    gc.collect()
    assert repr(contents(path)) == repr(before)


def test_a_disk_that_fills_up_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chromadb import Collection
    from chromadb.errors import InternalError

    def fail(self: Any, **named: Any) -> None:
        raise InternalError("error returned from database: (code: 13) database or disk is full")

    monkeypatch.setattr(Collection, "add", fail)
    with pytest.raises(Exception, match="No space left on the disk that holds"):
        reembed(settings(path), TurnedEmbedder(), LetterEmbedder())


def test_a_server_that_is_down_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    down = ChromaMigration(collection="manual", host="127.0.0.1", port=port)
    with pytest.raises(RetrievalError, match=f"No Chroma server answers at 127.0.0.1:{port}"):
        reembed(down, TurnedEmbedder(), LetterEmbedder())


@pytest.mark.parametrize("given", [{}, {"path": "a", "host": "b"}])
def test_a_folder_or_a_server_is_needed(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"(neither|both) is set\. Give the folder"):
        ChromaMigration(collection="manual", **given)


def test_the_batch_keeps_to_what_chroma_takes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma.ChromaDatabase, "max_batch", 2)
    assert reembed(replace(settings(path), batch=1_000), TurnedEmbedder(), LetterEmbedder()).embedded == 25
