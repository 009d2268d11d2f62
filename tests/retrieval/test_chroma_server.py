from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.migrating import ChromaMigration, reembed
from embexp.retrieval import chroma
from embexp.retrieval.chroma import ChromaServerRetriever
from tests.retrieval.letter_embedder import LetterEmbedder, TurnedEmbedder

Make = Callable[..., list[Chunk]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Chroma server on this machine."""
    command = shutil.which("chroma", path=str(Path(sys.executable).parent)) or shutil.which("chroma")
    if command is None:
        pytest.skip("the chroma command is not installed")
    port = free_port()
    folder = tmp_path_factory.mktemp("server")
    arguments = [command, "run", "--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(arguments, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the Chroma server did not start within 30 seconds")


def test_a_server_keeps_each_corpus_apart(
    server: int, letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    retriever = ChromaServerRetriever(host="127.0.0.1", port=server, batch=2)
    one = retriever.index(iter(chunks("a", "ab", "b")), letters, path=tmp_path)
    other = retriever.index(chunks("c"), letters, path=tmp_path)

    assert [hit.id for hit in one.search(["a"], k=9)[0]] == ["0", "1", "2"]
    assert one.search(["a"], k=9)[0][1].score == pytest.approx(0.5**0.5, abs=1e-5)
    assert [hit.id for hit in other.search(["a"], k=9)[0]] == ["0"]
    assert list(tmp_path.iterdir()) == []


def test_the_same_corpus_is_found_again(
    server: int, letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    retriever = ChromaServerRetriever(host="127.0.0.1", port=server, collection="again")
    retriever.index(chunks("d", "e"), letters, path=tmp_path)
    later = LetterEmbedder()
    index = retriever.index(chunks("d", "e"), later, path=tmp_path)

    assert later.passages == []
    assert [hit.id for hit in index.search(["e"], k=1)[0]] == ["1"]


def test_a_collection_on_a_server_is_named_after_the_model_and_both_hashes(
    server: int, chunks: Make, tmp_path: Path
) -> None:
    retriever = ChromaServerRetriever(host="127.0.0.1", port=server)
    named = LetterEmbedder(name="tuned kb")
    index = retriever.index(chunks("g"), named, path=tmp_path)
    assert re.fullmatch(r"embexp-tuned-kb-[0-9a-f]{12}", index._name)
    assert index._collection.get()["documents"] == ["g"]


def test_other_settings_than_the_collection_was_built_with_are_refused(
    server: int, letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    ChromaServerRetriever(host="127.0.0.1", port=server).index(chunks("f"), letters, path=tmp_path)

    with pytest.raises(
        RetrievalError, match=r"built with ef_search 100, not 9.*another retriever.collection"
    ):
        ChromaServerRetriever(host="127.0.0.1", port=server, ef_search=9).index(
            chunks("f"), letters, path=tmp_path
        )


def test_no_server_is_a_sentence_with_the_command_to_start_one(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    port = free_port()
    with pytest.raises(RetrievalError, match=rf"No Chroma server answers at 127.0.0.1:{port} .*`chroma run"):
        ChromaServerRetriever(host="127.0.0.1", port=port).index(chunks("a"), letters, path=tmp_path)


class _Guarded(BaseHTTPRequestHandler):
    seen: list[str | None] = []  # noqa: RUF012 - one list for all requests is the point

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        body = b'{"error": "AuthError", "message": "Forbidden"}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[int]:
    """The port of a server that notes the token of each request and refuses it."""
    _Guarded.seen = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Guarded)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield http.server_port
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.mark.parametrize(("value", "header"), [("s3cret", "Bearer s3cret"), ("", None)])
def test_the_token_comes_from_the_environment_and_stays_out_of_messages(
    guarded: int,
    letters: LetterEmbedder,
    chunks: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    header: str | None,
) -> None:
    monkeypatch.setenv("MY_TOKEN", value)
    retriever = ChromaServerRetriever(host="127.0.0.1", port=guarded, token_env="MY_TOKEN")
    with pytest.raises(RetrievalError, match=r"failed .*if it asks for a token, set MY_TOKEN") as failure:
        retriever.index(chunks("a"), letters, path=tmp_path)

    assert _Guarded.seen[0] == header
    assert "s3cret" not in str(failure.value)
    assert "s3cret" not in repr(retriever)


def test_a_collection_is_embedded_anew_and_switched(server: int) -> None:
    import chromadb

    client = chromadb.HttpClient(host="127.0.0.1", port=server)
    texts = {f"id{number}": f"a {'bcdefgh'[number % 7]}" for number in range(20)}
    client.create_collection("manual", embedding_function=None).add(
        ids=list(texts),
        embeddings=LetterEmbedder().encode_queries(list(texts.values())),
        documents=list(texts.values()),
    )
    settings = ChromaMigration(collection="manual", host="127.0.0.1", port=server, batch=6)
    report = reembed(settings, TurnedEmbedder(), LetterEmbedder())

    assert (report.records, report.embedded, report.found) == (20, 20, 1.0)
    rows = client.get_collection("manual", embedding_function=None).get(include=["embeddings", "documents"])
    wanted = TurnedEmbedder().encode_passages(rows["documents"])
    np.testing.assert_allclose(rows["embeddings"], wanted, atol=1e-6)
    assert client.get_collection(report.old, embedding_function=None).count() == 20
    assert reembed(replace(settings, drop_old=True), TurnedEmbedder(), LetterEmbedder()).embedded == 0
    assert report.old not in [each.name for each in client.list_collections()]


def test_a_server_that_stops_is_named() -> None:
    import httpx

    def search() -> None:
        with chroma._explained("the Chroma server at x", "start it"):
            raise httpx.ConnectError("gone")

    with pytest.raises(RetrievalError, match=r"The Chroma server at x failed \(gone\): start it\."):
        search()


def test_an_empty_corpus_is_refused(letters: LetterEmbedder, tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="the corpus has no chunks"):
        ChromaServerRetriever().index([], letters, path=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 0}, r"retriever.port is 0: give a whole number from 1 to 65,535"),
        ({"batch": 0}, r"retriever.batch is 0"),
        ({"collection": "-no spaces"}, r"retriever.collection is '-no spaces'"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ChromaServerRetriever(**options)
