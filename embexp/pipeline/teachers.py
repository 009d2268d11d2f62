"""The teacher of a run: whether it can be had, what it would cost, and whether it may teach."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, replace

from pydantic import TypeAdapter

from embexp.benchmarking.task import RetrievalTask
from embexp.benchmarking.teacher_gate import TeacherGate, consequence, judge_teacher
from embexp.errors import ConfigError
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.teachers.labels import Labels
from embexp.models.encoder import SourceEmbedder
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.user_code import identity

log = logging.getLogger(__name__)

DEFAULT_LENGTH = 20
"""The passages that a teacher orders in its gate, for a loss that does not say how many it reads."""


def teachers_of(experiment: Experiment) -> list[str]:
    """Return the digests of the models that the loss and the trainer use, which settings alone do not fix."""
    return [identity(experiment.loss), identity(experiment.trainer)]


def check_teachers(experiment: Experiment) -> None:
    """Check, before any pair is written, that the models of the loss and of the trainer can be had.

    Raises:
        EmbexpError: One of them is missing; the message says what to give instead.
    """
    teachers_of(experiment)
    if experiment.loss.teacher is not None:
        experiment.loss.teacher.check()


def teacher_gate(
    experiment: Experiment, data: Data, questions: Callable[[], RetrievalTask | None]
) -> TeacherGate | None:
    """Say whether the loss's teacher may teach, or take that from the cache.

    Args:
        experiment: The components.
        data: The corpus and its splits.
        questions: Returns the dev questions; None where there are none.

    Returns:
        The gate, ``used`` as ``loss.gate`` has it; None where there is no teacher or no gate.

    Raises:
        ConfigError: The teacher does not help, and ``loss.gate`` is ``stop``.
    """
    loss, teacher = experiment.loss, experiment.loss.teacher
    if teacher is None or loss.gate == "off" or isinstance(teacher, Labels):
        return None
    depth = list_length(loss)
    inputs = (data.key, identity(experiment.model), identity(teacher), depth)
    with experiment.stages.stage("teacher", *inputs, experiment.metric, experiment.seed) as stage:
        gate = stage.stored(TypeAdapter(TeacherGate).validate_python)
        if gate is None:
            gate = judge_teacher(
                questions(),
                teacher,
                SourceEmbedder(experiment.model, experiment.embeddings, bf16=True),
                depth=depth,
                metric=experiment.metric,
                seed=experiment.seed,
                folder=stage.folder,
            )
            stage.finish(asdict(gate))
    if gate.passed:
        log.info("%s.", gate.reason)
        return gate
    if loss.gate == "stop":
        raise ConfigError(
            f"{gate.reason}. loss.gate=stop ends the run: choose another teacher, as in "
            "teacher@loss.teacher=cross_encoder, or set loss.gate to fallback or warn."
        )
    used = loss.gate == "warn"
    gate = replace(gate, used=used, instead=None if used else type(loss.fallback).__name__)
    log.warning("%s. %s", gate.reason, consequence(gate))
    return gate


def loss_to_train(loss: Loss, gate: TeacherGate | None) -> Loss:
    """Return the loss, or the one that it falls back on where its teacher may not teach."""
    if gate is None or gate.used or loss.fallback is None:
        return loss
    return loss.fallback


def list_length(loss: Loss) -> int:
    """Return the passages of a list that a teacher orders."""
    return 1 + (loss.max_negatives if loss.max_negatives is not None else DEFAULT_LENGTH - 1)
