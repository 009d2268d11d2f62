"""The sweep's page in a real browser: nothing is asked of the network, and the pictures are drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from embexp.sweeper.report import SweepResult, write_sweep_report
from embexp.sweeper.syntax import parse_space
from tests.browser import open_browser

SPACE = parse_space({"x": "interval(0,10)", "kind": "choice(a,'<b>')"}, [], None)


def found_in(folder: Path, objectives: tuple[str, ...] = ("quality",)) -> SweepResult:
    """A study of six finished trials, one pruned and one failed, with a value that is markup."""
    directions = ("maximize", "minimize")[: len(objectives)]
    study = optuna.create_study(study_name="<script>alert(1)</script>", directions=list(directions))
    for number in range(6):
        trial = study.ask(dict(SPACE.swept))
        trial.set_user_attr("folder", str(folder / str(number)))
        study.tell(trial, [float(number), 6.0 - number][: len(objectives)])
    study.tell(study.ask(dict(SPACE.swept)), state=optuna.trial.TrialState.PRUNED)
    failed = study.ask(dict(SPACE.swept))
    failed.set_user_attr("error", "no <b>memory</b> left")
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    return SweepResult(
        study=study,
        objectives=objectives,
        directions=directions,
        total=8,
        best=study.best_trials[:1],
        space=SPACE.as_json(),
        storage="study.db",
        command="python -m embexp.run 'kind=<b>'",
        folder=folder,
        winner=None,
        baseline=None,
    )


@pytest.mark.parametrize("objectives", [("quality",), ("quality", "embedding_ms")], ids=["one", "two"])
def test_texts_of_a_study_stay_texts(tmp_path: Path, objectives: tuple[str, ...]) -> None:
    html, markdown, record = write_sweep_report(found_in(tmp_path, objectives))
    page = html.read_text()
    assert "<script>alert(1)" not in page
    assert page.count("plotly.js v") == 1  # the library stands in the page, once
    assert "<script src" not in page
    assert "no &lt;b&gt;memory" in page
    assert ("Pareto front" in page) == (len(objectives) > 1)
    assert "| 6 | pruned |" in markdown.read_text()
    assert record.stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_draws_and_asks_nothing_of_the_network(tmp_path: Path, width: int) -> None:
    html, *_ = write_sweep_report(found_in(tmp_path))
    said, asked = [], []
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(html.as_uri())
        page.wait_for_selector(".plot svg.main-svg")
        drawn = page.locator(".plot .js-plotly-plot").count()
        wide = page.evaluate("document.documentElement.scrollWidth")
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert drawn >= 4
    assert wide <= width


def test_plots_and_importance_of_a_space_with_branches(tmp_path: Path) -> None:
    space = parse_space(
        {"kind": "choice(a,b)", "x": "interval(0,10)"},
        [],
        None,
        conditional={"kind=b": {"y": "choice(null,1)"}},
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), direction="maximize")
    for _ in range(8):
        trial = study.ask()
        space.draw(trial)
        study.tell(trial, trial.params["x"])
    result = replace(found_in(tmp_path), study=study, space=space.as_json(), best=[study.best_trial])
    html, markdown, record = write_sweep_report(result)
    assert {trial.params.get("y", "none") for trial in study.trials} == {"none", "null", 1}
    assert html.read_text().count('class="plot"') >= 4
    assert set(json.loads(record.read_text())["importance"]) == {"kind", "x", "y"}
    [row] = [line for line in markdown.read_text().splitlines() if line.startswith("| y if kind=b | null")]
    assert row.endswith("% |")
