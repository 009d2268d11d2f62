"""Counting tokens as a model does, with its tokenizer alone: no weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.models.loading import Overrides, passage_prompt, read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS_AT_ONCE = 1024
UNLIMITED = 8192
"""The length taken for models that read any length (static embeddings), so that chunkers have a bound."""


class TokenizerCounter:
    """A TokenCounter over a ``tokenizers`` tokenizer.

    ``limit`` is what a passage may use: the model's sequence length less its special tokens and the
    tokens of the passage prompt.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int, prompt: str = "") -> None:
        # A tokenizer.json often truncates and pads by itself, which would hide a text's length.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        self.limit = max(1, max_tokens - special - sum(self.count([prompt])))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's length in tokens, special tokens left out."""
        lengths: list[int] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            block = list(texts[start : start + TEXTS_AT_ONCE])
            encodings = self._tokenizer.encode_batch_fast(block, add_special_tokens=False)
            lengths.extend(len(encoding.ids) for encoding in encodings)
        return lengths


def counter_for(folder: Path, overrides: Overrides) -> TokenizerCounter:
    """Return the counter of the model in ``folder``.

    Raises:
        ModelError: The folder has no tokenizer, or a broken one.
    """
    modules = read_json(folder / "modules.json")
    first = folder / modules[0].get("path", "") if modules else folder
    settings = read_json(folder / "config_sentence_transformers.json")
    return TokenizerCounter(
        _tokenizer_of(first),
        max_tokens=overrides.max_tokens or _sequence_length(first),
        prompt=passage_prompt(settings.get("prompts", {}), overrides),
    )


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
    own = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if own:
        return int(own)
    given = read_json(folder / "tokenizer_config.json").get("model_max_length")
    positions = read_json(folder / "config.json").get("max_position_embeddings")
    # A tokenizer that was never given a length says 1e30.
    lengths = [int(length) for length in (given, positions) if length and 0 < length < 1e9]
    return min(lengths, default=UNLIMITED)
