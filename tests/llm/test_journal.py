from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from embexp.errors import DataError, EmbexpError
from embexp.llm.journal import Journal, records, request_key
from embexp.llm.llm import Completion, Message, Request, Usage

ASKED = {"model": "m"}
ONE, TWO = "11" * 32, "22" * 32


def completion(text: str, usd: float = 0.5) -> Completion:
    return Completion(text, "m", "stop", Usage(1, 10, 5, usd))


def write(path: Path, *items: tuple[str, Completion]) -> None:
    async def written(journal: Journal, key: str, one: Completion) -> None:
        journal.write(key, one)
        await journal.synced()

    async def all_at_once(journal: Journal) -> None:
        await asyncio.gather(*(written(journal, key, one) for key, one in items))

    journal = Journal(path, ASKED)
    asyncio.run(all_at_once(journal))
    journal.close()


def test_answers_come_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.jsonl"
    write(path, (ONE, completion("caf\u00e9\n\u2028 x")), (TWO, completion("y" * 200_000)))
    journal = Journal(path, ASKED)
    assert journal.find(ONE) == completion("caf\u00e9\n\u2028 x")
    assert journal.find(TWO) == completion("y" * 200_000)
    assert journal.find("33" * 32) is None
    assert (len(journal), journal.spent) == (2, 1.0)
    journal.close()


def test_a_torn_last_line_is_removed_and_the_file_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, (ONE, completion("one")))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    write(path, (TWO, completion("two")))
    assert [record["text"] for _, record in records(path)] == ["one", "two"]


def test_a_damaged_line_is_named_and_asked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, (ONE, completion("one")))
    path.write_bytes(b"{}\n" + path.read_bytes())
    journal = Journal(path, ASKED)
    assert journal.find(ONE) == completion("one")
    assert f"{path}:1" in caplog.text
    journal.close()


def test_answers_may_be_written_without_a_loop(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", ASKED)
    journal.append_now([(ONE, completion("one")), (TWO, completion("two"))])
    assert journal.find(TWO) == completion("two")
    journal.close()


def test_a_second_writer_is_told_so(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl", ASKED)
    with pytest.raises(EmbexpError, match="is in use by another run"):
        Journal(tmp_path / "journal.jsonl", ASKED)
    journal.close()
    Journal(tmp_path / "journal.jsonl", ASKED).close()


def test_a_full_disk_is_one_sentence_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, (ONE, completion("one")))
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embexp.llm.journal.os.fsync", full)
    monkeypatch.setattr("embexp.llm.journal.sync", lambda folder: None)
    with pytest.raises(EmbexpError, match="No space left"):
        write(path, (TWO, completion("two")))
    assert path.read_bytes() == before


def test_the_key_depends_on_everything_but_the_tag() -> None:
    request = Request((Message("user", "hi"),), seed=1, tag="a")
    key = request_key(request, ASKED)
    assert request_key(Request((Message("user", "hi"),), seed=1, tag="b"), ASKED) == key
    others = [
        request_key(Request((Message("user", "hi"),), seed=2), ASKED),
        request_key(Request((Message("user", "hi!"),), seed=1), ASKED),
        request_key(Request((Message("user", "hi"),), seed=1, schema={}), ASKED),
        request_key(request, {"model": "n"}),
    ]
    assert len({key, *others}) == 5


def test_a_line_holds_what_was_asked_of_whom(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    write(path, (ONE, completion("one")))
    row = json.loads(path.read_text())
    assert row["asked"] == ASKED
    assert (row["model"], row["usd"], row["prompt_tokens"]) == ("m", 0.5, 10)


@pytest.mark.parametrize("line", [b"no json\n", b'{"key": "zz"}\n', b'{"key": "11"}\n'])
def test_a_reader_names_the_line_that_is_wrong(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(line)
    with pytest.raises(DataError, match=r"journal\.jsonl:1"):
        list(records(path))


def test_a_missing_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no journal"):
        list(records(tmp_path / "journal.jsonl"))
