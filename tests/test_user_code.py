"""The user's own modules: what the digest of their source covers, and how their mistakes are told."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embexp.user_code import is_users, source_digest, users_mistake, yielded

MODULES = {
    "own_loss.py": "import numpy\nfrom own_parts.scale import factor\n\n\nclass Own:\n    scale = factor\n",
    "own_parts/__init__.py": "",
    "own_parts/scale.py": "from . import deep\nfrom .. import nothing as _\nfactor = deep.three\n",
    "own_parts/deep.py": "three = 3\n",
    "own_parts/late.py": "four = 4\n",
    "unrelated.py": "five = 5\n",
}
MODULES["own_parts/scale.py"] = (
    "from . import deep\nfactor = deep.three\n\n\n"
    "def later():\n    import own_parts.late as late\n\n    return late.four\n"
)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules that import each other."""
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("own_loss", "own_parts", "broken"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("file", "covered"),
    [
        ("own_loss.py", True),
        ("own_parts/__init__.py", True),
        ("own_parts/scale.py", True),
        ("own_parts/deep.py", True),
        ("own_parts/late.py", True),
        ("unrelated.py", False),
    ],
)
def test_the_digest_covers_the_module_and_those_it_imports(modules: Path, file: str, covered: bool) -> None:
    own = importlib.import_module("own_loss").Own
    before = source_digest(own)
    assert before is not None
    with (modules / file).open("a") as stream:
        stream.write("# edited\n")
    assert (source_digest(own) != before) is covered


def test_the_digest_does_not_depend_on_the_folder(
    modules: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = importlib.import_module("own_loss").Own
    before = source_digest(own)
    moved = tmp_path_factory.mktemp("moved") / "code"
    modules.rename(moved)
    sys.path.insert(0, str(moved))
    try:
        for name in [name for name in sys.modules if name.startswith("own_")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        assert source_digest(importlib.import_module("own_loss").Own) == before
    finally:
        sys.path.remove(str(moved))


@pytest.mark.parametrize("path", ["embexp.data.chunking.Headings", "numpy.ndarray", "json.JSONDecoder"])
def test_code_of_embexp_python_and_packages_is_nobodys_own(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert source_digest(getattr(importlib.import_module(module), name)) is None


@pytest.mark.parametrize(
    ("file", "users"),
    [
        ("/home/me/loss.py", True),
        ("/tmp/ipykernel_12/34.py", True),
        ("<ipython-input-1-ab>", True),
        ("<frozen importlib>", False),
        ("/home/me/.venv/lib/python3.12/site-packages/torch/nn.py", False),
    ],
)
def test_whose_a_file_is(file: str, users: bool) -> None:
    assert is_users(file) is users


def caught(action: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught_:  # noqa: PT011
        action()
    return caught_.value


BROKEN = {
    "an exception": (
        "def act():\n    return 1 / 0\n",
        "broken.py:2, in act: ZeroDivisionError: division by zero",
    ),
    "a missing file": (
        "def act():\n    open('weights.txt')\n",
        "broken.py:2, in act: FileNotFoundError: [Errno 2] No such file or directory: 'weights.txt'",
    ),
    "a library called wrongly": (
        "import json\n\n\ndef act():\n    json.loads('{')\n",
        "broken.py:5, in act: JSONDecodeError",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_in_a_users_module_names_its_line(modules: Path, case: str) -> None:
    text, sentence = BROKEN[case]
    (modules / "broken.py").write_text(text)
    mistake = users_mistake(caught(importlib.import_module("broken").act))
    assert sentence in str(mistake)
    assert "your own code, not in embexp's" in str(mistake)


@pytest.mark.parametrize("text", ["class Own:\n    def f(self:\n", "import no_such_package\n", "x = y\n"])
def test_a_module_that_cannot_be_imported_names_its_line(modules: Path, text: str) -> None:
    (modules / "broken.py").write_text(text)
    mistake = users_mistake(caught(lambda: importlib.import_module("broken")))
    line = 2 if "class" in text else 1
    assert f"broken.py:{line}" in str(mistake)


def test_what_a_users_object_lacks_is_the_users(modules: Path) -> None:
    own = importlib.import_module("own_loss").Own()
    assert "own_loss.py:5: AttributeError" in str(users_mistake(_asked_by_embexp(own)))


def _asked_by_embexp(own: object) -> BaseException:
    """Return the error of embexp's own code that asks an object for its fingerprint."""
    from embexp.user_code import identity

    return caught(lambda: identity(own))  # type: ignore[arg-type]


def test_an_error_of_embexps_own_stays_one() -> None:
    from embexp.storage.files import sha256_of_file

    error = caught(lambda: sha256_of_file(Path("/nowhere/at/all")))
    assert users_mistake(error) is None
    assert users_mistake(KeyboardInterrupt()) is None


def test_results_that_are_right_cost_no_reading_of_source_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a source file was read")

    monkeypatch.setattr("inspect.getsourcelines", read)
    assert list(yielded([1, 2], int, object(), "numbers")) == [1, 2]
