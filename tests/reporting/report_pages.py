"""The pages that a browser is tested with: a run's report, a comparison of runs, a sweep's report."""

from __future__ import annotations

import re
from pathlib import Path

import optuna

from embexp.benchmarking.statistics.multiple_tests import contrasts
from embexp.reporting.report import write_report
from embexp.reporting.run_comparison import RunComparison, write_comparison
from embexp.sweeper.report import SweepResult, write_sweep_report
from embexp.sweeper.syntax import parse_space
from tests.reporting.full_report import ATTACK, METRIC, full_report

SCRIPT = re.compile("<script>.*?</script>", re.DOTALL)
LONG = "org/a-cross-encoder-with-a-very-long-name-that-has-no-spaces-at-all"
SPACE = parse_space(
    {
        "trainer.learning_rate": "tag(log,interval(1e-6,1e-4))",
        "trainer.epochs": "range(1,5)",
        "trainer.warmup_ratio": "interval(0,0.3)",
        "trainer.weight_decay": "interval(0,0.1)",
        "trainer.hard_negatives": "range(0,8)",
        "trainer.relative_margin": "interval(0,0.2)",
        "loss.scale": "interval(10,40)",
        "trainer.cross_encoder": f"choice(none,{LONG})",
    },
    [],
    None,
)


def write_pages(folder: Path) -> dict[str, Path]:
    """Write the pages, with everything that they can show, and return them by name.

    ``plots`` is the sweep's page as it is; ``sweep`` lacks the code of Plotly, which takes seconds to draw.
    """
    plots = write_sweep_report(broad_sweep(folder))[0]
    sweep = folder / "sweep_without_plots.html"
    figures, own = plots.read_text(encoding="utf-8").rsplit("<script>", 1)
    sweep.write_text(f"{SCRIPT.sub('', figures)}<script>{own}", encoding="utf-8")
    return {
        "report": write_report(folder, full_report())[0],
        "compare": write_comparison(folder, compared_runs())[0],
        "sweep": sweep,
        "plots": plots,
    }


def compared_runs() -> RunComparison:
    """Return three systems whose names are hostile and long."""
    report = full_report()
    systems = {f"{ATTACK} {name}": report.scores[name] for name in ("untuned", "tuned", "bm25")}
    names = list(systems)
    clusters = {query.id: query.cluster for query in report.queries}
    return RunComparison(
        metric=METRIC,
        scores=systems,
        outcomes=dict.fromkeys(systems, report.outcome),
        clusters=clusters,
        contrasts=contrasts(
            systems,
            [(names[0], other) for other in names[1:]],
            metric=METRIC,
            clusters=clusters,
            resamples=200,
        ),
    )


def broad_sweep(folder: Path) -> SweepResult:
    """Return a study of eight keys, two objectives and eight trials, one pruned and one failed."""
    directions = ["maximize", "minimize"]
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(study_name="broad", directions=directions, sampler=sampler)
    for number in range(6):
        trial = study.ask(dict(SPACE.swept))
        study.tell(trial, [0.4 + number / 50, 3.0 + number / 7])
    study.tell(study.ask(dict(SPACE.swept)), state=optuna.trial.TrialState.PRUNED)
    failed = study.ask(dict(SPACE.swept))
    failed.set_user_attr("error", f"{LONG} cannot be loaded: no such folder")
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    return SweepResult(
        study=study,
        objectives=("quality", "embedding_ms"),
        directions=directions,
        total=8,
        best=study.best_trials[:1],
        space=SPACE.as_json(),
        storage="study.db",
        command=f"python -m embexp.run trainer.cross_encoder={LONG} trainer.learning_rate=2e-05",
        folder=folder,
        winner=None,
        baseline=None,
    )
