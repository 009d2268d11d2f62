from __future__ import annotations

import pytest

from embexp.data.readers import encodings
from embexp.data.readers.encodings import BinaryFileError, encoding_of, read_text

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
    monkeypatch.setattr(encodings, "BLOCK", 64)
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain words " * 50 + GERMAN.encode("cp1252"))
    assert encoding_of(path) != "utf-8"


def test_nul_bytes_are_binary(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"text\0more")
    with pytest.raises(BinaryFileError, match=r"a.txt is a binary file; leave it out with dataset.exclude"):
        read_text(path)


def test_bytes_that_no_encoding_explains_are_refused(tmp_path, monkeypatch):
    import charset_normalizer

    class Nothing:
        def best(self):
            return None

    monkeypatch.setattr(charset_normalizer, "from_bytes", lambda sample: Nothing())
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfa\x80")
    with pytest.raises(BinaryFileError, match="neither UTF-8 nor any encoding that can be guessed"):
        read_text(path)
