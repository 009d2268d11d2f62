"""The card of a tuned model: what it was trained on, how, and what that did."""

from __future__ import annotations

from pathlib import Path

from embexp.reporting.outcome import Outcome
from embexp.reporting.report import environment
from embexp.reporting.verdict import headline
from embexp.storage.files import atomic_write


def write_model_card(model_dir: Path, outcome: Outcome, *, config: str = "") -> Path:
    """Write ``README.md`` into a model's folder.

    Args:
        model_dir: The saved model.
        outcome: What the run found.
        config: The run's configuration as YAML, secrets already masked.

    Returns:
        The card's path.
    """
    text = (
        environment(escaped=False)
        .get_template("model_card.md.j2")
        .render(outcome=outcome, headline=headline(outcome), config=config, training=outcome.training)
    )
    card = model_dir / "README.md"
    with atomic_write(card) as stream:
        stream.write(text)
    return card
