"""What the package offers, what an installed wheel holds, and that it works from any folder."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


LAYERS = ["storage", "data", "models", "retrieval", "llm", "synthesis", "finetuning", "benchmarking"]
LAYERS += ["reporting", "tracking", "pipeline", "sweeper", "config"]
PACKAGES = [*LAYERS, "data.datasets", "data.readers", "finetuning.losses", "benchmarking.statistics"]
HEAVY = {"torch", "transformers", "sentence_transformers", "mlflow", "chromadb", "scipy", "optuna", "pandas"}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_offers(package: str) -> None:
    module = importlib.import_module(f"embexp.{package}")
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_no_heavy_library_is_imported_before_it_is_needed() -> None:
    modules = ", ".join(f"embexp.{layer}" for layer in LAYERS)
    code = f"import sys, {modules}; print(*{HEAVY} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked as an installer would."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    site = target / "site"
    with zipfile.ZipFile(next(target.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def ask(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-m", "embexp.run", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_every_option_and_template_is_shipped(installed: Path) -> None:
    for source, target in (
        (ROOT / "conf", "conf"),
        (ROOT / "embexp" / "reporting" / "templates", "reporting/templates"),
    ):
        wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
        assert wanted
        assert {path for path in wanted if not (installed / "embexp" / target / path).is_file()} == set()


def test_the_sweeper_is_shipped_where_hydra_finds_it(installed: Path, tmp_path: Path) -> None:
    done = ask(installed, tmp_path, "hparams=mnrl", "--cfg", "hydra", "--package", "hydra.sweeper")
    assert done.returncode == 0, done.stderr
    assert "hydra_plugins.embexp_optuna.sweeper.EmbexpOptunaSweeper" in done.stdout
    assert (installed / "hydra_plugins" / "embexp_optuna" / "sweeper.py").is_file()


def test_a_user_s_own_option_is_found_from_any_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "loss").mkdir(parents=True)
    (tmp_path / "mine" / "loss" / "sharp.yaml").write_text(
        "# mine\n_target_: embexp.finetuning.losses.Mnrl\nscale: 30\n"
    )
    done = ask(installed, tmp_path, "--config-dir", "mine", "loss=sharp", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "scale: 30" in done.stdout


def test_a_mistake_in_a_user_s_own_option_is_a_sentence(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine" / "loss").mkdir(parents=True)
    (tmp_path / "mine" / "loss" / "sharp.yaml").write_text(
        "_target_: embexp.finetuning.losses.nowhere.Loss\n"
    )
    done = ask(installed, tmp_path, "--config-dir", "mine", "loss=sharp")
    assert done.returncode == 2
    assert "loss._target_" in done.stderr
    near = ask(installed, tmp_path, "--config-dir", "mine", "loss=shap")
    assert near.returncode == 2
    assert "did you mean 'sharp'?" in near.stderr


def test_a_lazy_package_names_what_it_lacks() -> None:
    import embexp.llm

    assert embexp.llm.Journal.__module__ == "embexp.llm.journal"
    with pytest.raises(AttributeError, match=r"module 'embexp.llm' has no attribute 'Jornal'"):
        embexp.llm.Jornal  # noqa: B018
