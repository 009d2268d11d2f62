"""The word translations that BM25 may use: learned once from the training pairs, and kept in the cache."""

from __future__ import annotations

from pathlib import Path

from embexp.finetuning.auto import in_peoples_words
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.retrieval.serving import word_retriever
from embexp.retrieval.translations import FEWEST_PAIRS, learn_translations

TRANSLATIONS = "translations.json"


def word_translations(experiment: Experiment, data: Data) -> Path | None:
    """Learn translations from the training pairs whose questions are people's own, or take those cached.

    Questions made of the passages' own words teach none. They are learned with BM25's stemmer and stop words.

    Returns:
        The file; None where there are fewer than 100 such pairs, or where the retriever has translations.
    """
    words = word_retriever(experiment.retriever)
    if words.translations:
        return None
    scale = data.splits.label_scale()
    pairs = (pair for pair in data.splits.train if in_peoples_words(pair) and scale.is_positive(pair.label))
    texts = list(dict.fromkeys((pair.query, pair.positive) for pair in pairs))
    if len(texts) < FEWEST_PAIRS:
        return None
    with experiment.stages.stage("translations", data.key, words.stemmer, words.stopwords) as stage:
        if stage.done is None:
            learned = learn_translations(texts, stemmer=words.stemmer, stopwords=words.stopwords)
            learned.write(stage.folder / TRANSLATIONS)
            stage.finish({}, TRANSLATIONS)
        return stage.folder / TRANSLATIONS
