"""ICD-10-CM, the United States' classification of diagnoses, from the ``simple_icd_10_cm`` package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from types import ModuleType

from embexp.data.labels import LabelSettings
from embexp.data.readers.text import occurs_in
from embexp.data.records import Document, Pair, Unit
from embexp.data.sampling import sample
from embexp.errors import ConfigError
from embexp.ranges import Count, check_ranges
from embexp.storage.files import sha256_of


@dataclass(kw_only=True)
class Icd10Cm:
    """A document for each code; coders' inclusion terms are the queries.

    Codes that only add a seventh character (the encounter) to another code repeat its text and are left out.

    Args:
        limit: At most this many codes, spread evenly over the classification; None for all.
        name: The name in tables and file names.
    """

    limit: Count | None = None
    name: str = "icd10cm"
    source: str = field(default="simple_icd_10_cm", init=False)
    unit: Unit = field(default="document", init=False)
    labels: LabelSettings = field(default_factory=LabelSettings, init=False)

    def __post_init__(self) -> None:
        check_ranges(self, "dataset")

    def fingerprint(self) -> str:
        """Return a digest of the settings and of the package's version.

        Raises:
            ConfigError: The package is not installed.
        """
        from importlib.metadata import version

        _package()
        return sha256_of("icd10cm", asdict(self), version("simple_icd_10_cm"))

    def documents(self) -> Iterator[Document]:
        """Yield the codes in their own order, with code and description as title, and the context as text.

        Raises:
            ConfigError: The package is not installed.
        """
        icd = _package()
        for code in self._codes(icd):
            yield _document(icd, code)

    def labelled(self) -> Iterator[Pair]:
        """Yield a pair for each inclusion term that the document of its code does not contain already.

        Raises:
            ConfigError: The package is not installed.
        """
        icd = _package()
        for code in self._codes(icd):
            document = _document(icd, code)
            passage = f"{document.title}\n{document.text}"
            for term in dict.fromkeys(icd.get_inclusion_term(code)):
                if not occurs_in(term, passage):
                    query_id = sha256_of(term.casefold())[:16]
                    yield Pair(f"{query_id}/{code}", term, passage, code, query_id=query_id)

    def _codes(self, icd: ModuleType) -> Iterator[str]:
        codes = (
            code
            for code in icd.get_all_codes(True)
            if icd.is_category_or_subcategory(code) and not icd.is_extended_subcategory(code)
        )
        return sample(codes, self.limit, key=str)


def _document(icd: ModuleType, code: str) -> Document:
    """Build the document of a code; its context is its ancestors, from the category to the chapter."""
    above = [icd.get_description(parent) for parent in icd.get_ancestors(code)]
    title = f"{code} {icd.get_description(code)}"
    return Document(code, "\n".join(above), title, "ICD-10-CM")


def _package() -> ModuleType:
    try:
        import simple_icd_10_cm
    except ImportError as error:
        raise ConfigError(
            'dataset=icd10cm needs the package simple_icd_10_cm: install it with pip install "embexp[icd]".'
        ) from error
    package: ModuleType = simple_icd_10_cm
    return package
