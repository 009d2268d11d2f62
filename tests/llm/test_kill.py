"""SIGKILL at any moment: the server outlives the client and its counts are the proof."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.llm.chat_server import Response, Sent, chat, prompt_of, serving

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


@dataclass
class Charging:
    """A service that charges for each answer, and holds some of them back until the client is killed.

    Args:
        kill_at: Which of the answers that it charges are held back, by their numbers from 1.
        header: The header by which it knows a repeated request; an empty one for none.
    """

    kill_at: tuple[int, ...]
    header: str
    charged: Counter[str] = field(default_factory=Counter)
    known: dict[str, Response] = field(default_factory=dict)
    hanging: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)

    def __call__(self, sent: Sent) -> Response:
        key = sent.headers.get(self.header.lower(), "") if self.header else ""
        if key in self.known:
            return self.known[key]
        prompt = prompt_of(sent)
        self.charged[prompt] += 1
        response = chat(f"About: {prompt}", usage={"prompt_tokens": 5, "completion_tokens": 20})
        if key:
            self.known[key] = response
        if self.charged.total() in self.kill_at:
            self.hanging.set()
            self.killed.wait(600)
        return response


@pytest.mark.parametrize("header", ["", "Idempotency-Key"])
def test_one_request_at_a_time_is_paid_twice_at_most_for_each_kill(header: str, tmp_path: Path) -> None:
    """Each kill comes while the service has charged for a request and its answer is still on the way."""
    count, kills = 6, (2, 5, 6)  # without a header the last one hits the repetition of the one before
    service = Charging(kills, header)
    journal = tmp_path / "journal.jsonl"
    with serving(service) as server:
        script = str(HERE / "asking_one_by_one.py")
        command = [sys.executable, script, server.url, str(journal), str(count), header]
        for _ in kills:
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
                assert service.hanging.wait(600)
                client.kill()
            service.hanging.clear()
            service.killed.set()
            service.killed = threading.Event()
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    *answers, usage = ended.stdout.splitlines()
    assert answers == [f"About: Write query {number}." for number in range(count)]
    assert set(service.charged) == {f"Write query {number}." for number in range(count)}
    twice = service.charged.total() - count
    told = json.loads(usage)
    if header:
        assert (twice, told["unanswered"]) == (0, 0)
    else:
        assert (twice, told["unanswered"]) == (len(kills), len(kills))  # the closing line says all of it
        assert told["unanswered_usd"] >= twice * 25 / 1_000_000  # 5 + 20 tokens each, at 1 US$ a million
