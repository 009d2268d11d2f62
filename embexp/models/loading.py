"""Loading a model's folder: without the network, without bars on stderr, with the prompts asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PASSAGE_PROMPTS = ("document", "passage", "corpus")
"""The names that models save a passage prompt under, in the order in which sentence-transformers looks."""


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


@contextmanager
def without_bars() -> Iterator[None]:
    """Silence the progress bars that transformers draws for every file of weights."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def load_folder(
    folder: Path, *, query_prompt: str | None, passage_prompt: str | None, max_tokens: int | None
) -> SentenceTransformer:
    """Load a sentence-transformers or transformers folder from disk, on the GPU where there is one.

    Args:
        folder: Where the model's files lie.
        query_prompt: What goes before every query; None keeps the model's own prompt, "" means none.
        passage_prompt: What goes before every passage, likewise.
        max_tokens: The sequence length, special tokens included; None keeps the model's own.
    """
    from sentence_transformers import SentenceTransformer

    with offline(), without_bars():
        model = SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
    if query_prompt is not None:
        model.prompts["query"] = query_prompt
    if passage_prompt is None:
        # The default "document": "" would hide a prompt that the model saved under another name.
        passage_prompt = next(
            (model.prompts[name] for name in PASSAGE_PROMPTS if model.prompts.get(name)), ""
        )
    model.prompts["document"] = passage_prompt
    if max_tokens is not None:
        model.max_seq_length = max_tokens
    return model
