"""Several past runs in one table, and the test between any two of them: terminal, HTML, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import clustered_interval
from embexp.benchmarking.statistics.multiple_tests import Contrast
from embexp.reporting import figures
from embexp.reporting.console import TERMINAL_METRICS, shorter, standard_output
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import environment
from embexp.reporting.tables import counted, signed, spelled
from embexp.storage.files import atomic_write, write_json

LEVEL = 0.05


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Systems of several runs on the same questions.

    Args:
        metric: What they are compared by.
        scores: System to scores, the reference first.
        outcomes: System to the outcome of its run.
        clusters: Query id to source document.
        contrasts: The tests between any two.
    """

    metric: str
    scores: Mapping[str, Scores]
    outcomes: Mapping[str, Outcome]
    clusters: Mapping[str, str]
    contrasts: Sequence[Contrast]

    @property
    def metrics(self) -> list[str]:
        """The metric of the comparison, then what else every system was scored by."""
        common = [
            name for name in TERMINAL_METRICS if all(name in found.mean for found in self.scores.values())
        ]
        return list(dict.fromkeys([self.metric, *common]))


def finding(contrast: Contrast) -> str:
    """Return what a contrast shows: higher, lower, or no evidence.

    Higher and lower ask for an interval that leaves out zero and for a corrected p below 0.05.
    """
    if contrast.comparison.verdict == "NO EVIDENCE" or contrast.holm_p >= LEVEL:
        return "no evidence"
    return "higher" if contrast.comparison.delta > 0 else "lower"


def print_compared(compared: Compared, report: Path) -> None:
    """Print the systems, the tests between them, and where the report is."""
    from rich import box
    from rich.table import Table

    out = standard_output()
    systems = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("system", *compared.metrics):
        systems.add_column(name, justify="left" if name == "system" else "right", overflow="fold")
    for system, scores in compared.scores.items():
        systems.add_row(system, *(f"{scores.mean[metric]:.3f}" for metric in compared.metrics))
    out.print(systems)
    tests = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("system", "against", compared.metric, "95% interval", "p (Holm)", "finding"):
        tests.add_column(name, justify="left" if name in ("system", "against") else "right", overflow="fold")
    for each in compared.contrasts:
        delta, interval = signed(each.comparison.delta), spelled(each.comparison.interval)
        tests.add_row(each.system, each.base, delta, interval, f"{each.holm_p:.4f}", finding(each))
    out.print(tests)
    out.print(sample(compared), soft_wrap=True)
    out.print(f"Report    {shorter(report)}", soft_wrap=True)


def sample(compared: Compared) -> str:
    """Return how many questions and tests stand behind the table."""
    first = compared.contrasts[0].comparison
    return (
        f"{counted(first.queries, 'question')} from {counted(first.clusters, 'document')}; p is corrected "
        f"for {counted(len(compared.contrasts), 'test')} (Holm)."
    )


def write_compared(folder: Path, compared: Compared) -> tuple[Path, Path, Path]:
    """Write ``compare.html``, ``compare.md`` and ``compare.json`` into ``folder``, atomically.

    Returns:
        The three paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = {
        "compared": compared,
        "metrics": compared.metrics,
        "sample": sample(compared),
        "systems": _systems(compared),
        "finding": finding,
        "spelled": spelled,
    }
    html, markdown, record = (folder / f"compare.{kind}" for kind in ("html", "md", "json"))
    for path, escaped in ((html, True), (markdown, False)):
        text = environment(escaped=escaped).get_template(f"{path.name}.j2").render(context)
        with atomic_write(path) as stream:
            stream.write(text)
    write_json(record, _record(compared))
    return html, markdown, record


def _systems(compared: Compared) -> figures.Dots:
    means = {system: scores.mean[compared.metric] for system, scores in compared.scores.items()}
    intervals = {}
    for system, scores in compared.scores.items():
        values = {query: found[compared.metric] for query, found in scores.per_query.items()}
        intervals[system] = clustered_interval(values, compared.clusters)
    return figures.dots(means, intervals)


def _record(compared: Compared) -> dict[str, object]:
    return {
        "schema": 1,
        "metric": compared.metric,
        "systems": {
            system: {
                "run": compared.outcomes[system].mlflow.get("run_id", ""),
                "dataset": compared.outcomes[system].dataset,
                "model": compared.outcomes[system].model,
                "loss": compared.outcomes[system].loss,
                "seed": compared.outcomes[system].seed,
                "scores": dict(scores.mean),
            }
            for system, scores in compared.scores.items()
        },
        "contrasts": [{**asdict(each), "finding": finding(each)} for each in compared.contrasts],
    }
