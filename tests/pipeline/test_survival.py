"""The benchmark that kills commands counts what it did, and goes on where it was ended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import survival
from benchmarks.fork_server import ForkServers
from benchmarks.survival import Episode, Scenario, episodes, summary

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _scenarios(monkeypatch: pytest.MonkeyPatch) -> None:

    def result(folder: Path) -> object:
        return json.loads((folder / "result.json").read_text())

    scenarios = {"short": "2", "second": "1"}  # how often each of them computes until it is killed
    commands = {name: ["tests.pipeline.survivor", times] for name, times in scenarios.items()}
    found = {name: Scenario(command, result) for name, command in commands.items()}
    monkeypatch.setattr(survival, "SCENARIOS", found)


@pytest.fixture
def servers() -> Iterator[ForkServers]:
    with ForkServers([], {"PYTHONPATH": str(ROOT)}) as servers:
        yield servers


def test_kills_are_counted_and_a_later_command_goes_on(
    tmp_path: Path, servers: ForkServers, capsys: pytest.CaptureFixture[str]
) -> None:
    done = episodes(tmp_path, servers, ["short"], 2, seed=0)
    assert done == [Episode("short", kills=2, survived=True, identical=True)]
    record = tmp_path / "episodes.jsonl"
    record.write_text(record.read_text() + '{"scenario": "sec')  # the command itself was killed as it wrote
    assert episodes(tmp_path, servers, ["short"], 2, seed=0) == done
    done = episodes(tmp_path, servers, ["short", "second"], 3, seed=0)
    assert [one.scenario for one in done] == ["short", "second"]
    assert capsys.readouterr().out.count("\n") == 2  # a line for each episode, none for one that was done


def test_another_result_does_not_count_as_survived(tmp_path: Path, servers: ForkServers) -> None:
    reference = {"code": survival.code_digest(), "computed": 0.1, "result": [2.0, "another"]}
    (tmp_path / "second.reference.json").write_text(json.dumps(reference))
    [one] = episodes(tmp_path, servers, ["second"], 1, seed=0)
    assert (one.kills, one.survived, one.identical) == (1, True, False)
    assert (tmp_path / "00000-second" / "result.json").exists()  # kept, to be looked at


def test_other_code_is_compared_with_a_result_of_its_own(tmp_path: Path, servers: ForkServers) -> None:
    stored = tmp_path / "second.reference.json"
    stored.write_text('{"code": "before", "computed": 0.1, "result": [2.0, "another"]}')
    [one] = episodes(tmp_path, servers, ["second"], 1, seed=0)
    assert one.identical
    assert json.loads(stored.read_text())["code"] == survival.code_digest()


def test_the_closing_line_adds_up() -> None:
    done = [
        Episode("short", 4, survived=True, identical=True, answers=30, paid_twice=2, told=3),
        Episode("second", 3, survived=False, identical=False),
    ]
    line = summary(done, {"tried": 8})
    assert (line["ours"], line["peer"], line["ratio"]) == (4, 7, 0.5714)
    assert line["kills"] == {"short": 4, "second": 3}
    assert (line["answers"], line["paid_twice"], line["unanswered_and_told"]) == (30, 2, 3)


@pytest.mark.slow
def test_kills_and_damages_change_no_result(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "benchmarks" / "survival.py", "--kills=5", "--damages=4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    line, output = json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr
    assert line["peer"] == line["ours"] == 5, output
    assert line["paid_twice_and_not_told"] == 0, output
    assert line["damages"]["tried"] == line["damages"]["repaired"] == 4, output
