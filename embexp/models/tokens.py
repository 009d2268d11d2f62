"""Counting tokens as a model does, with its tokenizer alone: no weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS_AT_ONCE = 1024


class TokenizerCounter:
    """A TokenCounter over a ``tokenizers`` tokenizer.

    ``limit`` is what a passage may use: the model's sequence length less its special tokens and the
    tokens of the longer prompt.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int, prompts: Sequence[str] = ()) -> None:
        # A tokenizer.json often truncates and pads by itself, which would hide the length asked for.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        prompt = max(self.count([text for text in prompts if text]), default=0)
        self.limit = max(1, max_tokens - special - prompt)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's length in tokens, special tokens left out."""
        lengths: list[int] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            block = list(texts[start : start + TEXTS_AT_ONCE])
            encodings = self._tokenizer.encode_batch_fast(block, add_special_tokens=False)
            lengths.extend(len(encoding.ids) for encoding in encodings)
        return lengths
