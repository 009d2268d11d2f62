"""Tokens for words that a model's tokenizer spells letter by letter, as of a language it has never read.

A token starts from the embeddings of the passages' tokens that it translates, as word alignment finds them in
the training pairs. So a question is read, before any training, much as its translation would be.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from embexp.data.records import Pair
from embexp.data.spelling import MOSTLY, MULTILINGUAL, SHORTEST, is_spelled
from embexp.data.word_alignment import align
from embexp.models.routes import has_two_encoders

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

log = logging.getLogger(__name__)

FEWEST_PAIRS = 100
"""Fewer pairs align too few words."""
MOST_PAIRS = 5_000
"""More pairs would take memory and time, and align few more words."""
FIRST_TOKENS = 128
"""The tokens at a passage's beginning, where it says what it is about, that questions are aligned with."""
QUESTION_TOKENS = 16
"""The new tokens of a question that are aligned: with the numbers above, memory stays below some 500 MB."""
MOST_COMMON = 0.5
"""Tokens in more than this share of the passages, such as ``the``, are not aligned."""


def extend_vocabulary(model: SentenceTransformer, pairs: Sequence[Pair], *, most: int) -> list[str]:
    """Add tokens for the words of the training questions, if the tokenizer spells most of these words.

    The same model and pairs give the same tokens and embeddings. Where most words of the passages are
    spelled, too, there is nothing to translate the questions into: a warning says so, and nothing is added.

    Args:
        model: The model, changed in place. One without a WordPiece tokenizer, or with two encoders, is left
            as it is.
        pairs: The training pairs; of more than 5,000, as many are used, evenly spread.
        most: At most so many tokens are added; 0 adds none.

    Returns:
        The added tokens, in the order of their ids; empty if there is no need for any.
    """
    tokenizer = wordpiece(model)
    if tokenizer is None or most == 0 or len(pairs) < FEWEST_PAIRS:
        return []
    sample = [pairs[i] for i in np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_PAIRS)).astype(int)]
    spelled, share = _spelled(tokenizer, (pair.query for pair in sample))
    if share <= MOSTLY:
        return []
    if _spelled(tokenizer, (pair.positive for pair in sample))[1] > MOSTLY:
        log.warning(
            "The tokenizer spells most words of questions and passages letter by letter: the model has never "
            "read their language. Choose one that has, such as model=hub model.id=%s.",
            MULTILINGUAL,
        )
        return []
    tokens = _learned(spelled, tokenizer, most=most)
    if not tokens:
        return []
    known = add_tokens(model, tokens)
    aligned = _initialise(model, sample, known=known)
    log.info(
        "The tokenizer spells %.0f%% of the training questions' words letter by letter: %d tokens are added, "
        "%d of which start from the tokens of passages that they translate.",
        *(100 * share, len(tokens), aligned),
    )
    return tokens


def add_tokens(model: SentenceTransformer, tokens: Sequence[str]) -> int:
    """Add tokens to a WordPiece tokenizer, and a row for each, the mean of all, to the model's embeddings.

    Args:
        model: The model, changed in place.
        tokens: Tokens that it does not have; those within words begin with its prefix (``##``).

    Returns:
        The id of the first of them: those of known tokens are below it.

    Raises:
        ValueError: The model has no WordPiece tokenizer.
    """
    from tokenizers.models import WordPiece

    tokenizer = wordpiece(model)
    if tokenizer is None:
        raise ValueError("Tokens can be added to a WordPiece tokenizer only.")
    old = tokenizer.model
    vocabulary = tokenizer.get_vocab()
    first = max(vocabulary.values()) + 1
    tokenizer.model = WordPiece(
        {**vocabulary, **{token: first + i for i, token in enumerate(tokens)}},
        unk_token=old.unk_token,
        continuing_subword_prefix=old.continuing_subword_prefix,
        max_input_chars_per_word=old.max_input_chars_per_word,
    )
    transformer: Any = model[0]
    embeddings = token_embeddings(model)
    mean = embeddings[:first].mean(dim=0)
    if first + len(tokens) > len(embeddings):
        transformer.auto_model.resize_token_embeddings(first + len(tokens), mean_resizing=False)
    token_embeddings(model)[first : first + len(tokens)] = mean
    return first


def wordpiece(model: SentenceTransformer) -> Tokenizer | None:
    """Return the model's tokenizer; None if it is no WordPiece or serves two encoders."""
    from sentence_transformers.base.modules import Transformer
    from tokenizers.models import WordPiece

    if has_two_encoders(model) or not isinstance(model[0], Transformer):
        return None
    tokenizer: Tokenizer | None = getattr(model.tokenizer, "backend_tokenizer", None)
    return tokenizer if tokenizer is not None and isinstance(tokenizer.model, WordPiece) else None


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return the words of a text as the tokenizer's model sees them."""
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return [text]
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def _spelled(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[dict[str, int], float]:
    """Return how often each spelled word occurs in texts, and their share of all words that can tell.

    A word is spelled if it has about as many tokens as letters, or letters that the tokenizer does not know.
    Other words of one or two letters tell nothing.
    """
    words = Counter(word for text in texts for word in _words(tokenizer, text))
    spelled, others = {}, 0
    for word, count in words.items():
        pieces = [token.value for token in tokenizer.model.tokenize(word)]
        if tokenizer.model.unk_token in pieces or is_spelled(word, len(pieces)):
            spelled[word] = count
        elif len(word) >= SHORTEST:
            others += count
    total = sum(spelled.values())
    return spelled, total / max(total + others, 1)


def _learned(spelled: dict[str, int], tokenizer: Tokenizer, *, most: int) -> list[str]:
    """Return the whole words and the pieces of words that occur most often and have no token yet."""
    from tokenizers import Tokenizer as Fresh
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.trainers import WordPieceTrainer

    learner = Fresh(WordPiece(unk_token=tokenizer.model.unk_token))
    learner.pre_tokenizer = WhitespaceSplit()
    prefix, letters = tokenizer.model.continuing_subword_prefix, sorted({*"".join(spelled)})
    trainer = WordPieceTrainer(
        vocab_size=most + 2 * len(letters),
        min_frequency=2,
        show_progress=False,
        continuing_subword_prefix=prefix,
        # In a fixed order: the trainer itself would number them differently each time, and so break ties.
        special_tokens=[*letters, *(f"{prefix}{letter}" for letter in letters)],
    )
    learner.train_from_iterator((word for word, count in spelled.items() for _ in range(count)), trainer)
    used = {token.value for word in spelled for token in learner.model.tokenize(word)}
    new = used - tokenizer.get_vocab().keys()
    return sorted(new, key=learner.get_vocab().__getitem__)[:most]


def _initialise(model: SentenceTransformer, pairs: Sequence[Pair], *, known: int) -> int:
    """Set the embeddings of new tokens to those of the tokens that they translate; return for how many.

    The mean of these, weighted by how often each is translated, is scaled to the mean length of the known
    tokens' embeddings.
    """
    import torch

    questions = [
        [token for token in tokens if token >= known][:QUESTION_TOKENS]
        for tokens in _encoded(model, [pair.query for pair in pairs])
    ]
    passages = _aligned_with(_encoded(model, [pair.positive for pair in pairs]), known=known)
    found = align(questions, passages)
    if not len(found.counts):
        return 0
    embeddings = token_embeddings(model)
    length = embeddings[:known].norm(dim=1).mean()
    order = np.argsort(found.questions, kind="stable")
    tokens, starts = np.unique(found.questions[order], return_index=True)
    for token, rows in zip(tokens, np.split(order, starts[1:]), strict=True):
        weights = torch.from_numpy(found.counts[rows]).to(embeddings)
        mean = weights @ embeddings[torch.from_numpy(found.passages[rows]).to(embeddings.device)]
        embeddings[int(token)] = mean * (length / mean.norm())
    return len(tokens)


def _encoded(model: SentenceTransformer, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of each text's first tokens, without special tokens."""
    ids: list[list[int]] = model.tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=True,
        max_length=FIRST_TOKENS,
        return_attention_mask=False,
    )["input_ids"]
    return ids


def _aligned_with(passages: Sequence[list[int]], *, known: int) -> list[list[int]]:
    """Return the distinct tokens of each passage that are neither rare nor common nor new."""
    distinct = [dict.fromkeys(passage) for passage in passages]
    frequency = Counter(token for passage in distinct for token in passage)
    most = MOST_COMMON * len(distinct)
    return [
        [token for token in passage if token < known and 2 <= frequency[token] <= most]
        for passage in distinct
    ]


def token_embeddings(model: SentenceTransformer) -> torch.Tensor:
    """Return the embeddings of the model's tokens, shape (tokens, dimension), to read and to write."""
    transformer: Any = model[0]
    weight: torch.Tensor = transformer.auto_model.get_input_embeddings().weight.data
    return weight
