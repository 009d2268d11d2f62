from __future__ import annotations

import json

import pytest

from embexp.data.readers.html import read_html
from embexp.data.readers.markdown import read_markdown
from embexp.data.readers.markup import read_rst
from embexp.data.readers.pdf import read_pdf
from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.reading import Reading
from embexp.data.readers.tables import DocumentColumns, read_table
from embexp.data.readers.text import read_plain
from embexp.data.readers.word import read_docx
from embexp.errors import DataError

READING = Reading()


def only(documents):
    (document,) = documents
    return document


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_plain_text_is_named_after_its_file(tmp_path):
    document = only(read_plain(written(tmp_path, "notes.txt", "Some words.\n"), READING))
    assert (document.title, document.text) == ("notes", "Some words.")


def test_markdown_headings_become_hash_lines_and_code_is_left_alone(tmp_path):
    text = "Guide\n=====\n\nHello.\n\nUse\n---\n\n```\n# no heading\n```\n\n### Deep ###\n\nEnd.\n"
    document = only(read_markdown(written(tmp_path, "a.md", text), READING))
    assert document.title == "Guide"
    assert document.text == "Hello.\n\n## Use\n\n```\n# no heading\n```\n\n### Deep\n\nEnd."


def test_markdown_front_matter_names_the_page(tmp_path):
    text = '---\ntitle: "Queues"\ntags: x\n---\n# Queues\n\nHello.\n'
    document = only(read_markdown(written(tmp_path, "a.md", text), READING))
    assert (document.title, document.text) == ("Queues", "Hello.")


def test_markdown_front_matter_without_a_title(tmp_path):
    document = only(read_markdown(written(tmp_path, "a.md", "---\ntags: x\n---\nHello.\n"), READING))
    assert (document.title, document.text) == ("a", "Hello.")


def test_a_quotation_under_the_title_is_the_summary(tmp_path):
    text = "# rm\n\n> Remove files.\n> Folders too.\n> More information: <x.org>.\n\n- Do it:\n\n`rm x`\n"
    document = only(read_markdown(written(tmp_path, "rm.md", text), READING))
    assert document.metadata == {"summary": "Remove files."}
    assert document.text == "Folders too.\n\n- Do it:\n\n`rm x`"


@pytest.mark.parametrize(
    "quotation",
    ["> **Note**: this page is old.", "> [!WARNING]\n> Do not use this.", "> Remove."],
)
def test_a_remark_is_no_summary(tmp_path, quotation):
    document = only(read_markdown(written(tmp_path, "a.md", f"# A\n\n{quotation}\n\nText.\n"), READING))
    assert document.metadata == {}
    assert document.text == f"{quotation.replace('**', '')}\n\nText."


def test_a_summary_that_the_text_repeats_is_none(tmp_path):
    document = only(
        read_markdown(written(tmp_path, "a.md", "# A\n\n> Remove files.\n\n- remove files:\n"), READING)
    )
    assert document.metadata == {}
    assert document.text == "- remove files:"


HTML = """<html><head><title>Site | Queues</title>
<meta name="description" content="How to cap a queue in five steps."><style>x{}</style></head>
<body><nav>menu</nav><h1>Capping\n queues</h1><p>Hello <b>bold</b>\nworld.<br>Next.</p><h2>Use</h2>
<ul><li>one</li><li>two</li></ul><pre># code\n  indented</pre>
<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table><!-- hidden -->
<script>evil()</script>
</body></html>"""


def test_html_keeps_headings_lists_code_and_tables(tmp_path):
    document = only(read_html(written(tmp_path, "a.html", HTML), READING))
    assert document.title == "Capping queues"
    assert document.metadata == {"summary": "How to cap a queue in five steps."}
    assert document.text == (
        "Hello bold world.\nNext.\n\n## Use\n\n- one\n- two\n\n```\n# code\n  indented\n```\n\nA | B\n1 | 2"
    )


@pytest.mark.parametrize(
    ("html", "title", "summary"),
    [
        ("<title>Queues</title><p>Text.", "Queues", None),
        ("<p>Text.", "a", None),
        ('<meta name="description" content="Some text here."><p>Some text here.', "a", None),
        ('<meta name="description"><p>Text.', "a", None),
    ],
)
def test_html_without_heading_or_description(tmp_path, html, title, summary):
    document = only(read_html(written(tmp_path, "a.html", html), READING))
    assert (document.title, document.metadata.get("summary")) == (title, summary)


def test_html_is_read_in_the_encoding_that_it_declares(tmp_path):
    path = tmp_path / "a.html"
    path.write_bytes('<meta charset="iso-8859-1"><p>Größe'.encode("latin-1"))
    assert only(read_html(path, READING)).text == "Größe"


RST = """
Queues
======

A :class:`deque` has *two* ends.

.. include:: secret.txt

.. raw:: html

   <b>raw</b>

.. a comment

.. method:: append(x)

   Adds on the right.

Use
---

* one
* two

Code::

    # no heading
"""


def test_rst_headings_code_and_unknown_directives(tmp_path):
    (tmp_path / "secret.txt").write_text("SECRET")
    document = only(read_rst(written(tmp_path, "a.rst", RST), READING))
    assert document.title == "Queues"
    assert document.text.startswith("A deque has two ends.")
    assert "SECRET" not in document.text
    assert "a comment" not in document.text
    assert "Adds on the right." in document.text
    assert "## Use\n\n- one\n\n- two\n\nCode:\n\n```\n# no heading\n```" in document.text


def test_rst_that_its_parser_gives_up_on(tmp_path, monkeypatch):
    import docutils.core

    def give_up(*args, **kwargs):
        raise RecursionError("too deep")

    monkeypatch.setattr(docutils.core, "publish_doctree", give_up)
    with pytest.raises(UnreadableError, match=r"a.rst: not reStructuredText \(too deep\)"):
        list(read_rst(written(tmp_path, "a.rst", "x"), READING))


def pdf(path, *, title="Queues", password=None, text="Hello from a page."):
    from pypdf import PdfWriter
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path))
    canvas.setTitle(title)
    canvas.drawString(100, 700, text)
    canvas.save()
    if password is not None:
        writer = PdfWriter(clone_from=str(path))
        writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
        writer.write(str(path))
    return path


@pytest.mark.parametrize(("title", "expected"), [("Queues", "Queues"), ("untitled", "a")])
def test_pdf(tmp_path, title, expected):
    document = only(read_pdf(pdf(tmp_path / "a.pdf", title=title), READING))
    assert (document.title, document.text) == (expected, "Hello from a page.")


def test_a_pdf_that_only_printing_needs_a_password_for(tmp_path):
    assert only(read_pdf(pdf(tmp_path / "a.pdf", password=""), READING)).text == "Hello from a page."


def test_an_encrypted_pdf(tmp_path):
    with pytest.raises(UnreadableError, match=r"a.pdf: a password protects this PDF"):
        list(read_pdf(pdf(tmp_path / "a.pdf", password="secret"), READING))


def test_a_damaged_pdf(tmp_path):
    with pytest.raises(UnreadableError, match=r"a.pdf: not a PDF that can be read"):
        list(read_pdf(written(tmp_path, "a.pdf", "%PDF-1.4 junk"), READING))


def test_docx(tmp_path):
    import docx

    file = docx.Document()
    file.add_heading("Queues", 0)
    file.add_heading("Use", 1)
    file.add_paragraph("Hello.")
    file.add_paragraph("one", style="List Bullet")
    table = file.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "A", "B"
    file.save(str(tmp_path / "a.docx"))
    document = only(read_docx(tmp_path / "a.docx", READING))
    assert document.title == "Queues"
    assert document.text == "# Use\n\nHello.\n\n- one\n\nA | B"


def test_a_damaged_docx(tmp_path):
    with pytest.raises(UnreadableError, match=r"a.docx: not a Word file"):
        list(read_docx(written(tmp_path, "a.docx", "junk"), READING))


def test_a_table_holds_a_document_in_each_row(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"body": "one", "name": "First", "key": 7},
        {"body": "two"},
        {"body": ""},
        {"body": "x", "key": 7},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = Problems()
    columns = DocumentColumns(text="body", title="name", id="key")
    documents = list(read_table(path, columns, problems))
    assert [(document.id, document.title, document.text) for document in documents] == [
        ("a.jsonl#7", "First", "one"),
        ("a.jsonl#2", "", "two"),
    ]
    assert problems.summary() == "1 duplicate id, 1 row without text (a.jsonl:3)"


def test_a_table_without_the_text_column_names_the_nearest(tmp_path):
    path = written(tmp_path, "a.csv", "txt,title\nhello,T\n")
    with pytest.raises(DataError, match=r"no column 'text'; there are txt, title. Did you mean 'txt'\?"):
        list(read_table(path, DocumentColumns(), Problems()))
