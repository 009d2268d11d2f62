"""embexp's names and values in MLflow's form: flat keys, a limited alphabet and limited lengths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from embexp.masking import masked_text

if TYPE_CHECKING:
    from mlflow.entities import RunInfo

PARAM_LENGTH = 6000
TAG_LENGTH = 8000
KEY_LENGTH = 250
TAGS = {
    "note": "mlflow.note.content",
    "git_commit": "mlflow.source.git.commit",
    "command": "mlflow.source.name",
    "parent_run_id": "mlflow.parentRunId",
}
"""embexp's tag names, and the names under which MLflow's pages show them."""
_FORBIDDEN = re.compile(r"[^\w.\- /]")


def mlflow_key(name: str) -> str:
    """Return ``name`` in MLflow's alphabet: ``ndcg@10`` becomes ``ndcg_at_10``.

    MLflow allows letters, digits, ``_ - . /`` and spaces (a colon too, but not on Windows).
    """
    return _FORBIDDEN.sub("_", name.replace("@", "_at_"))[-KEY_LENGTH:]


def flat_params(params: Mapping[str, object]) -> dict[str, str]:
    """Return nested parameters as dotted keys with values written as on the command line.

    ``{"loss": {"scale": 20.0, "guide": None}}`` becomes ``{"loss.scale": "20.0", "loss.guide":
    "null"}``; lists are written as JSON, and values over 6,000 characters are cut with a remark.
    """
    return {mlflow_key(key): shortened(_written(value), PARAM_LENGTH) for key, value in _leaves(params, "")}


def _leaves(params: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _written(value: object) -> str:
    """Return a value as a person would write it after ``key=``."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, list, tuple, Mapping)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def mlflow_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags under the names by which MLflow's pages show them, secrets masked, long values cut."""
    return {
        TAGS.get(key, mlflow_key(key)): shortened(masked_text(str(value)), TAG_LENGTH)
        for key, value in tags.items()
    }


def with_artifact_links(tags: Mapping[str, str], info: RunInfo) -> dict[str, str]:
    """Return tags in whose note links to ``artifact:PATH`` lead to the file on MLflow's page of the run."""
    page = f"](#/experiments/{info.experiment_id}/runs/{info.run_id}/artifacts/"
    return {
        key: value.replace("](artifact:", page) if key == "note" else value for key, value in tags.items()
    }


def shortened(text: str, limit: int) -> str:
    """Return ``text``; if it is longer than ``limit`` characters, cut it and remark on its full length."""
    if len(text) <= limit:
        return text
    remark = f"… ({len(text):,} characters)"
    return text[: limit - len(remark)] + remark
