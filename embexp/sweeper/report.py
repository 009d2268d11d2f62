"""A sweep's report: a table in the terminal, and sweep.html, sweep.md and sweep.json in its folder."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.reporting.console import short_path, standard_output
from embexp.reporting.report import render
from embexp.reporting.tables import duration
from embexp.storage.files import write_json
from embexp.sweeper.settings import MAXIMIZE
from embexp.sweeper.space import described, key_of, spelled
from embexp.sweeper.study import ERROR, REPEATS, quiet

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger("embexp.sweeper")


SHOWN = 15
"""Rows of the table in the terminal; the report has all."""


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """A finished study, as it is reported.

    Args:
        study: Optuna's study.
        objectives: The names of the objectives.
        directions: ``maximize`` or ``minimize`` for each objective.
        total: The number of trials asked for.
        best: The winner, and the rest of the Pareto front.
        space: Each distribution in Optuna's JSON notation, by key or by ``KEY if CONDITION``.
        storage: Where the study is kept.
        command: The command that runs the winner again.
        folder: The sweep's folder.
        winner: The folder of the winner's whole run; None without one.
        baseline: The configured values; None if they lie outside the space.
    """

    study: Study
    objectives: Sequence[str]
    directions: Sequence[str]
    total: int
    best: Sequence[FrozenTrial]
    space: Mapping[str, str]
    storage: str
    command: str
    folder: Path
    winner: Path | None
    baseline: Mapping[str, Any] | None

    @property
    def keys(self) -> list[str]:
        """The swept keys; a trial has those whose condition holds."""
        return list(dict.fromkeys(map(key_of, self.space)))

    def ranked(self) -> list[FrozenTrial]:
        """Return the trials: finished ones, best first, then pruned ones, then failed ones."""
        sign = -1 if self.directions[0] == MAXIMIZE else 1
        order = {"COMPLETE": 0, "PRUNED": 1}

        def rank(trial: FrozenTrial) -> tuple[float, ...]:
            value = sign * trial.values[0] if trial.values else 0.0
            return order.get(trial.state.name, 2), value, trial.number

        return sorted(self.study.get_trials(deepcopy=False), key=rank)

    def defaults(self) -> FrozenTrial | None:
        """Return the finished trial with the configured values, if there is one."""
        trials = (trial for trial in self.ranked() if trial.state.name == "COMPLETE")
        return next((trial for trial in trials if self.baseline and trial.params == self.baseline), None)

    def headline(self) -> str:
        """Return the result in one sentence."""
        best, defaults = self.best[0], self.defaults()
        values = _named_values(self.objectives, best)
        if defaults is None:
            return f"Trial {best.number} is the best: {values}."
        if defaults.number == best.number:
            return f"Nothing beat the defaults (trial {best.number}): {values}."
        return (
            f"Trial {best.number} is the best: {values}; the defaults (trial {defaults.number}) had "
            f"{_named_values(self.objectives, defaults)}."
        )

    def counts(self) -> str:
        """Return the number of trials by how they ended."""
        states = Counter(trial.state.name for trial in self.study.get_trials(deepcopy=False))
        words = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed or cut off"}
        return ", ".join(f"{states[state]} {word}" for state, word in words.items() if states[state])


def _named_values(names: Sequence[str], trial: FrozenTrial) -> str:
    """Return a trial's values with their names, as in ``quality 0.5120, embedding_ms 1.7000``."""
    return ", ".join(f"{name} {value:.4f}" for name, value in zip(names, trial.values or (), strict=False))


def write_sweep_report(result: SweepResult) -> list[Path]:
    """Write the three files, atomically, and return their paths."""
    result.folder.mkdir(parents=True, exist_ok=True)
    weights = _importance(result.study)
    context = {
        "result": result,
        "names": result.keys,
        "space": {key: described(text) for key, text in result.space.items()},
        "rows": [_row(result, trial) for trial in result.ranked()],
        "importance": {key: weights[key_of(key)] for key in result.space if key_of(key) in weights},
        "plots": _plots(result.study, result.objectives),
        "front": [trial.number for trial in result.best],
        "outcome": _outcome(result.winner),
    }
    paths = [result.folder / f"sweep.{kind}" for kind in ("html", "md", "json")]
    for path in paths[:2]:
        render(path, context)
    write_json(paths[2], _record(result, weights))
    return paths


def _row(result: SweepResult, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "values": trial.values if trial.state.name == "COMPLETE" else None,
        "params": {key: spelled(trial.params[key]) if key in trial.params else "–" for key in result.keys},
        "seconds": trial.duration.total_seconds() if trial.duration else None,
        "duration": duration(trial.duration.total_seconds()) if trial.duration else "",
        "repeats": trial.user_attrs.get(REPEATS),
        "error": trial.user_attrs.get(ERROR, ""),
        "folder": str(short_path(Path(trial.user_attrs["folder"]))) if "folder" in trial.user_attrs else "",
    }


def _outcome(winner: Path | None) -> dict[str, Any] | None:
    path = winner / "outcome.json" if winner else None
    return json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else None


def _record(result: SweepResult, weights: Mapping[str, float]) -> dict[str, Any]:
    best, defaults = result.best[0], result.defaults()
    return {
        "schema": 1,
        "study": result.study.study_name,
        "storage": result.storage,
        "n_trials": result.total,
        "objectives": dict(zip(result.objectives, result.directions, strict=True)),
        "space": {key: json.loads(text) for key, text in result.space.items()},
        "best": {"number": best.number, "values": best.values, "params": best.params},
        "front": [trial.number for trial in result.best],
        "defaults": {"number": defaults.number, "values": defaults.values} if defaults else None,
        "command": result.command,
        "winner": str(result.winner) if result.winner else None,
        "importance": dict(weights),
        "trials": [_row(result, trial) for trial in sorted(result.ranked(), key=lambda each: each.number)],
    }


def print_sweep(result: SweepResult) -> None:
    """Print the trials, best first, the winner, and the command that runs it again."""
    from rich import box
    from rich.table import Table

    out = standard_output()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    short = {key: key.rpartition(".")[2] for key in result.keys}
    heads = [key if list(short.values()).count(name) > 1 else name for key, name in short.items()]
    for name in ("trial", "state", *result.objectives, *heads, "time"):
        table.add_column(name, justify="left" if name == "state" else "right", overflow="fold")
    rows = [_row(result, trial) for trial in result.ranked()]
    for row in rows[:SHOWN]:
        values = (
            [f"{value:.4f}" for value in row["values"]] if row["values"] else [""] * len(result.objectives)
        )
        table.add_row(str(row["number"]), row["state"], *values, *row["params"].values(), row["duration"])
    out.print()
    out.print(table)
    if len(rows) > SHOWN:
        out.print(f"… and {len(rows) - SHOWN} more in the report.")
    out.print(result.headline(), soft_wrap=True)
    if len(result.best) > 1:
        front = ", ".join(str(trial.number) for trial in result.best)
        out.print(
            f"No trial is better in all objectives than trials {front} (the Pareto front).", soft_wrap=True
        )
    out.print()
    out.print(f"Trials    {result.counts()}", soft_wrap=True)
    out.print(f"Report    {short_path(result.folder)}/sweep.html", soft_wrap=True)
    if result.winner:
        out.print(f"Winner    {short_path(result.winner)}", soft_wrap=True)
    out.print(f"Again     {result.command}", soft_wrap=True)


@dataclass(frozen=True)
class _Plot:
    """One of Optuna's plots as a part of an HTML page."""

    title: str
    caption: str
    html: str


def _importance(study: Study) -> dict[str, float]:
    """Return each key's share of the variance of the first objective, largest first.

    Computed by Optuna's PED-ANOVA (Watanabe et al. 2023, https://arxiv.org/abs/2304.10255). Empty if fewer
    than four trials have finished, or if all have the same value.
    """
    import optuna

    finished = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(finished) < 4 or len({trial.values[0] for trial in finished}) < 2:
        return {}
    with quiet():
        shares = optuna.importance.get_param_importances(
            study,
            evaluator=_evaluator(),
            target=lambda trial: float(trial.values[0]),
        )
    return {key: float(value) for key, value in shares.items()}


def _plots(study: Study, objectives: Sequence[str]) -> list[_Plot]:
    """Return the plots that this study has enough trials for; none, with a warning, without plotly."""
    try:
        import plotly.io
    except ImportError:
        log.warning('The sweep report has no plots, which need plotly: pip install "embexp[sweep]".')
        return []
    drawn: list[_Plot] = []
    for title, caption, draw in _drawings(study, objectives):
        with quiet():
            figure = draw()
        # Optuna gives some plots a width of its own, which may be wider than the page.
        figure.update_layout(
            title=None, template="plotly_white", margin={"t": 30}, height=420, width=None, autosize=True
        )
        # The page contains plotly's own code once, with the first plot.
        html = plotly.io.to_html(
            figure,
            full_html=False,
            include_plotlyjs=not drawn,
            config={"displaylogo": False, "responsive": True},
        )
        drawn.append(_Plot(title, caption, html))
    return drawn


def _drawings(study: Study, objectives: Sequence[str]) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield title, caption and function of each plot; of several objectives, the first is drawn."""
    from optuna import visualization

    first: dict[str, Any] = {"target_name": objectives[0]}
    if len(objectives) > 1:
        first["target"] = lambda trial: float(trial.values[0])
        yield (
            "Pareto front",
            "No trial is better in all objectives than those on the front.",
            lambda: visualization.plot_pareto_front(study, target_names=list(objectives)),
        )
    yield (
        "History",
        "Each trial's value, and the best so far.",
        lambda: visualization.plot_optimization_history(study, **first),
    )
    if _importance(study):
        yield (
            "Importance",
            "How much of the variance between trials each key explains.",
            lambda: visualization.plot_param_importances(study, evaluator=_evaluator(), **first),
        )
    yield (
        "Values",
        "Each key's values and the results.",
        lambda: visualization.plot_slice(study, **first),
    )
    yield (
        "Together",
        "One line per trial: which values were combined.",
        lambda: visualization.plot_parallel_coordinate(study, params=_of_all_trials(study), **first),
    )
    if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
        yield (
            "Dev scores",
            "Each trial's dev scores while it trained; short lines were pruned.",
            lambda: visualization.plot_intermediate_values(study),
        )


def _of_all_trials(study: Study) -> list[str]:
    """Return the keys that all finished trials have; a line cannot go through others."""
    from optuna.search_space import intersection_search_space

    return list(intersection_search_space(study.get_trials(deepcopy=False)))


def _evaluator() -> Any:
    import optuna

    return optuna.importance.PedAnovaImportanceEvaluator()
