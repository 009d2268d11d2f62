"""The models of a run that are behind a service: which they are, and whether they answer."""

from __future__ import annotations

import logging

from embexp.models.adapted import service_of
from embexp.models.encoder import SourceEmbedder
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.pipeline.experiment import Experiment

log = logging.getLogger(__name__)


def services_of(experiment: Experiment) -> list[OpenAICompatibleModel]:
    """Return the models of an experiment that are behind a service, each once."""
    own = [experiment.model, experiment.tuned]
    asking = [each for each in (experiment.benchmark, experiment.forgetting) if each]
    further = [source for each in asking for source in each.models]
    found: dict[str, OpenAICompatibleModel] = {}
    for source in (*own, *further):
        if (service := service_of(source)) is not None:
            found.setdefault(service.fingerprint(), service)
    return list(found.values())


def check_services(experiment: Experiment) -> None:
    """Ask each service for one vector, so that one that gives none ends the run before any work.

    Raises:
        EmbexpError: A service gives no vector.
    """
    for source in services_of(experiment):
        dimension = SourceEmbedder(source, experiment.embeddings).dimension
        log.info("%s gives vectors of %d numbers.", source.name, dimension)
