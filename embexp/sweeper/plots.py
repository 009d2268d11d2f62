"""Optuna's own pictures of a study, as pieces of one HTML page that asks nothing of the network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embexp.sweeper.study import quiet

if TYPE_CHECKING:
    from optuna import Study

log = logging.getLogger("embexp.sweeper")


@dataclass(frozen=True)
class Plot:
    """A picture: its title, what it shows, and its HTML."""

    title: str
    shows: str
    html: str


def importance(study: Study) -> dict[str, float]:
    """Return each key's share in the variance of the first objective, the greatest first.

    Optuna's PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255); empty where fewer than
    four trials have finished, or all came to the same.
    """
    import optuna

    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished) < 4 or len({trial.values[0] for trial in finished}) < 2:
        return {}
    with quiet():
        found = optuna.importance.get_param_importances(
            study,
            evaluator=_evaluator(),
            target=lambda trial: float(trial.values[0]),
        )
    return {key: float(value) for key, value in found.items()}


def plots(study: Study, objectives: Sequence[str]) -> list[Plot]:
    """Return the pictures that this study has enough trials for; none, said aloud, without plotly."""
    try:
        import plotly.io
    except ImportError:
        log.warning('The sweep report has no plots: pip install "embexp[sweep]" brings plotly.')
        return []
    drawn: list[Plot] = []
    for title, shows, draw in _wanted(study, objectives):
        with quiet():
            figure = draw()
        figure.update_layout(title=None, template="plotly_white", margin={"t": 30}, height=420)
        html = plotly.io.to_html(
            figure, full_html=False, include_plotlyjs=not drawn, config={"displaylogo": False}
        )  # the library itself stands in the page once, with the first picture
        drawn.append(Plot(title, shows, html))
    return drawn


def _wanted(study: Study, objectives: Sequence[str]) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield title, meaning and drawing of each picture; several objectives are drawn by their first."""
    from optuna import visualization

    first: dict[str, Any] = {"target_name": objectives[0]}
    if len(objectives) > 1:
        first["target"] = lambda trial: float(trial.values[0])
        yield (
            "Pareto front",
            "No trial is better in everything than those on the front.",
            lambda: visualization.plot_pareto_front(study, target_names=list(objectives)),
        )
    yield (
        "History",
        "Each trial's value, and the best so far.",
        lambda: visualization.plot_optimization_history(study, **first),
    )
    if importance(study):
        yield (
            "Importance",
            "How much of the differences between trials each key explains.",
            lambda: visualization.plot_param_importances(study, evaluator=_evaluator(), **first),
        )
    yield (
        "Values",
        "Each key's values and what came of them.",
        lambda: visualization.plot_slice(study, **first),
    )
    yield (
        "Together",
        "A line for each trial: which values went together.",
        lambda: visualization.plot_parallel_coordinate(study, **first),
    )
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        yield (
            "Dev scores",
            "Each trial's dev scores while it trained; short lines were pruned.",
            lambda: visualization.plot_intermediate_values(study),
        )


def _evaluator() -> Any:
    import optuna

    return optuna.importance.PedAnovaImportanceEvaluator()
