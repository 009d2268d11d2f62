"""Fine-tuned models in MLflow: stored so that they can be loaded and served, and registered on request."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.models.routes import MODULES, folder_has_two_encoders
from embexp.models.vector_adapter import SETTINGS as ADAPTER
from embexp.progress import without_bars
from embexp.tracking import stored_model
from embexp.tracking.mlflow_store import retry_on_conflict
from embexp.tracking.tracker import RegisteredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from embexp.benchmarking.statistics.comparison import Verdict

CHAMPION = "champion"
"""The alias of the latest version with the verdict WIN; servers ask for ``models:/NAME@champion``."""
MODEL_PACKAGES = ("sentence-transformers", "transformers", "torch")


def store_model(client: MlflowClient, experiment_id: str, run_id: str, model_dir: Path) -> str:
    """Store a model with a run and return the id of MLflow's entry for it.

    Requirements are the installed versions. MLflow's process-wide address must be set.

    Raises:
        ModelError: ``model_dir`` holds neither a sentence-transformers model nor an adapter.
    """
    if not (model_dir / MODULES).is_file():
        if (model_dir / ADAPTER).is_file():
            return _store_adapter(client, experiment_id, run_id, model_dir)
        raise ModelError(f"{model_dir} holds no sentence-transformers model (no {MODULES}) to store.")
    from mlflow.models import Model

    # mlflow.sentence_transformers.log_model would put the entry into the process's current experiment.
    entry = client.create_logged_model(experiment_id, "model", run_id)
    Model.log(
        artifact_path=None,
        flavor=stored_model,
        model_dir=model_dir,
        model_id=entry.model_id,
        run_id=run_id,
        signature=_signature("task") if folder_has_two_encoders(model_dir) else _signature(),
        packages=MODEL_PACKAGES,
    )
    return str(entry.model_id)


def _store_adapter(client: MlflowClient, experiment_id: str, run_id: str, model_dir: Path) -> str:
    """Store an adapter over a service as a function of MLflow's, which embexp's own code computes."""
    import mlflow.pyfunc
    from mlflow.models import Model

    from embexp.tracking import served_adapter

    with without_bars():
        entry = client.create_logged_model(experiment_id, "model", run_id)
        # mlflow.pyfunc.log_model takes no run: it would open one where none is active.
        Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            python_model=served_adapter.__file__,  # the code itself is stored, and no pickle
            artifacts={served_adapter.FOLDER: str(model_dir)},
            model_id=entry.model_id,
            run_id=run_id,
            signature=_signature(),
            pip_requirements=[f"embexp=={version('embexp')}"],
        )
    return str(entry.model_id)


def _signature(*more: str) -> ModelSignature:
    """Return the signature of a served model: texts in, vectors out, the name of a prompt as an option.

    Args:
        more: Further options of ``SentenceTransformer.encode``, such as the ``task`` that chooses an encoder.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([ColSpec("string")]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, -1))]),
        params=ParamSchema([ParamSpec(name, "string", default=None) for name in ("prompt_name", *more)]),
    )


def register(
    client: MlflowClient, name: str, *, model_id: str, run_id: str, verdict: Verdict | None
) -> RegisteredModel:
    """Make a stored model the next version of ``name``; the alias ``champion`` moves to it only on WIN.

    MLflow's process-wide address must be set: MLflow uses it to find the stored model.

    Args:
        client: A client of the tracking server or database.
        name: The registered model; created if it is missing.
        model_id: The id that ``store_model`` returned.
        run_id: The run that trained the model.
        verdict: The benchmark's verdict; None if there was no benchmark.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    entry = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags={"verdict": verdict} if verdict else None,
    )
    champion = verdict == "WIN"
    if champion:
        retry_on_conflict(lambda: client.set_registered_model_alias(name, CHAMPION, entry.version))
    return RegisteredModel(name=name, version=int(entry.version), alias=CHAMPION if champion else "")
