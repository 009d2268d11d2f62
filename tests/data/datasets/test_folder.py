from __future__ import annotations

import pytest

from embexp.data.datasets.folder import Folder
from embexp.errors import ConfigError, DataError


@pytest.fixture
def kb(tmp_path):
    (tmp_path / "guides" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.md").write_text("# First\n\nHello.\n")
    (tmp_path / "b.txt").write_text("Words.\n")
    (tmp_path / "guides" / "c.md").write_text("# Third\n\nMore.\n")
    (tmp_path / "guides" / "deep" / "d.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / ".git" / "e.md").write_text("hidden\n")
    (tmp_path / ".f.md").write_text("hidden\n")
    (tmp_path / "g.png").write_bytes(b"\x89PNG")
    return tmp_path


def ids(folder):
    return [document.id for document in folder.documents()]


def test_files_are_read_recursively_and_in_order(kb, caplog):
    caplog.set_level("INFO")
    folder = Folder(path=str(kb))
    assert ids(folder) == ["a.md", "b.txt", "guides/c.md", "guides/deep/d.jsonl#1", "guides/deep/d.jsonl#2"]
    assert (
        "5 documents; skipped: 1 hidden (.f.md), 1 hidden folder (.git), 1 of no known format (.png) (g.png)"
        in caplog.text
    )
    assert list(folder.labelled()) == []
    assert (folder.unit, folder.name) == ("chunk", "folder")


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.md"], [], ["a.md", "guides/c.md"]),
        (["**/*.md"], ["guides/*"], ["a.md"]),
        ([], ["*.jsonl", "b.*"], ["a.md", "guides/c.md"]),
        (["guides/c.md"], [], ["guides/c.md"]),
    ],
)
def test_globs(kb, include, exclude, expected):
    assert ids(Folder(path=str(kb), include=include, exclude=exclude)) == expected


def test_a_single_file(kb):
    (document,) = Folder(path=str(kb / "a.md")).documents()
    assert (document.id, document.title, document.text, document.source) == (
        "a.md",
        "First",
        "Hello.",
        "a.md",
    )


def test_a_limit_keeps_that_many_documents(kb):
    assert len(ids(Folder(path=str(kb), limit=2))) == 2


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"dataset.limit is 0"):
        Folder(path="x", limit=0)


def test_links_that_loop_or_lead_nowhere_do_no_harm(kb, caplog):
    caplog.set_level("INFO")
    (kb / "guides" / "loop").symlink_to(kb)
    (kb / "dead.md").symlink_to(kb / "nowhere")
    (kb / "twin.md").symlink_to(kb / "a.md")
    assert len(ids(Folder(path=str(kb)))) == 5
    assert "1 broken link or special file" in caplog.text
    assert "1 second link to the same file" in caplog.text


BAD = {
    "binary.txt": (b"\0\1\2", "binary file"),
    "locked.docx": (b"\xd0\xcf\x11\xe0 more", "encrypted"),
    "broken.pptx": (b"junk", "broken file"),
    "broken.xlsx": (b"PK\3\4", "broken file"),
    "broken.odt": (b"PK\3\4", "broken file"),
    "broken.epub": (b"junk", "broken file"),
    "broken.ipynb": (b"{}}", "broken file"),
    "broken.eml": (b"\n\njunk", "broken file"),
    "broken.md.gz": (b"\x1f\x8bjunk", "broken compressed file"),
    "broken.pdf": (b"%PDF-1.4 junk", "broken file"),
    "broken.docx": (b"junk", "broken file"),
    "broken.parquet": (b"junk", "unreadable table"),
    "nocolumn.csv": (b"txt\nhello\n", "unreadable table"),
    "broken.jsonl": (b"not json\n", "broken line"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_skipped_and_counted(kb, caplog, name):
    caplog.set_level("INFO")
    content, reason = BAD[name]
    (kb / name).write_bytes(content)
    assert len(ids(Folder(path=str(kb)))) == 5
    assert f"1 {reason}" in caplog.text


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stops_the_run_where_that_is_asked_for(kb, name):
    (kb / name).write_bytes(BAD[name][0])
    with pytest.raises(DataError, match=name):
        ids(Folder(path=str(kb), on_error="fail"))


def test_an_unreadable_file_is_skipped(kb, monkeypatch, caplog):
    from embexp.data.datasets import folder as module

    def refuse(path, reading):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setitem(module.READERS, ".txt", refuse)
    assert len(ids(Folder(path=str(kb)))) == 4
    assert "Permission denied; check its permissions" in caplog.text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"no document with text in it\. Put files there \(\.md"),
        ({"a.md": ""}, r"no document with text in it \(skipped: 1 empty file \(a.md\)\)"),
        ({"a.md": " \n"}, r"no document with text in it \(skipped: 1 file without text \(a.md\)\)"),
        ({"a.png": "x"}, r"skipped: 1 of no known format \(\.png\)"),
        ({"a": "x"}, r"skipped: 1 of no known format \(no suffix\)"),
    ],
)
def test_nothing_to_read(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        ids(Folder(path=str(tmp_path)))


@pytest.mark.parametrize("method", ["documents", "fingerprint"])
def test_a_path_that_does_not_exist(tmp_path, method):
    with pytest.raises(DataError, match=r"nowhere does not exist: check dataset.path"):
        list(getattr(Folder(path=str(tmp_path / "nowhere")), method)())


def test_a_single_file_of_no_known_format(kb):
    with pytest.raises(DataError, match=r"g.png: no known format; give a file of .md"):
        ids(Folder(path=str(kb / "g.png")))


def test_the_fingerprint_follows_content_names_and_settings(kb):
    first = Folder(path=str(kb)).fingerprint()
    assert Folder(path=str(kb)).fingerprint() == first
    assert Folder(path=str(kb), limit=3).fingerprint() != first
    (kb / "a.md").write_text("# First\n\nChanged.\n")
    assert Folder(path=str(kb)).fingerprint() != first


@pytest.mark.parametrize("skipped", ["node_modules", "build", ".venv", "docs/_build", "a/site-packages"])
def test_folders_of_packages_and_build_results_are_read_only_if_they_are_named(kb, caplog, skipped):
    caplog.set_level("INFO")
    (kb / skipped).mkdir(parents=True)
    (kb / skipped / "z.md").write_text("# Packaged\n\nText.\n")
    assert f"{skipped}/z.md" not in ids(Folder(path=str(kb)))
    assert f"({skipped})" in caplog.text or f".git, {skipped}" in caplog.text
    assert ids(Folder(path=str(kb), include=[f"{skipped}/*"])) == [f"{skipped}/z.md"]


def test_a_folder_that_is_given_is_read_whatever_its_name(kb):
    (kb / "build").mkdir()
    (kb / "build" / "z.md").write_text("Text.\n")
    assert ids(Folder(path=str(kb / "build"))) == ["z.md"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_files_are_read(tmp_path, suffix):
    import gzip

    import pyarrow as pa

    text = b"# Crane\n\nIt lifts.\n"
    packed = gzip.compress(text) if suffix == ".gz" else pa.Codec("zstd").compress(text).to_pybytes()
    (tmp_path / f"a.md{suffix}").write_bytes(packed)
    (document,) = Folder(path=str(tmp_path)).documents()
    assert (document.title, document.text) == ("Crane", "It lifts.")


@pytest.mark.parametrize(("name", "text"), [("a.md", "Žluťoučký kůň"), ("a.csv", "text\nŽluťoučký kůň\n")])
def test_an_encoding_that_is_named_is_used(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("cp1250"))
    (document,) = Folder(path=str(tmp_path), encoding="cp1250").documents()
    assert document.text == "Žluťoučký kůň"


def test_an_encoding_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match=r"dataset.encoding=latin-99: there is no such encoding"):
        Folder(path="x", encoding="latin-99")


def test_the_password_is_not_shown(kb):
    assert "opensesame" not in repr(Folder(path=str(kb), password="opensesame"))


def test_what_is_left_out_is_named(kb, caplog):
    caplog.set_level("INFO")
    (kb / "blank.md").write_text("\n")
    (kb / "blank.html").write_text("<!-- nothing -->")
    (kb / "zero.txt").write_text("")
    (kb / "page.html").write_text("<nav>Menu of the site</nav><p>Words.</p>")
    ids(Folder(path=str(kb)))
    assert "1 empty file (zero.txt)" in caplog.text
    assert "2 file without text (blank.html, blank.md)" in caplog.text
    assert "other boilerplate (page.html: 72% of its letters)" in caplog.text


def test_a_reader_that_fails_half_way_costs_the_rest_of_its_file(kb, monkeypatch, caplog):
    from embexp.data.datasets import folder as module
    from embexp.data.records import Document

    def break_off(path, reading):
        yield Document(path.name, "The first part.", "", path.name)
        raise ZeroDivisionError("no such number")

    monkeypatch.setitem(module.READERS, ".txt", break_off)
    assert "b.txt" in ids(Folder(path=str(kb)))
    assert "b.txt cannot be read (ZeroDivisionError no such number)" in caplog.text


def test_links_out_of_the_folder_are_followed_only_if_asked_to(tmp_path, caplog):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("What is not to be read.")
    folder = tmp_path / "kb"
    (folder / "sub").mkdir(parents=True)
    (folder / "own.md").write_text("What is to be read.")
    (folder / "file.md").symlink_to(outside / "secret.md")
    (folder / "sub" / "all").symlink_to(outside)
    (folder / "inner").symlink_to(folder / "sub")
    caplog.set_level("INFO")
    (tmp_path / "alias").symlink_to(folder)  # the folder itself may be named by a link
    for path in (folder, tmp_path / "alias"):
        caplog.clear()
        assert [document.id for document in Folder(path=str(path)).documents()] == ["own.md"]
        assert "2 link out of the folder, which dataset.follow_links=true would follow (" in caplog.text
    followed = Folder(path=str(folder), follow_links=True)
    assert {document.text for document in followed.documents()} == {
        "What is to be read.",
        "What is not to be read.",
    }
    assert followed.fingerprint() != Folder(path=str(folder)).fingerprint()
