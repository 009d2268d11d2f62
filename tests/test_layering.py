"""The rooms of the design, held by reading the imports of every file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import embexp

ROOT = Path(embexp.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ROOMS = {
    "knowledge",
    "models",
    "retrieval",
    "llm",
    "synthesis",
    "splitting",
    "finetuning",
    "benchmarking",
    "tracking",
    "reporting",
}
FOUNDATION = {"types", "errors", "protocols", "progress", "storage"}
HYDRA_ALLOWED = {"config", "run", "synthesize", "finetune", "benchmark", "search", "plan", "sweeper"}
HEAVY = {"torch", "sentence_transformers", "transformers", "chromadb", "mlflow", "pandas", "datasets", "groq"}
IMPORTED_LATE = {"finetuning/loop.py", "finetuning/sharing.py", "finetuning/steps.py"}
"""Files that subclass a heavy library's classes; only they import each other at the top of a file."""
OWNERS = {"chromadb": {"retrieval/chroma.py"}, "groq": {"llm/groq.py"}}


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def top_level(tree: ast.Module) -> set[str]:
    plain = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return imports(ast.Module(body=plain, type_ignores=[]))


def rooms_imported(tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in imports(tree) if name.startswith("embexp.")} - {"__version__"}


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT)))
def parsed(request: pytest.FixtureRequest) -> tuple[Path, ast.Module]:
    return request.param, ast.parse(request.param.read_text(encoding="utf-8"))


def test_components_import_only_the_foundation_and_their_own_room(parsed: tuple[Path, ast.Module]) -> None:
    path, tree = parsed
    if room_of(path) in ROOMS:
        assert rooms_imported(tree) <= FOUNDATION | {room_of(path)}


def test_the_foundation_imports_nothing_above_it(parsed: tuple[Path, ast.Module]) -> None:
    path, tree = parsed
    allowed = {
        "types": {"types"},
        "errors": set(),
        "protocols": {"types", "protocols"},
        "progress": {"errors"},
        "storage": {"types", "errors", "progress", "storage"},
    }
    if room_of(path) in allowed:
        assert rooms_imported(tree) <= allowed[room_of(path)]


def test_only_commands_know_hydra(parsed: tuple[Path, ast.Module]) -> None:
    path, tree = parsed
    if room_of(path) not in HYDRA_ALLOWED:
        assert not {name for name in imports(tree) if name.split(".")[0] in {"hydra", "omegaconf"}}


def test_heavy_imports_wait_inside_functions(parsed: tuple[Path, ast.Module]) -> None:
    path, tree = parsed
    late = {f"embexp.{name[:-3].replace('/', '.')}" for name in IMPORTED_LATE}
    if str(path.relative_to(ROOT)) not in IMPORTED_LATE:
        assert not top_level(tree) & late
        assert not {name for name in top_level(tree) if name.split(".")[0] in HEAVY}


@pytest.mark.parametrize("package", sorted(OWNERS))
def test_one_file_alone_imports_each_service(package: str) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in FILES
        if any(name.split(".")[0] == package for name in imports(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert users <= OWNERS[package]


def test_no_file_is_a_drawer_for_odds_and_ends() -> None:
    assert not [path for path in ROOT.rglob("*") if path.stem in {"utils", "helpers", "common", "misc"}]
