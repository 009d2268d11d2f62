"""Queries in a script that a model has never read: their loanwords are read as they sound.

Technical language is full of loanwords ("клиент", "протокол"). In Latin letters, as they sound, a tokenizer
cuts them into pieces like those of the words that they come from. A query encoder learns what is left of the
difference from training queries that are spelled by sound, too. It needs no query in that language.
"""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embexp.data.phonetic_keys import phonetic_key, script
from embexp.data.spelling import MOSTLY, spelled_share
from embexp.data.splitting import Splits
from embexp.data.words import unspaced
from embexp.models.folder import TokenizerCounter
from embexp.models.routes import has_two_encoders

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

RESPELLED = 0.5
"""The share of the training queries that are spelled by sound."""
SHORTEST = 4
"""Shorter words are left as they are: languages borrow few of them."""
_INFLECTED = 0.6
"""The share of their words that get another ending."""
_LAST_LETTER = 0xFFFF
_VOWELS, _ENDS = "aeiou", ("", "", "", "i", "m", "n", "s", "v")
MOST_LETTERS = 2_000
"""Each letter is a step of the tokenizer, .2 ms for 400 of them; the syllables of Hangul would take 5 ms."""
_WORD = re.compile(r"\w+")


def unread_letters(model: SentenceTransformer, splits: Splits) -> dict[str, str]:
    """Return the letters of the script that questions ask in, if the model has never read their language.

    Args:
        model: The untuned model. One with two encoders has read everything.
        splits: The test questions tell, or the dev questions where there is no test. Where the training
            queries are in that language, too, the model gets tokens for it (``new_tokens.py``).

    Returns:
        Letter -> what it sounds like in Latin letters; empty where the model reads the questions, or where
        their script is Latin, puts no space between words, or has more than 2,000 letters (Hangul).
    """
    tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
    if tokenizer is None or has_two_encoders(model):
        return {}
    counter = TokenizerCounter(_copy(tokenizer), max_tokens=1)
    asked = [pair.query for pair in splits.test or splits.dev]
    share = spelled_share(counter, asked)
    if share <= MOSTLY or spelled_share(counter, [pair.query for pair in splits.train]) > MOSTLY:
        return {}
    found = _main_script(asked)
    letters = [each for each in map(chr, range(_LAST_LETTER)) if each.isalpha() and script(each) == found]
    return {each: phonetic_key(each.lower()) for each in letters} if len(letters) <= MOST_LETTERS else {}


def _main_script(texts: Iterable[str]) -> str:
    """Return the script of most letters that are not Latin; empty if there are none, or if it is unspaced."""
    letters = Counter(letter for text in texts for letter in text if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts["" if unspaced(letter) else script(letter)] += count
    del scripts["LATIN"]
    return max(scripts, key=lambda name: scripts[name], default="")


def respelled(queries: Sequence[str], *, seed: int) -> list[str]:
    """Return the queries, half of them by sound, as somebody would write them who borrows their words.

    Words of four letters and more are written as they sound; many get another ending, and nonsense stands
    between them, as words that are not borrowed are nonsense to the model.

    Args:
        queries: The training queries.
        seed: Fixes what is drawn.
    """
    draw = random.Random(seed)
    words = sorted({word for query in queries for word in _WORD.findall(query) if _borrowable(word)})
    if not words:
        return list(queries)
    return [_respelled(query, words, draw) if draw.random() < RESPELLED else query for query in queries]


def _respelled(query: str, words: Sequence[str], draw: random.Random) -> str:
    found = _WORD.sub(lambda word: _by_sound(word[0], draw), query).split()
    for _ in range(draw.randint(0, len(found))):
        letters = list(phonetic_key(draw.choice(words).lower()))
        draw.shuffle(letters)
        found.insert(draw.randint(0, len(found)), "".join(letters))
    return " ".join(found)


def _by_sound(word: str, draw: random.Random) -> str:
    """Return a word as it sounds, perhaps with another ending."""
    if not _borrowable(word):
        return word
    key = phonetic_key(word.lower())
    if draw.random() >= _INFLECTED:
        return key
    return key.rstrip(_VOWELS) + draw.choice(["", draw.choice(_VOWELS) + draw.choice(_ENDS)])


def _borrowable(word: str) -> bool:
    return word.isalpha() and len(word) >= SHORTEST


def transliterate_queries(model: SentenceTransformer, letters: Mapping[str, str]) -> None:
    """Let the query encoder's tokenizer read letters as they sound; other texts have the tokens they had.

    The model is saved with that tokenizer, and sentence-transformers loads it.

    Args:
        model: A model of two encoders, changed in place.
        letters: What ``unread_letters`` returns; nothing changes without any.
    """
    if not letters:
        return
    from tokenizers import normalizers
    from transformers import PreTrainedTokenizerFast

    transformer: Any = model[0].sub_modules["query"][0]  # type: ignore[union-attr,index]
    known = transformer.tokenizer
    reading = _copy(known.backend_tokenizer)
    doubled = [normalizers.Replace(2 * letter, letter) for letter in letters]
    steps = [*doubled, *(normalizers.Replace(letter, sound) for letter, sound in letters.items())]
    own = reading.normalizer
    reading.normalizer = normalizers.Sequence([*steps, *([own] if own is not None else [])])
    # The class of the model's own tokenizer would build its normalizer anew when the model is loaded.
    transformer.processor = PreTrainedTokenizerFast(
        tokenizer_object=reading,
        model_max_length=known.model_max_length,
        model_input_names=known.model_input_names,
        padding_side=known.padding_side,
        **known.special_tokens_map,
    )


def _copy(tokenizer: Any) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer.to_str())
