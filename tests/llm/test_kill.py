"""SIGKILL at any moment: the server outlives the client and its counts are the proof."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
COUNT = 400


@pytest.fixture
def url() -> Iterator[str]:
    command = [sys.executable, str(HERE / "groq_server.py"), "--latency", "0.03", "--faults", "0.1"]
    with subprocess.Popen([*command, "--slow-seconds", "1"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.terminate()


def counts(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/counts") as response:
        found: dict[str, Any] = json.loads(response.read())
        return found


def start(url: str, journal: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(HERE / "asking.py"), url, str(journal), str(COUNT)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_kills_repeat_only_what_was_under_way(url: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    seen: list[str] = []
    for answers in (20, 90):  # counted, not timed: a busy machine answers late
        with start(url, journal) as client:
            assert client.stdout is not None
            client.stdout.readline()
            lines = [client.stdout.readline().rstrip("\n") for _ in range(answers)]
            client.kill()
            lines += client.stdout.read().split("\n")[:-1]
            assert lines[: len(seen)] == seen[: len(lines)]  # the same answers, from the journal
            seen = max(seen, lines, key=len)
    assert 0 < len(seen) < COUNT
    with start(url, journal) as client:
        assert client.stdout is not None
        final = client.stdout.read().split("\n")[1:-1]
    assert client.returncode == 0
    assert len(set(final)) == COUNT
    assert final[: len(seen)] == seen
    found = counts(url)
    assert found["distinct"] == COUNT
    assert found["repeated"] <= 2 * 8  # at most what was under way at each of two kills
