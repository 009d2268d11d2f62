"""A model's folder on disk: its fingerprint, its prompts, its tokenizer, and loading it without the network.

Everything here serves every kind of model: a bi-encoder that is trained or scored, the guide of a loss, a
cross-encoder.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from annotated_types import Interval

from embexp.errors import ConfigError, ModelError
from embexp.progress import without_bars
from embexp.ranges import check_ranges
from embexp.storage.files import sha256_of, sha256_of_file

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer
    from tokenizers import Tokenizer

    Kind = TypeVar("Kind", SentenceTransformer, CrossEncoder)

WEIGHTS = "*.safetensors"
FINGERPRINTED = (WEIGHTS, "*.json", "*.txt", "*.model")
"""The files that decide a model's output: weights, settings, vocabularies."""
SHARED_PASSAGES = "passages.json"
"""Names another model with the same vectors of passages; it does not decide the output."""
PICKLED = ("pytorch_model*.bin", "adapter_model*.bin")
"""The files with weights that the libraries read where there are no safetensors."""
OTHER_RUNTIMES = ("onnx", "openvino")
PASSAGE_PROMPTS = ("document", "passage", "corpus")
"""The names under which models save a passage prompt, in the order in which sentence-transformers looks."""
LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)
"""What the libraries raise for a missing or broken file."""
TEXTS_PER_CALL = 1024
_ROUTER = "router_config.json"
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "xmod")
UNLIMITED = 8192
"""The length assumed for models without a limit (static embeddings), so that chunkers have a bound."""

TextLength = Annotated[int, Interval(ge=3, le=1_000_000)]
"""A text's length in tokens; two of them are the model's own special tokens."""


@dataclass(frozen=True)
class Overrides:
    """What the configuration changes in a model; None keeps the model's own value."""

    query_prompt: str | None = None
    passage_prompt: str | None = None
    max_tokens: TextLength | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "model")


def fingerprint_of(folder: Path, overrides: Overrides) -> str:
    """Return a digest of a model's weights, settings and vocabularies, and of the overrides."""
    files = {file for pattern in FINGERPRINTED for file in folder.rglob(pattern) if file.is_file()}
    parts = [
        (str(file.relative_to(folder)), file_digest(file))
        for file in sorted(files)
        if file.relative_to(folder).parts[0] not in (*OTHER_RUNTIMES, SHARED_PASSAGES)
    ]
    return sha256_of("folder", parts, astuple(overrides))


def file_digest(file: Path) -> str:
    """Return a file's SHA-256, computed once per process as long as the file does not change."""
    stat = file.stat()
    return _digest_of(file, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _digest_of(file: Path, size: int, modified: int) -> str:  # noqa: ARG001 - part of the cache's key
    return sha256_of_file(file)


def passage_prompt(prompts: Mapping[str, str | None], *, override: str | None = None) -> str:
    """Return what goes before every passage: ``override`` if given, else the model's own prompt."""
    if override is not None:
        return override
    return next((prompt for name in PASSAGE_PROMPTS if (prompt := prompts.get(name))), "")


def load_bi_encoder(folder: Path, overrides: Overrides, *, device: str | None = None) -> SentenceTransformer:
    """Load a sentence-transformers or transformers folder.

    Args:
        folder: The model's folder.
        overrides: What replaces the model's own prompts and length.
        device: Where to load it; None is the GPU if there is one.

    Raises:
        ModelError: A file is missing or broken, or the model has no length that could be set.
        ConfigError: The length that is set is beyond the model's positions.
    """
    from sentence_transformers import SentenceTransformer

    model = load_model(
        SentenceTransformer,
        folder,
        failure=f"The model in {folder} does not load",
        remedy="download it or save it again with SentenceTransformer.save, or choose another",
        device=device,
    )
    if overrides.query_prompt is not None:
        model.prompts["query"] = overrides.query_prompt
    # The library's default, "document": "", hides a prompt that the model saved under another name.
    model.prompts["document"] = passage_prompt(model.prompts, override=overrides.passage_prompt)
    if overrides.max_tokens is not None:
        _check_positions(_first_module(folder), overrides.max_tokens)
        try:
            model.max_seq_length = overrides.max_tokens
        except AttributeError as error:
            raise ModelError(
                f"model.max_tokens is {overrides.max_tokens}, but the model in {folder} has no length limit "
                "to set: leave it out (model.max_tokens=null)."
            ) from error
    return model


def load_model(
    kind: type[Kind], folder: Path, *, failure: str, remedy: str, device: str | None = None
) -> Kind:
    """Load a model of sentence-transformers offline, from safetensors, without running code of the folder.

    Args:
        kind: ``SentenceTransformer`` or ``CrossEncoder``.
        folder: The model's folder.
        failure: The beginning of the error message: what does not load.
        remedy: The end of the error message: what to do about it.
        device: Where to load it; None is the GPU if there is one.

    Raises:
        ModelError: A file is missing or broken, or weights are there as a pickle only.
    """
    from safetensors import SafetensorError

    _refuse_pickles(folder, failure)
    try:
        with offline(), without_bars():
            return kind(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except (*LOADING_ERRORS, SafetensorError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise ModelError(f"{failure} ({reason}): {remedy}.") from error


def _refuse_pickles(folder: Path, failure: str) -> None:
    """Refuse a model of which the libraries would read a part from a pickle, for want of safetensors.

    Raises:
        ModelError: The message names the file.
    """
    files = (file for pattern in PICKLED for file in folder.rglob(pattern))
    for file in sorted(files):
        if file.relative_to(folder).parts[0] not in OTHER_RUNTIMES and not any(file.parent.glob(WEIGHTS)):
            raise ModelError(
                f"{failure}: {file} is a pickle, which can run code when it is read, and no safetensors file "
                "stands beside it; get the weights as safetensors, or choose another model."
            )


@contextmanager
def offline() -> Iterator[None]:
    """Keep the Hugging Face libraries off the network: a missing file would cost a minute of retries."""
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


class TokenizerCounter:
    """Counts tokens with a model's tokenizer alone: no weights, no torch.

    ``limit`` is the number of tokens that a passage may have: the model's sequence length minus its special
    tokens and the tokens of the passage prompt. ``query_limit`` is the same for a query and its prompt.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, max_tokens: int, prompt: str = "", query_prompt: str = ""
    ) -> None:
        # A tokenizer.json often truncates and pads by itself, which would hide a text's length.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        self.limit, self.query_limit = (
            max(1, max_tokens - special - length) for length in self.count([prompt, query_prompt])
        )

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's length in tokens, without special tokens."""
        return [len(ids) for ids in self._ids(texts)]

    def unknown(self, texts: Sequence[str]) -> list[bool]:
        """Return of each text whether it has letters for which the tokenizer has the unknown token only."""
        unknown = self._tokenizer.token_to_id(getattr(self._tokenizer.model, "unk_token", None) or "<unk>")
        return [unknown in ids for ids in self._ids(texts)]

    def _ids(self, texts: Sequence[str]) -> Iterator[list[int]]:
        for start in range(0, len(texts), TEXTS_PER_CALL):
            block = list(texts[start : start + TEXTS_PER_CALL])
            for encoding in self._tokenizer.encode_batch_fast(block, add_special_tokens=False):
                yield encoding.ids


def token_counter(folder: Path, overrides: Overrides) -> TokenizerCounter:
    """Return the counter of the model in ``folder``.

    Raises:
        ModelError: The folder has no tokenizer, or a broken one.
        ConfigError: The length that is set is beyond the model's positions.
    """
    first = _first_module(folder)
    if overrides.max_tokens is not None:
        _check_positions(first, overrides.max_tokens)
    prompts = _read_json(folder / "config_sentence_transformers.json").get("prompts", {})
    own = prompts.get("query") or ""
    return TokenizerCounter(
        _tokenizer_of(first),
        max_tokens=overrides.max_tokens or _sequence_length(first),
        prompt=passage_prompt(prompts, override=overrides.passage_prompt),
        query_prompt=own if overrides.query_prompt is None else overrides.query_prompt,
    )


def _first_module(folder: Path) -> Path:
    """Return the folder of what reads the texts; of two encoders in one model, that of the passages."""
    modules = _read_json(folder / "modules.json")
    first = folder / modules[0].get("path", "") if modules else folder
    router = _read_json(first / _ROUTER)
    routes: dict[str, list[str]] = router.get("structure") or {}
    if not routes:
        return first
    route = router.get("parameters", {}).get("default_route")
    return first / (routes.get(route) or next(iter(routes.values())))[0]


def _check_positions(folder: Path, max_tokens: int) -> None:
    """Refuse a length for which a model has no positions: a long text would end its training or search."""
    positions = _positions(folder)
    if positions is not None and max_tokens > positions:
        raise ConfigError(
            f"model.max_tokens is {max_tokens}, and the model in {folder} has positions for {positions} "
            f"tokens: give {positions} or less, or choose a model that reads longer texts."
        )


def _positions(folder: Path) -> int | None:
    """Return how many tokens a model's positions are for; None where it has no such limit."""
    settings = _read_json(folder / "config.json")
    positions = settings.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    if settings.get("model_type") in _OFFSET_POSITIONS:
        positions -= int(settings.get("pad_token_id") or 0) + 1  # they count from the padding's index
    return positions


def _tokenizer_of(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json: save the model again with SentenceTransformer.save, "
            "which writes one."
        )
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"{file} is no tokenizer ({error}): download or save the model again.") from error


def _sequence_length(folder: Path) -> int:
    """Return the length that sentence-transformers would use: its own setting, else the tokenizer's."""
    own = _read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if own:
        return int(own)
    given = _read_json(folder / "tokenizer_config.json").get("model_max_length")
    positions = _read_json(folder / "config.json").get("max_position_embeddings")
    # A tokenizer that was never given a length says 1e30.
    lengths = [int(length) for length in (given, positions) if length and 0 < length < 1e9]
    return min(lengths, default=UNLIMITED)


def _read_json(file: Path) -> Any:
    """Return the content of a model's settings file; an empty mapping if there is no such file.

    Raises:
        ModelError: The file is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ModelError(f"{file} is not JSON ({error}): download or save the model again.") from error
