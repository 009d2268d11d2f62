"""The benchmark that kills commands counts what it did, and goes on where it was ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import survival
from benchmarks.survival import Episode, Scenario, episodes, summary

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def result(folder: Path) -> object:
        return json.loads((folder / "result.json").read_text())

    scenarios = {"short": "2", "second": "1"}  # how often each of them hangs until it is killed
    commands = {name: ["tests.pipeline.survivor", times] for name, times in scenarios.items()}
    found = {name: Scenario(command, result) for name, command in commands.items()}
    monkeypatch.setattr(survival, "SCENARIOS", found)


def test_kills_are_counted_and_a_later_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = episodes(tmp_path, ["short", "second"], 2, seed=0)
    assert done == [Episode("short", kills=2, survived=True, identical=True)]
    record = tmp_path / "episodes.jsonl"
    record.write_text(record.read_text() + '{"scenario": "sec')  # the command itself was killed as it wrote
    assert episodes(tmp_path, ["short", "second"], 2, seed=0) == done
    assert [one.scenario for one in episodes(tmp_path, ["short", "second"], 3, seed=0)] == ["short", "second"]
    assert capsys.readouterr().out.count("\n") == 2  # a line for each episode, none for one that was done


def test_another_result_does_not_count_as_survived(tmp_path: Path) -> None:
    (tmp_path / "second.reference.json").write_text('{"seconds": 0.1, "result": [2.0, "another"]}')
    [one] = episodes(tmp_path, ["second"], 1, seed=0)
    assert (one.kills, one.survived, one.identical) == (1, True, False)
    assert (tmp_path / "00000-second" / "result.json").exists()  # kept, to be looked at


def test_the_closing_line_adds_up() -> None:
    done = [
        Episode("short", 4, survived=True, identical=True, answers=30, paid_twice=2, told=2),
        Episode("second", 3, survived=False, identical=False),
    ]
    line = summary(done, {"tried": 8})
    assert (line["ours"], line["peer"], line["ratio"]) == (4, 7, 0.5714)
    assert line["kills"] == {"short": 4, "second": 3}
    assert (line["answers"], line["paid_twice"], line["paid_twice_and_told"]) == (30, 2, 2)
