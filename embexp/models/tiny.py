"""A small random model that is built in code, without a download: for tests and dry runs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase
from typing import TYPE_CHECKING, Annotated

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.models.folder import TokenizerCounter, offline
from embexp.progress import without_bars
from embexp.ranges import Seed, check_ranges
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

HEADS = 4
MAX_TOKENS = 256
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST_WORD = 1000
POSITION_SCALE = 0.1


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """A small BERT with random weights and a vocabulary of letter groups.

    Words with the same beginning share tokens, so that even a short training improves retrieval. The model
    knows no language: use it to try a configuration, not to judge its results.

    Args:
        name: The model's name in tables and results.
        seed: The seed of the random weights.
        dimension: The length of a vector; a multiple of 4.
        layers: The number of layers.
    """

    name: str = "tiny"
    seed: Seed = 0
    dimension: Annotated[int, Interval(ge=4, le=4_096)] = 64
    layers: Annotated[int, Interval(ge=1, le=100)] = 2

    def __post_init__(self) -> None:
        check_ranges(self, "model")
        if self.dimension % HEADS:
            raise ConfigError(
                f"model.dimension is {self.dimension}: give a multiple of {HEADS}, such as 64 "
                f"(the model has {HEADS} attention heads)."
            )

    def fingerprint(self) -> str:
        """Return a digest of everything that determines the weights."""
        return sha256_of("tiny", self.seed, self.dimension, self.layers, MAX_TOKENS)

    def load(self) -> SentenceTransformer:
        """Build the model; the same seed gives the same weights, and torch's global generator is kept."""
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=build_tokenizer(),
            model_max_length=MAX_TOKENS,
            **{f"{token[1:-1].lower()}_token": token for token in SPECIAL},
        )
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.dimension,
            num_hidden_layers=self.layers,
            num_attention_heads=HEADS,
            intermediate_size=4 * self.dimension,
            max_position_embeddings=MAX_TOKENS,
        )
        with tempfile.TemporaryDirectory() as folder, offline(), without_bars():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                bert = BertModel(config)
            with torch.no_grad():
                # Unscaled, random position embeddings outweigh the words, and all texts get similar vectors.
                bert.embeddings.position_embeddings.weight.mul_(POSITION_SCALE)
                bert.embeddings.token_type_embeddings.weight.zero_()
            bert.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            transformer = Transformer(folder)
        # The folder no longer exists, and a later save must not look for the base model there.
        transformer.auto_model.config._name_or_path = ""
        pooling = Pooling(self.dimension, pooling_mode="mean")
        return SentenceTransformer(modules=[transformer, pooling])

    def tokens(self) -> TokenizerCounter:
        """Return a counter that uses this model's tokenizer."""
        return TokenizerCounter(build_tokenizer(), max_tokens=MAX_TOKENS)


def build_tokenizer() -> Tokenizer:
    """Return a WordPiece tokenizer over letter groups, which can tokenize any text since it knows every byte.

    A word is split into a first group of up to three letters and further groups of up to two.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel, Sequence
    from tokenizers.processors import TemplateProcessing

    pieces = [
        *SPECIAL,
        *sorted(ByteLevel.alphabet()),
        *(f"##{char}" for char in sorted(ByteLevel.alphabet())),
    ]
    pairs = ["".join(letters) for letters in product(ascii_lowercase, repeat=2)]
    pieces += pairs + [f"##{pair}" for pair in pairs]
    pieces += ["".join(letters) for letters in product(ascii_lowercase, repeat=3)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}

    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = Sequence(
        [BertPreTokenizer(), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer
