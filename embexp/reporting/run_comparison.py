"""Several past runs side by side, with a test between any two systems: terminal, HTML, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from embexp.benchmarking.metrics import SUMMARY_METRICS, Scores
from embexp.benchmarking.statistics.multiple_tests import Contrast
from embexp.benchmarking.systems import TUNED
from embexp.reporting.console import short_path, standard_output
from embexp.reporting.figures import systems
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import render
from embexp.reporting.tables import counted, interval_text, signed
from embexp.storage.files import write_json


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Systems of several runs on the same questions.

    Args:
        metric: The metric to compare by.
        scores: System to scores, the reference first.
        outcomes: System to the outcome of its run.
        folders: System to the folder, or the id, of its run.
        clusters: Query id to source document.
        contrasts: The tests between any two systems.
    """

    metric: str
    scores: Mapping[str, Scores]
    outcomes: Mapping[str, Outcome]
    clusters: Mapping[str, str]
    contrasts: Sequence[Contrast]
    folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """The metric of the comparison, then the usual metrics that every system has."""
        systems = self.scores.values()
        common = [name for name in SUMMARY_METRICS if all(name in each.mean for each in systems)]
        return list(dict.fromkeys([self.metric, *common]))

    @property
    def sample(self) -> str:
        """How many questions and tests the tables rest on."""
        first = self.contrasts[0].comparison
        return (
            f"{counted(first.queries, 'question')} from {counted(first.clusters, 'document')}; p is "
            f"corrected for {counted(len(self.contrasts), 'test')} (Holm)."
        )

    @property
    def lines(self) -> list[str]:
        """What the tables come to: the best system, and what is not like for like."""
        return [line for line in (self.best, self.unlike) if line]

    @property
    def best(self) -> str:
        """Which system scores highest, and whether that is more than luck, as a sentence."""
        ranked = sorted(self.scores, key=lambda name: -self.scores[name].mean[self.metric])
        best, score = ranked[0], self.scores[ranked[0]].mean[self.metric]
        unclear = [name for name in ranked[1:] if not self._clearly_above(best, name)]
        if not unclear:
            luck = "more than luck: clearly above every other one"
        else:
            others = "every other one" if len(unclear) == len(ranked) - 1 else ", ".join(unclear)
            luck = f"which may be luck: not clearly above {others}"
        return f"Best by {self.metric}: {best} ({score:.3f}), {luck}."

    def _clearly_above(self, best: str, other: str) -> bool:
        for each in self.contrasts:
            if (each.base, each.system) == (other, best):
                return each.result == "higher"
            if (each.base, each.system) == (best, other):
                return each.result == "lower"
        return False

    @property
    def unlike(self) -> str:
        """Return by how much the trainings differ in rows and steps, as a sentence; empty if they do not."""
        sizes = {
            system: (outcome.training.pairs, outcome.training.steps)
            for system, outcome in self.outcomes.items()
            if outcome.training is not None and system.endswith(TUNED)
        }
        if len(set(sizes.values())) < 2:
            return ""
        listed = "; ".join(
            f"{system} {counted(rows, 'row')} in {counted(steps, 'step')}"
            for system, (rows, steps) in sizes.items()
        )
        return (
            f"Not like for like, the trainings differ in size: {listed}. trainer.max_pairs, "
            "trainer.batch_size, trainer.epochs and trainer.hard_negatives bring them closer."
        )


def print_comparison(comparison: RunComparison, report: Path) -> None:
    """Print the systems, the tests between them, and where the report is."""
    from rich import box
    from rich.table import Table

    out = standard_output()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("system", *comparison.metrics):
        table.add_column(name, justify="left" if name == "system" else "right", overflow="fold")
    for system, scores in comparison.scores.items():
        table.add_row(system, *(f"{scores.mean[metric]:.3f}" for metric in comparison.metrics))
    out.print(table)
    tests = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("system", "against", comparison.metric, "95% interval", "p (Holm)", "result"):
        tests.add_column(name, justify="left" if name in ("system", "against") else "right", overflow="fold")
    for each in comparison.contrasts:
        delta, interval = signed(each.comparison.delta), interval_text(each.comparison.interval)
        tests.add_row(each.system, each.base, delta, interval, f"{each.holm_p:.4f}", each.result)
    out.print(tests)
    out.print(comparison.sample, soft_wrap=True)
    for line in comparison.lines:
        out.print(line, soft_wrap=True)
    out.print(f"Report    {short_path(report)}", soft_wrap=True)


def write_comparison(folder: Path, comparison: RunComparison) -> tuple[Path, Path, Path]:
    """Write ``compare.html``, ``compare.md`` and ``compare.json`` into ``folder``, atomically.

    Returns:
        The three paths.
    """
    context = {
        "compared": comparison,
        "systems": systems(comparison.scores, comparison.clusters, comparison.metric),
    }
    html, markdown = (render(folder / f"compare.{kind}", context) for kind in ("html", "md"))
    record = folder / "compare.json"
    write_json(record, _record(comparison))
    return html, markdown, record


def _record(comparison: RunComparison) -> dict[str, object]:
    return {
        "schema": 1,
        "metric": comparison.metric,
        "systems": {
            system: {
                "run": comparison.outcomes[system].mlflow.get("run_id", ""),
                "folder": comparison.folders.get(system, ""),
                **comparison.outcomes[system].model_dump(include={"dataset", "model", "loss", "seed"}),
                "scores": dict(scores.mean),
            }
            for system, scores in comparison.scores.items()
        },
        "best": comparison.best,
        "unlike": comparison.unlike,
        "contrasts": [{**asdict(each), "result": each.result} for each in comparison.contrasts],
    }
