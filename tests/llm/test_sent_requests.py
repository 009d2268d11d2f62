"""What was sent and never answered, as the next process finds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from embexp.errors import EmbexpError
from embexp.llm.journal import Journal
from embexp.llm.llm import Completion, Usage

ONE, TWO, THREE = "11" * 32, "22" * 32, "33" * 32
ANSWER = Completion("text", "m", "stop", Usage(1, 10, 5, 0.25))


def opened(folder: Path) -> Journal:
    return Journal(folder / "journal.jsonl", {"model": "m"})


def killed(journal: Journal) -> None:
    """Leave a journal as a killed process does: what was written is there, nothing is tidied up."""
    journal.close()


def test_only_what_has_no_answer_and_no_refusal_is_lost_and_counts(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.sent.send(ONE, 0.5, again=False)
    refused = journal.sent.send(TWO, 0.5, again=False)
    answered = journal.sent.send(THREE, 0.5, again=False)
    journal.sent.refused(refused)
    journal.write(THREE, ANSWER, sent=answered)
    killed(journal)
    for _ in range(2):  # and it stays so, however often the journal is opened
        journal = opened(tmp_path)
        assert [len(journal.sent.lost_of(key)) for key in (ONE, TWO, THREE)] == [1, 0, 0]
        assert journal.spent == 0.5 + 0.25
        journal.close()


def test_a_lost_request_that_is_answered_on_the_second_try_stays_lost(tmp_path: Path) -> None:
    """The service may have charged for both."""
    journal = opened(tmp_path)
    journal.sent.send(ONE, 0.5, again=False)
    killed(journal)
    journal = opened(tmp_path)
    second = journal.sent.send(ONE, 0.5, again=False)
    journal.write(ONE, ANSWER, sent=second)
    journal.close()
    journal = opened(tmp_path)
    assert (len(journal.sent.lost_of(ONE)), journal.spent) == (1, 0.75)
    journal.close()


def test_a_service_that_knows_repeats_gets_the_same_id_and_charges_once(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    first = journal.sent.send(ONE, 0.5, again=True)
    killed(journal)
    journal = opened(tmp_path)
    second = journal.sent.send(ONE, 0.5, again=True)
    assert second.id == first.id
    assert journal.sent.usd_of(second) == 0.5  # counted already: it may be charged, or not
    journal.write(ONE, ANSWER, sent=second)
    assert journal.sent.lost_of(ONE) == []
    journal.close()
    journal = opened(tmp_path)
    assert journal.spent == 0.25
    journal.close()


def test_an_unusable_answer_is_not_asked_for_under_the_same_id(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    first = journal.sent.send(ONE, 0.5, again=True)
    assert journal.sent.lost(first, spoiled=True) == 0.5
    assert journal.sent.lost(first, spoiled=True) == 0.0  # counted once
    second = journal.sent.send(ONE, 0.5, again=True)
    assert second.id != first.id
    journal.close()


def test_a_torn_or_foreign_line_costs_itself_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = opened(tmp_path)
    journal.sent.send(ONE, 0.5, again=False)
    killed(journal)
    path = tmp_path / "journal.sent.jsonl"
    path.write_bytes(b"[]\n" + path.read_bytes() + b'{"id": "x", "ke')
    journal = opened(tmp_path)
    assert journal.spent == 0.5
    assert f"{path}:1: not the record of a request" in caplog.text
    assert f"{path}:3: not the record of a request" in caplog.text
    journal.close()


def test_a_request_is_not_sent_where_it_cannot_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path)

    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embexp.llm.sent_requests.os.write", full)
    with pytest.raises(EmbexpError, match="No space left"):
        journal.sent.send(ONE, 0.5, again=False)
    journal.close()
