from __future__ import annotations

import sys

import pytest

from embexp.data.datasets.pydocs import PyDocs
from embexp.data.datasets.python_docstrings import Entry, Module, Namespace, compiled, parse
from embexp.data.readers.text import occurs_in
from embexp.errors import ConfigError

LONG = "Nothing else happens here, and the answer is always given back to the one who asked."


@pytest.fixture(scope="module")
def stdlib():
    return list(PyDocs().documents())


def test_the_standard_library_gives_thousands_of_documents(stdlib):
    ids = [document.id for document in stdlib]
    assert len(ids) > 5000
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    assert {
        "json.loads",
        "textwrap.dedent",
        "heapq.heapreplace",
        "asyncio.run",
        "collections.Counter",
        "collections.deque",
        "os.chroot",
    } <= set(ids)


def test_no_summary_occurs_in_its_text(stdlib):
    assert all(document.id == document.title for document in stdlib)
    asking = [document for document in stdlib if document.metadata]
    assert len(asking) > 2500
    assert not [d.id for d in asking if not d.metadata["summary"] or occurs_in(d.metadata["summary"], d.text)]


def test_a_short_docstring_stays_whole_and_can_be_found(stdlib):
    chroot = next(document for document in stdlib if document.id == "os.chroot")
    assert chroot.metadata == {}
    assert chroot.text == "chroot(path)\n\nChange root directory to path."


def test_no_two_documents_have_one_text(stdlib):
    texts = [(document.metadata.get("summary"), document.text) for document in stdlib]
    assert len(set(texts)) == len(texts)


def test_nothing_private_and_no_tests_are_read(stdlib):
    assert not {document.source for document in stdlib} & {"test", "idlelib", "antigravity", "this"}
    assert not [document.id for document in stdlib if document.id.startswith("_") or "._" in document.id]
    assert not [document.id for document in stdlib if ".tests." in document.id]
    assert "antigravity" not in sys.modules


def test_the_order_and_a_sample_of_it_are_fixed(stdlib):
    chosen = [document.id for document in PyDocs(limit=50).documents()]
    assert len(chosen) == 50
    assert chosen == sorted(chosen)
    assert set(chosen) < {document.id for document in stdlib}


def documented(head, summary, rest, indent=""):
    """Write a definition with a docstring."""
    inner = f"{indent}    "
    return f'{indent}{head}:\n{inner}"""{summary}\n\n{inner}{rest}\n{inner}"""\n\n'


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "toolbox"
    (root / "_core").mkdir(parents=True)
    (root / "tests").mkdir()
    top = "from ._core.jobs import run\nfrom .plain import *\nraise RuntimeError('not run')\n"
    (root / "__init__.py").write_text(top)
    (root / "_core" / "__init__.py").write_text("")
    (root / "_core" / "jobs.py").write_text(
        documented(
            "def run(job, *, wait=True)", "Run one job. Wait for it.", f"Result\n    ------\n    {LONG}"
        )
        + documented("def hidden()", "Hide this thing.", f"{LONG} Or not.")
    )
    (root / "plain.py").write_text(
        'class Box:\n    """Keep some things."""\n\n'
        + documented("def put(self, thing)", "Put one thing in.", f"{LONG} Put.", "    ")
        + documented("def put_again(self, thing)", "Put one thing in.", f"{LONG} Put.", "    ")
        + documented("def _inner(self)", "Do inner work.", f"{LONG} Inner.", "    ")
        + documented("def echo(self)", "Say it twice.", f"{LONG} Say it twice.", "    ")
    )
    (root / "broken.py").write_text("def (:\n")
    (root / "tests" / "test_a.py").write_text(documented("def helper()", "Help the tests.", f"{LONG} Test."))
    monkeypatch.syspath_prepend(str(tmp_path))
    return root


def test_a_package_is_read_without_running_it(package):
    documents = {d.id: d for d in PyDocs(packages=["toolbox"], stdlib=False).documents()}
    assert list(documents) == ["toolbox.Box", "toolbox.Box.echo", "toolbox.Box.put", "toolbox.run"]
    assert [name for name, document in documents.items() if document.metadata] == [
        "toolbox.Box.put",
        "toolbox.run",
    ]
    run = documents["toolbox.run"]
    assert run.metadata == {"summary": "Run one job."}
    assert run.text == f"run(job, *, wait=True)\n\nWait for it.\n\nResult:\n{LONG}"
    assert documents["toolbox.Box.put"].text.startswith("put(thing)\n\n")
    assert "toolbox" not in sys.modules


def test_a_part_of_a_package(package):
    documents = PyDocs(packages=["toolbox.plain"], stdlib=False).documents()
    assert [document.id for document in documents if document.metadata] == ["toolbox.plain.Box.put"]


def test_a_module_of_one_file(tmp_path, monkeypatch):
    (tmp_path / "onefile.py").write_text(f'"""Do one thing.\n\n{LONG}\n"""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    (document,) = PyDocs(packages=["onefile"], stdlib=False).documents()
    assert (document.id, document.text) == ("onefile", LONG)


def test_the_fingerprint_follows_the_source_and_the_settings(package):
    first = PyDocs(packages=["toolbox"], stdlib=False).fingerprint()
    assert PyDocs(packages=["toolbox"], stdlib=False).fingerprint() == first
    assert PyDocs(packages=["toolbox"], stdlib=False, min_words=3).fingerprint() != first
    (package / "plain.py").write_text("")
    assert PyDocs(packages=["toolbox"], stdlib=False).fingerprint() != first


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numpi", r"'numpi' is not installed. Did you mean 'numpy'\?"),
        ("no-such-thing-at-all", "is not installed. Give import names"),
        ("itertools", "has no Python source to read"),
        ("json.nowhere", "has no Python source to read"),
    ],
)
def test_a_package_that_cannot_be_read(name, message):
    with pytest.raises(ConfigError, match=rf"dataset.packages: .*{message}"):
        list(PyDocs(packages=[name], stdlib=False).documents())


def test_nothing_to_read_is_refused():
    with pytest.raises(ConfigError, match=r"dataset.stdlib=false leaves nothing to read"):
        PyDocs(stdlib=False)


def test_it_brings_no_judged_pairs():
    assert list(PyDocs().labelled()) == []


def test_source_says_what_a_module_takes_from_others(tmp_path):
    path = tmp_path / "m.py"
    path.write_text(
        "try:\n    from _fast import *\nexcept ImportError:\n    from ..slow import thing as other\n"
        "if True:\n    from .near import shown, unlisted\nelse:\n    from far import _private\n"
        "from . import sibling\n__all__ = ['shown', 'other']\n__all__ += ['sibling']\n"
    )
    module = parse(path, "top.sub.m")
    assert module.stars == ("_fast",)
    assert module.imported == {
        "other": ("top.slow", "thing"),
        "shown": ("top.sub.near", "shown"),
        "sibling": ("top.sub", "sibling"),
    }


def test_a_computed_list_of_names_hides_nothing(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("from .near import shown\n__all__ = ['a']\n__all__ += near.__all__\n")
    assert parse(path, "top.m").imported == {"shown": ("top.near", "shown")}


def test_compiled_modules_are_read_at_run_time():
    module = compiled("_collections")
    names = [entry.name for entry in module.defined["deque"]]
    assert names[0] == "deque"
    assert "deque.append" in names
    assert "Module" not in module.defined


def test_the_shortest_public_name_counts():
    modules = {
        "a": Module(imported={"f": ("a.deep", "f"), "g": ("b", "g"), "gone": ("_no", "gone")}, stars=("_c",)),
        "a.deep": Module(defined={"f": [Entry("f", "Doc f.")]}),
        "b": Module("Doc b.", defined={"g": [Entry("g", "Doc g.")]}),
        "_c": Module(defined={"h": [Entry("h", "Doc h."), Entry("h.m", "Doc m.")]}, stars=("a",)),
    }
    namespace = Namespace(["a", "a.deep", "b", "missing"], modules.get)
    names = [name for name, _ in namespace.entries()]
    assert names == ["a.f", "a.h", "a.h.m", "b", "b.g"]
