from __future__ import annotations

from email.message import EmailMessage
from pathlib import Path

import pytest

from embexp.data.readers.mail import read_mail
from embexp.data.readers.problems import Problems
from embexp.data.readers.reading import Reading
from embexp.data.records import Document


def read(tmp_path: Path, raw: bytes, problems: Problems | None = None) -> Document:
    (tmp_path / "a.eml").write_bytes(raw)
    (document,) = read_mail(tmp_path / "a.eml", Reading(problems=problems or Problems(quiet=True)))
    return document


def mail(text: str = "Der Kran steht still.\n") -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Störung am Kran"
    message["From"] = "ada@x.org"
    message.set_content(text)
    return message


def test_subject_and_text_are_read(tmp_path: Path) -> None:
    document = read(tmp_path, mail().as_bytes())
    assert (document.title, document.text) == ("Störung am Kran", "Der Kran steht still.")


def test_plain_text_is_preferred_and_attachments_are_counted(tmp_path: Path) -> None:
    message = mail()
    message.add_alternative("<p>Der <b>Kran</b></p>", subtype="html")
    message.add_attachment(b"x", maintype="image", subtype="png", filename="kran.png")
    problems = Problems(quiet=True)
    assert read(tmp_path, message.as_bytes(), problems).text == "Der Kran steht still."
    assert problems.summary() == "1 attachment of an e-mail (a.eml: kran.png)"


def test_html_alone_is_read_as_text(tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "Crane"
    message.set_content("<h2>Stop</h2><p>It <b>lifts</b>.</p><p hidden>no</p>", subtype="html")
    problems = Problems(quiet=True)
    assert read(tmp_path, message.as_bytes(), problems).text == "## Stop\n\nIt lifts."
    assert problems.summary() == "1 e-mail without its hidden text (a.eml)"


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: hi\n\nThe crane.",
        b"Subject: hi\nContent-Type: text/plain; charset=no-such\n\nThe crane.",
        b"Subject: hi\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nThe crane.\n--x--",
    ],
)
def test_flawed_mails_keep_their_text(tmp_path: Path, raw: bytes) -> None:
    document = read(tmp_path, raw)
    assert (document.title, document.text.strip()) == ("hi", "The crane.")
