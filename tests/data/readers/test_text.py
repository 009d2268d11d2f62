from __future__ import annotations

import pytest

from embexp.data.readers import text as module
from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.text import encoding_of, first_sentence, is_query, occurs_in, read_text

GERMAN = "Grüße aus München: schöne Straßen, große Äpfel und viele Öfen für alle Bürger.\n" * 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_is_read_without_a_warning(tmp_path, caplog, encoding):
    path = tmp_path / "a.txt"
    path.write_text(GERMAN, encoding=encoding)
    assert read_text(path) == GERMAN
    assert not caplog.records


def test_another_encoding_is_guessed_and_said(tmp_path, caplog):
    path = tmp_path / "a.txt"
    path.write_bytes(GERMAN.encode("cp1252"))
    assert "Grüße aus München" in read_text(path)
    assert f"{path} is not UTF-8: read as" in caplog.text


def test_a_wrong_byte_far_from_the_beginning_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 64)
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain words " * 50 + GERMAN.encode("cp1252"))
    assert encoding_of(path) != "utf-8"


def test_nul_bytes_are_binary(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"text\0more")
    with pytest.raises(UnreadableError, match=r"a.txt is a binary file; leave it out with dataset.exclude"):
        read_text(path)


def test_bytes_that_no_encoding_explains_are_refused(tmp_path, monkeypatch):
    import charset_normalizer

    class Nothing:
        def best(self):
            return None

    monkeypatch.setattr(charset_normalizer, "from_bytes", lambda sample: Nothing())
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfa\x80")
    with pytest.raises(UnreadableError, match="neither UTF-8 nor any encoding that can be guessed"):
        read_text(path)


@pytest.mark.parametrize(
    ("paragraph", "sentence", "rest"),
    [
        ("Remove files. Ask first.", "Remove files.", "Ask first."),
        ("Remove files\nand folders. Ask first.", "Remove files and folders.", "Ask first."),
        ("Remove files, e.g. Those of make. Ask.", "Remove files, e.g. Those of make.", "Ask."),
        ("Remove files", "Remove files", ""),
        ("Use v1.5 of it. `x` too.", "Use v1.5 of it.", "`x` too."),
    ],
)
def test_first_sentence(paragraph, sentence, rest):
    assert first_sentence(paragraph) == (sentence, rest)


@pytest.mark.parametrize(
    ("summary", "good"),
    [("Remove files.", True), ("Remove.", False), ("1 2 3 4", False), ("word " * 41, False), ("", False)],
)
def test_is_query(summary, good):
    assert is_query(summary) is good


@pytest.mark.parametrize(
    ("sentence", "text", "inside"),
    [
        ("Remove files.", "Please REMOVE\n  files now", True),
        ("Remove files.", "Remove the files", False),
        ("", "anything", False),
        (" .", "anything.", False),
    ],
)
def test_occurs_in(sentence, text, inside):
    assert occurs_in(sentence, text) is inside
