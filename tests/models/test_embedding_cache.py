from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from embexp.errors import ConfigError, DamagedError, EmbexpError
from embexp.models import embedding_cache, vector_files
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.vector_files import KEY_BYTES, KEYS, KeyRows

DIMENSION = 4


class Encoder:
    """Encodes a text as four numbers of its digest, and remembers what it was asked for."""

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.calls: list[list[str]] = []
        self.dimension = dimension

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(list(texts))
        rows = [list(hashlib.sha256(text.encode()).digest()[: self.dimension]) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dimension)


def expected(texts: Sequence[str]) -> np.ndarray:
    return Encoder()(texts)


def folder_of(root: Path) -> Path:
    (folder,) = (path for path in root.iterdir() if path.is_dir())
    return folder


def test_what_is_known_is_not_encoded_again(tmp_path: Path) -> None:
    encode, cache = Encoder(), EmbeddingCache(tmp_path)
    cache.get_or_encode("model", "passage", ["a", "b"], encode)
    found = EmbeddingCache(tmp_path).get_or_encode("model", "passage", ["c", "b", "a", "c"], encode)

    assert encode.calls == [["a", "b"], ["c"]]
    np.testing.assert_array_equal(found, expected(["c", "b", "a", "c"]))


def test_roles_and_models_are_kept_apart(tmp_path: Path) -> None:
    encode, cache = Encoder(), EmbeddingCache(tmp_path)
    for fingerprint, role in (("one", "query"), ("one", "passage"), ("two", "query"), ("one", "query")):
        cache.get_or_encode(fingerprint, role, ["a"], encode)  # type: ignore[arg-type]

    assert len(encode.calls) == 3


def test_no_texts_ask_the_model_for_its_dimension(tmp_path: Path) -> None:
    assert EmbeddingCache(tmp_path).get_or_encode("model", "query", [], Encoder()).shape == (0, DIMENSION)
    assert list(tmp_path.iterdir()) == []


def test_each_block_is_on_disk_before_the_next_is_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "BLOCK", 2)
    encode = Encoder()

    def fails_at_the_third(texts: Sequence[str]) -> np.ndarray:
        if len(encode.calls) == 2:
            raise KeyboardInterrupt
        return encode(texts)

    cache, texts = EmbeddingCache(tmp_path), list("abcdef")
    with pytest.raises(KeyboardInterrupt):
        cache.get_or_encode("model", "query", texts, fails_at_the_third)
    again = Encoder()

    np.testing.assert_array_equal(cache.get_or_encode("model", "query", texts, again), expected(texts))
    assert again.calls == [["e", "f"]]


@pytest.mark.parametrize(
    ("file", "lost"),
    [("vectors.f32", 1), ("vectors.f32", 16), ("seconds.f32", 1), ("keys.bin", 1), ("keys.bin", 16)],
)
def test_the_torn_end_of_a_killed_write_is_cut_off(tmp_path: Path, file: str, lost: int) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.get_or_encode("model", "query", ["a", "b", "c"], Encoder())
    path = folder_of(tmp_path) / file
    os.truncate(path, path.stat().st_size - lost)
    encode = Encoder()

    for texts in (["a", "b"], ["c", "d"], ["d", "c", "b", "a"]):
        np.testing.assert_array_equal(cache.get_or_encode("model", "query", texts, encode), expected(texts))
    assert encode.calls == [["c", "d"]]
    assert (folder_of(tmp_path) / "keys.bin").stat().st_size == 4 * 16
    assert (folder_of(tmp_path) / "vectors.f32").stat().st_size == 4 * DIMENSION * 4


def _fill(root: Path, start: int) -> None:
    for number in range(start, start + 40, 4):
        texts = [f"text {other}" for other in range(number, number + 8)]
        np.testing.assert_array_equal(
            EmbeddingCache(root).get_or_encode("model", "query", texts, Encoder()), expected(texts)
        )


def test_processes_that_write_at_once_leave_whole_rows(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fill, args=(tmp_path, start)) for start in (0, 10, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    encode, texts = Encoder(), [f"text {number}" for number in range(60)]

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    np.testing.assert_array_equal(
        EmbeddingCache(tmp_path).get_or_encode("model", "query", texts, encode), expected(texts)
    )
    assert encode.calls == []


def _encode_slowly(root: Path, log: Path) -> None:
    def encode(texts: Sequence[str]) -> np.ndarray:
        time.sleep(0.3)
        with log.open("a") as stream:
            stream.write("encoded\n")
        return expected(texts)

    EmbeddingCache(root).get_or_encode("untuned", "passage", ["a", "b", "c"], encode)


def test_processes_that_need_the_same_vectors_encode_them_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    workers = [context.Process(target=_encode_slowly, args=(tmp_path / "root", log)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)

    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert log.read_text() == "encoded\n"
    assert (folder_of(tmp_path / "root") / "keys.bin").stat().st_size == 3 * 16


def test_what_encoding_took_is_kept_with_the_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, loaded, now = EmbeddingCache(tmp_path), [], [0.0]
    monkeypatch.setattr("embexp.models.embedding_cache.time.perf_counter", lambda: now[0])

    def slow(texts: Sequence[str]) -> np.ndarray:
        now[0] += 0.05
        return expected(texts)

    def load() -> None:
        loaded.append("model")
        now[0] += 0.2  # loading is no part of encoding

    first = cache.fetch("m", "passage", ["a" * 9, "b" * 29], slow, prepare=load)
    again = EmbeddingCache(tmp_path).fetch("m", "passage", ["b" * 29, "b" * 29], slow, prepare=load)

    assert loaded == ["model"]
    assert first.seconds == pytest.approx(0.05)
    assert (first.known, again.known) == (0, 1)
    # Shared out by length, with 1 for each text: 30 of 40 parts; a text that comes twice was encoded once.
    assert again.seconds == pytest.approx(first.seconds * 30 / 40, rel=1e-5)


def used(root: Path, fingerprint: str, when: int) -> None:
    name = hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
    os.utime(root / name / "keys.bin", (when, when))


def known(cache: EmbeddingCache, fingerprint: str) -> bool:
    encode = Encoder()
    cache.get_or_encode(fingerprint, "query", ["a"], encode)
    return not encode.calls


def test_the_model_not_used_for_longest_is_dropped(tmp_path: Path) -> None:
    # A row takes 4 floats, its seconds, a 16-byte key and a checksum: 44 bytes. Three rows do not fit in 100.
    cache = EmbeddingCache(tmp_path, max_bytes=100)
    cache.get_or_encode("old", "query", ["a"], Encoder())
    cache.get_or_encode("older", "query", ["a"], Encoder())
    used(tmp_path, "old", 2000)
    used(tmp_path, "older", 1000)
    cache.get_or_encode("new", "query", ["a"], Encoder())

    assert known(cache, "new")
    assert known(cache, "old")
    assert not known(EmbeddingCache(tmp_path), "older")


def test_a_model_that_is_being_written_is_not_dropped(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, max_bytes=48)
    cache.get_or_encode("busy", "query", ["a"], Encoder())
    with FileLock(folder_of(tmp_path).with_suffix(".lock")):
        cache.get_or_encode("new", "query", ["a"], Encoder())

    assert known(cache, "busy")


def test_what_does_not_fit_is_encoded_but_not_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = EmbeddingCache(tmp_path, max_bytes=10)

    np.testing.assert_array_equal(cache.get_or_encode("m", "query", ["a"], Encoder()), expected(["a"]))
    assert "is full (10 bytes): new vectors are not stored" in caplog.text
    assert not known(cache, "m")


def test_a_model_dropped_while_it_is_read_is_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.get_or_encode("m", "query", ["a"], Encoder())

    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(np, "memmap", gone)
    assert not known(cache, "m")


def test_another_dimension_under_the_same_fingerprint_is_refused(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.get_or_encode("m", "query", ["a"], Encoder())

    with pytest.raises(DamagedError, match=r"holds vectors of dimension 4, but the model gives 8: delete"):
        cache.get_or_encode("m", "query", ["b"], Encoder(8))


def test_a_full_disk_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vector_files, "_write_at", full)
    with pytest.raises(EmbexpError, match=r"No space left on the disk"):
        EmbeddingCache(tmp_path).get_or_encode("m", "query", ["a"], Encoder())


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"may hold -1 bytes"):
        EmbeddingCache(tmp_path, max_bytes=-1)


TEXTS = [f"text {number}" for number in range(50)]
PARTS = ["keys.bin", "vectors.f32", "seconds.f32", "checks.bin", "meta.json"]


def damage(path: Path, draw: random.Random) -> None:
    """Flip a bit, overwrite a stretch, cut the file, lengthen it or delete it."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    match draw.choice(["flip", "overwrite", "cut", "lengthen", "delete"]):
        case "flip":
            content[place] ^= 1 << draw.randrange(8)
        case "overwrite":
            content[place : place + 40] = draw.randbytes(len(content[place : place + 40]))
        case "cut":
            del content[place:]
        case "lengthen":
            content += draw.randbytes(7)
        case "delete":
            path.unlink()
            return
    path.write_bytes(content)


@pytest.mark.parametrize("seed", range(100))
def test_damage_anywhere_never_changes_a_vector(tmp_path: Path, seed: int) -> None:
    draw, cache = random.Random(seed), EmbeddingCache(tmp_path)
    cache.get_or_encode("m", "query", TEXTS, Encoder())
    damage(folder_of(tmp_path) / draw.choice(PARTS), draw)
    asked = draw.sample([*TEXTS, "another"], 20)

    for texts in (asked, TEXTS):
        np.testing.assert_array_equal(cache.get_or_encode("m", "query", texts, Encoder()), expected(texts))
    again = Encoder()
    np.testing.assert_array_equal(cache.get_or_encode("m", "query", TEXTS, again), expected(TEXTS))
    assert again.calls == []  # repaired
    assert vector_files.find_damaged_vectors(folder_of(tmp_path)) is None


@pytest.mark.parametrize(
    ("file", "place", "reason"),
    [
        ("vectors.f32", 5 * 16 + 3, "rows were changed"),
        ("seconds.f32", 9 * 4, "rows were changed"),
        ("checks.bin", 8, "rows were changed"),
        ("keys.bin", 40, "1 of 50 rows were changed"),
    ],
)
def test_only_damaged_rows_are_encoded_again_and_one_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, place: int, reason: str
) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.get_or_encode("m", "query", TEXTS, Encoder())
    path = folder_of(tmp_path) / file
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    encode = Encoder()

    cache.get_or_encode("m", "query", TEXTS, encode)
    assert [len(call) for call in encode.calls] == [1]
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warning == (
        f"The vectors in {folder_of(tmp_path)} are damaged ({reason}): 1 of 50 are lost and encoded again."
    )


@pytest.mark.parametrize(
    "meta", ['{"dimension": 8}', '{"dimension": 2}', '{"dimension": 0}', "{", "[4]", None]
)
def test_the_wrong_dimension_costs_no_vector(tmp_path: Path, meta: str | None) -> None:
    cache, encode = EmbeddingCache(tmp_path), Encoder()
    cache.get_or_encode("m", "query", TEXTS, Encoder())
    path = folder_of(tmp_path) / "meta.json"
    path.write_text(meta) if meta else path.unlink()

    np.testing.assert_array_equal(cache.get_or_encode("m", "query", TEXTS, encode), expected(TEXTS))
    assert encode.calls == []
    assert json.loads(path.read_text()) == {"dimension": DIMENSION}


def test_the_wrong_dimension_is_repaired_where_none_of_the_vectors_is_asked_for(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.get_or_encode("m", "query", TEXTS, Encoder())
    (folder_of(tmp_path) / "meta.json").write_text('{"dimension": 2}')

    np.testing.assert_array_equal(cache.get_or_encode("m", "query", ["new"], Encoder()), expected(["new"]))
    assert known(cache, "m") is False
    np.testing.assert_array_equal(cache.get_or_encode("m", "query", TEXTS, Encoder()), expected(TEXTS))


def test_a_cache_that_is_deleted_while_a_model_encodes_keeps_nothing_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = EmbeddingCache(tmp_path / "root")

    def encode_and_delete(texts: Sequence[str]) -> np.ndarray:
        shutil.rmtree(tmp_path / "root")
        return expected(texts)

    np.testing.assert_array_equal(
        cache.get_or_encode("m", "query", ["a"], encode_and_delete), expected(["a"])
    )
    np.testing.assert_array_equal(cache.get_or_encode("m", "query", ["a"], Encoder()), expected(["a"]))


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_found_by_their_keys_however_they_were_added(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    keys = [chance.randbytes(KEY_BYTES) for _ in range(500)]
    keys[3] = keys[77] = bytes(KEY_BYTES)  # rows that were given up
    found, written = KeyRows(), 0
    while written < len(keys):
        written = min(written + chance.choice([1, 2, 40, 200]), len(keys))
        (tmp_path / KEYS).write_bytes(b"".join(keys[:written]))
        rows = {key: row for row, key in enumerate(keys[:written]) if row not in (3, 77)}
        wanted = [*chance.sample(keys, 100), chance.randbytes(KEY_BYTES)]
        assert found.find(tmp_path, written, wanted).tolist() == [rows.get(key, -1) for key in wanted]


def test_a_folder_that_is_shorter_than_before_is_read_anew(tmp_path: Path) -> None:
    keys = [bytes([number]) * KEY_BYTES for number in range(1, 6)]
    found = KeyRows()
    (tmp_path / KEYS).write_bytes(b"".join(keys))
    assert found.find(tmp_path, 5, keys).tolist() == [0, 1, 2, 3, 4]
    (tmp_path / KEYS).write_bytes(b"".join(keys[3:]))
    assert found.find(tmp_path, 2, keys).tolist() == [-1, -1, -1, 0, 1]


def test_keys_are_read_from_disk_once_however_many_blocks_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "BLOCK", 2)
    read: list[int] = []
    add = KeyRows._add

    def watched(self: KeyRows, folder: Path, rows: int) -> None:
        read.append(rows - self._rows)
        add(self, folder, rows)

    monkeypatch.setattr(KeyRows, "_add", watched)
    cache = EmbeddingCache(tmp_path)
    for start in range(0, 60, 20):
        cache.get_or_encode("model", "query", [f"text {at}" for at in range(start, start + 20)], Encoder())
    assert sum(read) <= 60


def test_what_another_process_writes_between_two_searches_is_found(tmp_path: Path) -> None:
    cache, other, encode = EmbeddingCache(tmp_path), EmbeddingCache(tmp_path), Encoder()
    cache.get_or_encode("model", "query", ["a"], encode)
    other.get_or_encode("model", "query", ["b"], encode)
    cache.get_or_encode("model", "query", ["a", "b", "c"], encode)
    assert encode.calls == [["a"], ["b"], ["c"]]
