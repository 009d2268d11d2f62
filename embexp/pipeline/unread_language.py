"""A warning before the work: the questions are in a language that the model has never read."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from embexp.data.records import Pair
from embexp.data.spelling import MOSTLY, MULTILINGUAL, spelled_share
from embexp.finetuning.new_tokens import FEWEST_PAIRS
from embexp.models.sources import ModelSource

log = logging.getLogger(__name__)


def warn_of_unread_language(model: ModelSource, questions: Sequence[str], train: Sequence[Pair]) -> None:
    """Say it if the model's tokenizer spells most words of the questions, or does not know their letters.

    It says nothing where the training questions are in that language, too: the trainer adds tokens for them.

    Args:
        model: The untuned model.
        questions: The test questions; dev questions where there is no test.
        train: The training pairs.
    """
    tokens = model.tokens()
    share = spelled_share(tokens, questions)
    if share <= MOSTLY or spelled_share(tokens, [pair.query for pair in train]) > MOSTLY:
        return
    log.warning(
        "The tokenizer of %s spells %.0f%% of the test questions' words letter by letter, or does not know "
        "their letters: the model has never read their language, and few or no training questions are in "
        "it. Choose a model that has, such as model=hub model.id=%s, or give %d training pairs or more in "
        "that language.",
        *(model.name, 100 * share, MULTILINGUAL, FEWEST_PAIRS),
    )
