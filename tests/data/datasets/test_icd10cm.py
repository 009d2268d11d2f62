from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from embexp.data.datasets import icd10cm
from embexp.data.datasets.icd10cm import Icd10Cm
from embexp.errors import ConfigError

DESCRIPTIONS = {
    "1": "Infectious diseases (A00-B99)",
    "A00": "Cholera",
    "A00.0": "Cholera due to biovar cholerae",
    "A00.1": "Cholera, other",
    "A00.1X1A": "Cholera, other, initial encounter",
}
TERMS = {"A00.0": ["Classical cholera", "Classical cholera"], "A00.1": ["Cholera", "Cholera eltor"]}


@pytest.fixture
def package(monkeypatch):
    fake = SimpleNamespace(
        get_all_codes=lambda with_dots: list(DESCRIPTIONS),
        is_category_or_subcategory=lambda code: code != "1",
        is_extended_subcategory=lambda code: code.endswith("A"),
        get_description=DESCRIPTIONS.get,
        get_ancestors=lambda code: {"A00": ["1"]}.get(code, ["A00", "1"]),
        get_inclusion_term=lambda code: TERMS.get(code, []),
    )
    monkeypatch.setitem(sys.modules, "simple_icd_10_cm", fake)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.5.0")


@pytest.mark.usefixtures("package")
def test_a_code_is_a_document_with_what_stands_above_it():
    documents = list(Icd10Cm().documents())
    assert [document.id for document in documents] == ["A00", "A00.0", "A00.1"]
    assert documents[1].title == "A00.0 Cholera due to biovar cholerae"
    assert documents[1].text == "Cholera\nInfectious diseases (A00-B99)"


@pytest.mark.usefixtures("package")
def test_a_term_that_the_document_spells_out_is_no_query():
    pairs = [(pair.query, pair.document_id, pair.split) for pair in Icd10Cm().labelled()]
    assert pairs == [("Classical cholera", "A00.0", None), ("Cholera eltor", "A00.1", None)]
    for pair in Icd10Cm().labelled():
        assert pair.query.casefold() not in pair.positive.casefold()


@pytest.mark.usefixtures("package")
def test_a_limit_holds_for_codes_and_terms_alike():
    data = Icd10Cm(limit=1)
    (document,) = data.documents()
    assert {pair.document_id for pair in data.labelled()} <= {document.id}
    assert data.fingerprint() != Icd10Cm().fingerprint()


@pytest.mark.parametrize("method", ["documents", "labelled", "fingerprint"])
def test_without_the_package_the_message_says_how_to_get_it(monkeypatch, method):
    monkeypatch.setitem(sys.modules, "simple_icd_10_cm", None)
    with pytest.raises(ConfigError, match=r'pip install "embexp\[icd\]"'):
        list(getattr(Icd10Cm(), method)())


def test_the_real_classification():
    pytest.importorskip("simple_icd_10_cm")
    documents = {document.id: document for document in Icd10Cm(limit=500).documents()}
    assert len(documents) == 500
    assert icd10cm._document(icd10cm._package(), "A00.0").title.startswith("A00.0 Cholera due to Vibrio")
