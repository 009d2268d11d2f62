"""A model's folder on disk: its digest, and loading it without the network."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError, ModelError
from embexp.progress import without_bars
from embexp.storage.files import sha256_of, sha256_of_file

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WEIGHTS = "*.safetensors"
SHAPING = (WEIGHTS, "*.json", "*.txt", "*.model")
"""The files that decide what a model answers: weights, settings, vocabularies."""
OTHER_RUNTIMES = ("onnx", "openvino")
PASSAGE_PROMPTS = ("document", "passage", "corpus")
"""The names that models save a passage prompt under, in the order in which sentence-transformers looks."""


@dataclass(frozen=True)
class Overrides:
    """What the configuration changes in a model; None keeps the model's own."""

    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 3:
            raise ConfigError(
                f"model.max_tokens is {self.max_tokens}: give 3 or more (two of them are the model's own "
                "special tokens), or null for the model's own length."
            )


@contextmanager
def offline() -> Iterator[None]:
    """Keep Hugging Face's libraries from the network: a missing file would cost a minute of retries."""
    from huggingface_hub import constants

    before, environment = constants.HF_HUB_OFFLINE, os.environ.get("HF_HUB_OFFLINE")
    constants.HF_HUB_OFFLINE = True
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        if environment is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = environment


def load_folder(folder: Path, overrides: Overrides) -> SentenceTransformer:
    """Load a sentence-transformers or transformers folder, on the GPU where there is one.

    Raises:
        ModelError: A file is missing or broken, or the model has no length that could be set.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    broken = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)
    try:
        with offline(), without_bars():
            model = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
    except (*broken, SafetensorError) as error:
        raise ModelError(
            f"The model in {folder} does not load ({_first_line(error)}): "
            "download it or save it again with SentenceTransformer.save, or choose another."
        ) from error
    _apply(overrides, model, folder)
    return model


def _apply(overrides: Overrides, model: SentenceTransformer, folder: Path) -> None:
    if overrides.query_prompt is not None:
        model.prompts["query"] = overrides.query_prompt
    # The library's default, "document": "", hides a prompt that the model saved under another name.
    model.prompts["document"] = passage_prompt(model.prompts, overrides)
    if overrides.max_tokens is None:
        return
    try:
        model.max_seq_length = overrides.max_tokens
    except AttributeError as error:
        raise ModelError(
            f"model.max_tokens is {overrides.max_tokens}, but the model in {folder} has no length limit "
            "to set: leave it out (model.max_tokens=null)."
        ) from error


def passage_prompt(own: dict[str, str], overrides: Overrides) -> str:
    """Return what goes before every passage: the configured prompt, or the model's own."""
    if overrides.passage_prompt is not None:
        return overrides.passage_prompt
    return next((own[name] for name in PASSAGE_PROMPTS if own.get(name)), "")


def fingerprint_of(folder: Path, overrides: Overrides) -> str:
    """Return a digest of a model's weights, settings and vocabularies, and of the overrides."""
    parts = [(str(file.relative_to(folder)), file_digest(file)) for file in shaping_files(folder)]
    return sha256_of("folder", parts, astuple(overrides))


def shaping_files(folder: Path) -> list[Path]:
    """Return the files that decide what the model in ``folder`` answers, in a fixed order."""
    found = {file for pattern in SHAPING for file in folder.rglob(pattern) if file.is_file()}
    return sorted(file for file in found if file.relative_to(folder).parts[0] not in OTHER_RUNTIMES)


def file_digest(file: Path) -> str:
    """Return a file's SHA-256, read once per process while the file stays as it is."""
    stat = file.stat()
    return _digest_of(file, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _digest_of(file: Path, size: int, modified: int) -> str:  # noqa: ARG001 - part of the cache's key
    return sha256_of_file(file)


def read_json(file: Path) -> Any:
    """Return a model's settings file, or an empty mapping where there is none.

    Raises:
        ModelError: The file is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{file} is not JSON ({error}): download or save the model again.") from error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
