"""What every data set promises, checked for each option in conf/dataset on a small set of its kind."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from embexp.data.datasets.beir import BeirFolder
from embexp.data.datasets.dataset import Dataset, NoDocuments
from embexp.data.datasets.folder import Folder
from embexp.data.datasets.hub import HubDataset
from embexp.data.datasets.icd10cm import Icd10Cm
from embexp.data.datasets.pairs import PairsFile
from embexp.data.datasets.pydocs import PyDocs
from embexp.data.labels import LabelSettings
from embexp.data.records import Document, Pair
from embexp.package import conf_dir

OPTIONS = sorted(path.stem for path in (conf_dir() / "dataset").glob("*.yaml"))
ROWS = [
    {"id": "p1", "query": "how to boil", "positive": "Heat the water.", "label": 0.9, "document_id": "d1"},
    {"id": "p2", "query": "how to ride", "positive": "Sit down.", "label": 0.2, "negatives": ["Stand up."]},
]


def lines(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def beir_files(folder: Path) -> None:
    (folder / "qrels").mkdir()
    lines(folder / "corpus.jsonl", {"_id": "d1", "text": "Heat it."}, {"_id": "d2", "text": "Sit down."})
    lines(
        folder / "queries.jsonl", {"_id": "q1", "text": "how to boil"}, {"_id": "q2", "text": "how to ride"}
    )
    for split, number in (("train", 1), ("test", 2)):
        (folder / "qrels" / f"{split}.tsv").write_text(f"q{number}\td{number}\t1\n")


def small(option: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Dataset:
    """Return a data set of an option's kind with the given settings, over what ``prepare`` wrote."""
    if option == "pydocs":
        monkeypatch.syspath_prepend(str(folder))
        return PyDocs(packages=["toolbox"], stdlib=False, **settings)
    if option == "icd10cm":
        return Icd10Cm(**settings)
    if option == "hub":
        return HubDataset(id=str(folder), **settings)
    return {
        "beir": lambda: BeirFolder(path=str(folder), **settings),
        "folder": lambda: Folder(path=str(folder), **settings),
        "pairs": lambda: PairsFile(path=str(folder / "pairs.jsonl"), **settings),
    }[option]()


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small set of the kind that the test asks for."""
    option = request.getfixturevalue("option")
    root = tmp_path / "set"
    root.mkdir()
    if option == "beir":
        beir_files(root)
    elif option in ("pairs", "hub"):
        lines(root / "pairs.jsonl", *ROWS)
    elif option == "folder":
        (root / "a.md").write_text("# Boil\n\nHeat the water.\n")
        (root / "b.txt").write_text("Sit down.\n")
    elif option == "pydocs":
        for name in ("boil", "ride"):
            (root / "toolbox").mkdir(exist_ok=True)
            (root / "toolbox" / f"{name}.py").write_text(
                f'"""Do {name} a thing, with some words about it."""\n'
            )
        (root / "toolbox" / "__init__.py").write_text("")
    elif option == "icd10cm":
        descriptions = {"A00": "Cholera", "A01": "Typhoid"}
        package = SimpleNamespace(
            get_all_codes=lambda with_dots: list(descriptions),
            is_category_or_subcategory=lambda code: True,
            is_extended_subcategory=lambda code: False,
            get_description=descriptions.get,
            get_ancestors=lambda code: ["A00"] if code == "A01" else [],
            get_inclusion_term=lambda code: [f"another name of {code}"],
        )
        monkeypatch.setitem(sys.modules, "simple_icd_10_cm", package)
        monkeypatch.setattr("importlib.metadata.version", lambda name: "1")
    if option == "hub":
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        datasets.disable_progress_bars()
    return root


@pytest.mark.parametrize("option", OPTIONS)
def test_a_data_set_keeps_its_contract(option: str, folder: Path, monkeypatch) -> None:
    data = small(option, folder, monkeypatch)
    assert data.name
    assert data.source
    assert data.unit in ("document", "chunk")
    assert isinstance(data.labels, LabelSettings)

    documents = list(data.documents())
    assert len(documents) >= 2
    assert all(isinstance(document, Document) and document.text for document in documents[1:])
    assert len({document.id for document in documents}) == len(documents)
    assert list(data.documents()) == documents  # the same again, in the same order

    pairs = list(data.labelled())
    assert list(data.labelled()) == pairs
    assert all(isinstance(pair, Pair) and pair.query and pair.positive for pair in pairs)
    assert len({pair.id for pair in pairs}) == len(pairs)
    if data.unit == "document":
        assert {pair.document_id for pair in pairs} <= {document.id for document in documents}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_fingerprint_depends_on_settings_and_content_and_not_on_the_name_of_a_folder(
    option: str, folder: Path, monkeypatch, tmp_path: Path
) -> None:
    first = small(option, folder, monkeypatch, name="x").fingerprint()
    assert small(option, folder, monkeypatch, name="x").fingerprint() == first
    assert small(option, folder, monkeypatch, name="x", limit=1).fingerprint() != first
    moved = folder.rename(tmp_path / "moved")
    assert small(option, moved, monkeypatch, name="x").fingerprint() == first


@pytest.mark.parametrize("option", OPTIONS)
def test_a_limit_bounds_documents_and_leaves_no_pair_without_its_document(
    option: str, folder: Path, monkeypatch
) -> None:
    data = small(option, folder, monkeypatch, limit=1)
    ids = {document.id for document in data.documents()}
    assert len(ids) <= 2  # pairs bring their negatives along, beir its judged documents
    if data.unit == "document":
        assert {pair.document_id for pair in data.labelled()} <= ids


@pytest.mark.parametrize("option", OPTIONS)
def test_documents_are_streamed(option: str, folder: Path, monkeypatch) -> None:
    assert len(list(islice(small(option, folder, monkeypatch).documents(), 1))) == 1


@pytest.mark.parametrize("option", OPTIONS)
def test_conf_lists_every_setting_of_its_data_set(option: str, folder: Path, monkeypatch) -> None:
    listed = yaml.safe_load((conf_dir() / "dataset" / f"{option}.yaml").read_text(encoding="utf-8"))
    data = small(option, folder, monkeypatch)
    settings = {name for name, field in type(data).__dataclass_fields__.items() if field.init}
    assert settings == set(listed) - {"_target_", "defaults"} | ({"name"} if "name" in settings else set())


def test_without_documents_nothing_is_yielded() -> None:
    data: Dataset = NoDocuments()
    assert (list(data.documents()), list(data.labelled()), data.fingerprint()) == ([], [], "")
