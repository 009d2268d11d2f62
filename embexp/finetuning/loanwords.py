"""Queries in a script that a model has never read: their loanwords are transliterated.

Technical language is full of loanwords ("клиент", "протокол"). Transliterated, they resemble the phonetic
spellings of words in the documents, so a query encoder gets a token for each of these spellings, initialised
with the word's own embedding. Training queries that are spelled phonetically, too, teach it the tokens with
different endings. It needs no query in that language.
"""

from __future__ import annotations

import itertools
import logging
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embexp.data.phonetic_keys import phonetic_key, script
from embexp.data.records import Pair
from embexp.data.spelling import MOSTLY, spelled_share
from embexp.data.splitting import Splits
from embexp.data.words import unspaced
from embexp.finetuning.new_tokens import add_tokens, token_embeddings, wordpiece
from embexp.finetuning.parameter_efficient import QueryEncoder
from embexp.models.folder import TokenizerCounter
from embexp.models.routes import encoder_of, has_two_encoders

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

log = logging.getLogger(__name__)

RESPELLED = 0.5
"""The share of the training queries that are spelled phonetically."""
SHORTEST = 4
"""Shorter words are left as they are: languages borrow few of them."""
_INFLECTED = 0.6
"""The share of their words that get another ending."""
_LAST_LETTER = 0xFFFF
_VOWELS, _ENDS = "aeiou", ("", "", "", "i", "m", "n", "s", "v")
MOST_LETTERS = 2_000
"""Each letter is a step of the tokenizer, .2 ms for 400 of them; the syllables of Hangul would take 5 ms."""
_WORD = re.compile(r"\w+")


def unread_letters(method: object, model: SentenceTransformer, splits: Splits) -> dict[str, str]:
    """Return the letters of the script that questions ask in, if they are to be transliterated.

    They are if the model has never read the questions' language, and gets a query encoder.

    Args:
        method: Which weights are trained; only a ``QueryEncoder`` may transliterate.
        model: The untuned model. One with two encoders has read everything.
        splits: The test questions tell, or the dev questions where there is no test. Where the training
            queries are in that language, too, the model gets tokens for it (``new_tokens.py``).

    Returns:
        Letter -> what it sounds like in Latin letters; empty where the model reads the questions, or where
        their script is Latin, puts no space between words, or has more than 2,000 letters (Hangul).
    """
    if not (isinstance(method, QueryEncoder) and method.transliterate):
        return {}
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


def add_loanwords(
    model: SentenceTransformer, letters: Mapping[str, str], pairs: Sequence[Pair], *, most: int
) -> list[str]:
    """Add tokens for phonetic spellings of the documents' words: ``protokol`` is initialised as ``protocol``.

    The same model and pairs give the same tokens. Words in Latin letters are tokenized as before, except
    those that begin with one of these spellings.

    Args:
        model: A model of two encoders; that of the queries is changed in place if its tokenizer is WordPiece.
        letters: What ``unread_letters`` returns; nothing changes without any.
        pairs: The training pairs, whose passages hold the words.
        most: At most so many tokens are added, those of the most frequent words.

    Returns:
        The added tokens, in the order of their ids.
    """
    if not letters or most == 0:
        return []
    encoder = encoder_of(model, "query")
    tokenizer = wordpiece(encoder)
    if tokenizer is None:
        return []
    found = _phonetic_stems({pair.positive for pair in pairs}, tokenizer)
    stems = dict(itertools.islice(found.items(), most))
    pieces = [tokenizer.encode(word, add_special_tokens=False).ids for word in stems.values()]
    first = add_tokens(encoder, list(stems))
    embeddings = token_embeddings(encoder)
    for token, ids in enumerate(pieces, start=first):
        embeddings[token] = embeddings[ids].mean(dim=0)
    log.info("%d tokens are added for phonetic spellings of the documents' words.", len(stems))
    return list(stems)


def _phonetic_stems(passages: Iterable[str], tokenizer: Tokenizer) -> dict[str, str]:
    """Return the stems of the words' phonetic keys -> the most frequent word of each, frequent ones first.

    WordPiece takes the longest token that a word begins with: a stem that would replace the first token of
    the word itself, or of a more frequent one, is left out.
    """
    known, stems = tokenizer.get_vocab(), dict[str, str]()
    beginnings: set[str] = set()
    for word in _by_frequency(passages):
        first = len(tokenizer.model.tokenize(word)[0].value)
        beginnings.update(word[:end] for end in range(first + 1, len(word) + 1))
        stem = _stem(phonetic_key(word))
        if len(stem) >= SHORTEST and stem not in known and stem not in beginnings:
            stems.setdefault(stem, word)
    return stems


def _by_frequency(passages: Iterable[str]) -> list[str]:
    """Return the words in Latin letters that can be borrowed, in lower case, the most frequent first."""
    counts = Counter(word for text in passages for word in _WORD.findall(text.lower()))
    words = [word for word in counts if _borrowable(word) and script(word[0]) == "LATIN"]
    return sorted(words, key=lambda word: (-counts[word], word))


def _stem(key: str) -> str:
    """Return a phonetic key without the vowels at its end, which languages exchange for endings."""
    return key.rstrip(_VOWELS)


def respelled(queries: Sequence[str], *, seed: int, share: float = RESPELLED) -> list[str]:
    """Return the queries, some of them spelled phonetically, as a language that borrows their words would.

    Words of four letters and more are replaced by their phonetic keys; many get another ending, and nonsense
    words are inserted, as words that are not borrowed are nonsense to the model.

    Args:
        queries: The training queries.
        seed: Fixes what is drawn.
        share: The share of them that are spelled phonetically.
    """
    draw = random.Random(seed)
    words = sorted({word for query in queries for word in _WORD.findall(query) if _borrowable(word)})
    if not words:
        return list(queries)
    return [_respelled(query, words, draw) if draw.random() < share else query for query in queries]


def phonetic_questions(questions: Sequence[str], letters: Mapping[str, str], *, seed: int) -> list[str]:
    """Return dev questions as the query encoder will read those that it is asked.

    Args:
        questions: Those in the script of the letters are transliterated, the others spelled phonetically.
        letters: What ``unread_letters`` returns.
        seed: Fixes what is drawn.
    """
    from tokenizers import normalizers

    transliteration = normalizers.Sequence(_transliteration(letters))
    spelled = respelled(questions, seed=seed, share=1.0)
    return [
        transliteration.normalize_str(question) if letters.keys() & set(question) else phonetic
        for question, phonetic in zip(questions, spelled, strict=True)
    ]


def _respelled(query: str, words: Sequence[str], draw: random.Random) -> str:
    found = _WORD.sub(lambda word: _spelled_phonetically(word[0], draw), query).split()
    for _ in range(draw.randint(0, len(found))):
        letters = list(phonetic_key(draw.choice(words).lower()))
        draw.shuffle(letters)
        found.insert(draw.randint(0, len(found)), "".join(letters))
    return " ".join(found)


def _spelled_phonetically(word: str, draw: random.Random) -> str:
    """Return a word's phonetic key, perhaps with another ending."""
    if not _borrowable(word):
        return word
    key = phonetic_key(word.lower())
    if draw.random() >= _INFLECTED:
        return key
    return _stem(key) + draw.choice(["", draw.choice(_VOWELS) + draw.choice(_ENDS)])


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
    own = [] if reading.normalizer is None else [reading.normalizer]
    reading.normalizer = normalizers.Sequence([*_transliteration(letters), *own])
    # The class of the model's own tokenizer would build its normalizer anew when the model is loaded.
    transformer.processor = PreTrainedTokenizerFast(
        tokenizer_object=reading,
        model_max_length=known.model_max_length,
        model_input_names=known.model_input_names,
        padding_side=known.padding_side,
        **known.special_tokens_map,
    )


def _transliteration(letters: Mapping[str, str]) -> list[Normalizer]:
    """Return the steps that write letters in Latin ones, doubled letters as one."""
    from tokenizers import normalizers

    doubled = [normalizers.Replace(2 * letter, letter) for letter in letters]
    return [*doubled, *(normalizers.Replace(letter, sound) for letter, sound in letters.items())]


def _copy(tokenizer: Any) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(tokenizer.to_str())
