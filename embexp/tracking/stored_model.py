"""MLflow's format of a sentence-transformers model, written from the model's folder without loading it.

``mlflow.sentence_transformers.save_model`` takes a loaded model and looks through all installed packages:
where nothing else of a run needs the libraries, that is most of its time. The files are the same, and
``mlflow.sentence_transformers.load_model`` and ``mlflow.pyfunc.load_model`` read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.storage.files import copy_folder, size_of_folder

if TYPE_CHECKING:
    from mlflow.models import Model, ModelSignature

FLAVOR = "sentence_transformers"
LOADER = f"mlflow.{FLAVOR}"
DATA = "model.sentence_transformer"
"""Where the loader looks for the model's folder."""
_CONDA, _PYTHON, _REQUIREMENTS = "conda.yaml", "python_env.yaml", "requirements.txt"


def save_model(
    path: str,
    mlflow_model: Model,
    *,
    model_dir: Path,
    signature: ModelSignature,
    packages: Sequence[str],
) -> None:
    """Write a model as MLflow keeps it; ``mlflow.models.Model.log`` calls this for ``flavor=`` this module.

    Args:
        path: The folder to write.
        mlflow_model: MLflow's entry for the model, which gets its flavors and signature.
        model_dir: The folder of the model.
        signature: What the served model takes and returns.
        packages: The packages that it needs, in their installed versions.
    """
    import mlflow.pyfunc

    folder = Path(path)
    copy_folder(model_dir, folder / DATA)
    mlflow_model.signature = signature
    mlflow.pyfunc.add_to_model(
        mlflow_model, loader_module=LOADER, data=DATA, conda_env=_CONDA, python_env=_PYTHON
    )
    mlflow_model.add_flavor(FLAVOR, sentence_transformers_version=version("sentence-transformers"), code=None)
    mlflow_model.model_size_bytes = size_of_folder(folder)
    mlflow_model.save(str(folder / "MLmodel"))
    _write_environment(folder, ["mlflow", *packages])


def _write_environment(folder: Path, packages: Sequence[str]) -> None:
    """Write the requirements for each program that MLflow builds an environment with."""
    import yaml
    from mlflow.utils.environment import _mlflow_conda_env, _PythonEnv

    pinned = [f"{name}=={version(name)}" for name in packages]
    (folder / _REQUIREMENTS).write_text("\n".join(pinned), encoding="utf-8")
    conda = _mlflow_conda_env(additional_pip_deps=pinned, install_mlflow=False)
    (folder / _CONDA).write_text(yaml.safe_dump(conda, default_flow_style=False), encoding="utf-8")
    _PythonEnv.current().to_yaml(str(folder / _PYTHON))
