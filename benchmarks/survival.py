"""What SIGKILL at random moments does to a pipeline, a synthesis and a sweep, and damage to what they keep.

    python benchmarks/survival.py                                     # a few kills and damages, in minutes
    python benchmarks/survival.py --kills 1000 --folder survival      # hours; the same command resumes it

Each scenario runs once without a kill. Then the same command is killed several times at random moments and
run to its end. It survives if it ends with the same result: the same weights and scores, the same pairs.
The synthesis asks the tests' loopback service, which counts what it has charged twice. Damages are those
of ``damages.py``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "tests" / "llm" / "groq_server.py"
KILLS_OF_AN_EPISODE = 4
LONGEST = 1_800
"""Seconds after which a command that was not killed counts as hanging."""
SMALL = ["experiment=tiny", "dataset.limit=60", "trainer.evaluations=3", "tracker=none"]


@dataclass(frozen=True)
class Scenario:
    """A command that is killed.

    Args:
        command: The module and its arguments, run in an empty folder.
        result: Returns what the command leaves there, in a form that can be compared.
        asks: Whether it asks the loopback service.
    """

    command: list[str]
    result: Callable[[Path], Any]
    asks: bool = False


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_result(folder: Path) -> Any:
    """Return the weights and scores of a run."""
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    return [digest(folder / "model" / "model.safetensors"), outcome["scores"], outcome["counts"]]


def sweep_result(folder: Path) -> Any:
    """Return how many trials have finished, and the winner's weights and scores."""
    trials = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["trials"]
    finished = Counter(trial["state"] for trial in trials if trial["state"] != "fail")
    return [dict(finished), *run_result(folder / "winner")]


SYNTHESIS = [
    *("embexp.synthesize", "synthesis=entries", "llm=groq", "model=tiny", "tracker=none", "hydra.run.dir=X"),
    *("synthesis.target=300", "synthesis.areas=4", "synthesis.topics_per_area=6", "llm.max_concurrency=4"),
    *("synthesis.filters.round_trip=null", "synthesis.filters.evidence=false"),
]
SWEEP = [
    *("embexp.run", "-m", "hydra/sweeper=embexp_optuna", *SMALL, "hydra.sweep.dir=X"),
    *("trainer.learning_rate=choice(1e-4,3e-4)", "loss.scale=choice(10,20)", "hydra.sweeper.n_trials=4"),
    "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler",
    *("hydra.sweeper.pruner._target_=optuna.pruners.NopPruner", "hydra.sweeper.retries=0"),
]
SCENARIOS = {
    "pipeline": Scenario(["embexp.run", *SMALL, "hydra.run.dir=X"], lambda folder: run_result(folder / "X")),
    "synthesis": Scenario(SYNTHESIS, lambda folder: digest(folder / "X" / "data" / "pairs.jsonl"), asks=True),
    "sweep": Scenario(SWEEP, lambda folder: sweep_result(folder / "X")),
}
"""What is killed, by name; a further scenario needs nothing but its entry here."""


@dataclass(frozen=True)
class Episode:
    """A command that was killed several times, and how it ended.

    Args:
        scenario: The scenario's name.
        kills: How often it was killed.
        survived: Whether it ended well in the end.
        identical: Whether its result is that of a run without kills.
        answers: How many answers the service has charged.
        paid_twice: How many of them were charged again.
        told: How many requests without an answer the command's own summary names.
    """

    scenario: str
    kills: int
    survived: bool
    identical: bool
    answers: int = 0
    paid_twice: int = 0
    told: int = 0


@contextmanager
def service() -> Iterator[str]:
    """Run the loopback service, and yield its address."""
    command = [sys.executable, str(SERVER), "--latency", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield str(server.stdout.readline()).strip() if server.stdout else ""
        finally:
            server.terminate()


def charged(url: str) -> tuple[int, int]:
    """Return how many answers the service has given, and how many of them again."""
    with urllib.request.urlopen(f"{url}/counts") as response:
        counts = json.loads(response.read())
    return counts["answered"], counts["repeated"]


def start(scenario: Scenario, folder: Path, url: str) -> subprocess.Popen[bytes]:
    """Start the command; its output goes to ``log`` in the folder."""
    command = [sys.executable, "-m", *scenario.command, *([f"llm.base_url={url}"] if scenario.asks else [])]
    with (folder / "log").open("ab") as log:
        log.write(f"--- {' '.join(command[1:])}\n".encode())
        log.flush()
        return subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1", "GROQ_API_KEY": "gsk_test"},
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a command after some seconds; return False if it had ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def episode(
    name: str, folder: Path, url: str, draw: random.Random, reference: dict[str, Any], kills: int
) -> Episode:
    """Kill a scenario's command at random moments, run it to its end, and compare what it leaves."""
    scenario = SCENARIOS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before, done = charged(url), 0
    for _ in range(kills):
        killed = end(start(scenario, folder, url), draw.uniform(0, reference["seconds"]))
        done += killed
        if not killed:
            break
    last = start(scenario, folder, url)
    survived = not end(last, LONGEST) and last.returncode == 0
    identical = survived and json.loads(json.dumps(scenario.result(folder))) == reference["result"]
    answers, paid_twice = (now - then for now, then in zip(charged(url), before, strict=True))
    told = 0
    if scenario.asks and survived:
        told = json.loads((folder / "X" / "synthesis.json").read_text())["usage"]["unanswered"]
    if survived and identical:
        shutil.rmtree(folder)  # what has failed is kept, to be looked at
    return Episode(name, done, survived, identical, answers, paid_twice, told)


def reference_of(name: str, folder: Path, url: str) -> dict[str, Any]:
    """Return the seconds and the result of a scenario that is not killed; computed once for a folder."""
    stored = folder / f"{name}.reference.json"
    if not stored.exists():
        place = folder / f"{name}.reference"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        begin = time.monotonic()
        process = start(SCENARIOS[name], place, url)
        if end(process, LONGEST) or process.returncode:
            raise SystemExit(f"{name} fails without a kill; see {place / 'log'}.")
        seconds = time.monotonic() - begin
        stored.write_text(json.dumps({"seconds": seconds, "result": SCENARIOS[name].result(place)}))
    reference: dict[str, Any] = json.loads(stored.read_text())
    return reference


def episodes(folder: Path, names: list[str], kills: int, seed: int) -> list[Episode]:
    """Kill until ``episodes.jsonl`` has so many kills; an episode that was cut off begins anew."""
    record = folder / "episodes.jsonl"
    lines = record.read_text().splitlines(keepends=True) if record.exists() else []
    done = [Episode(**json.loads(line)) for line in lines if line.endswith("\n")]
    while sum(one.kills for one in done) < kills:
        name, left = names[len(done) % len(names)], kills - sum(one.kills for one in done)
        draw = random.Random(f"{seed} {len(done)}")
        with service() as url:  # a new one for each episode: it knows no request of another one
            reference = reference_of(name, folder, url)
        with service() as url:
            place = folder / f"{len(done):05d}-{name}"
            one = episode(name, place, url, draw, reference, min(KILLS_OF_AN_EPISODE, left))
        done.append(one)
        print(json.dumps(asdict(one)), flush=True)
        record.write_text("".join(json.dumps(asdict(each)) + "\n" for each in done))
    return done


def damage(folder: Path, trials: int, seed: int) -> dict[str, int]:
    """Damage what a run keeps, and count what is noticed and repaired; done once for a folder."""
    from damages import survive_damages, tally

    stored = folder / f"damages-{trials}.json"
    if not stored.exists():
        place = folder / "damages"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        stored.write_text(json.dumps(tally(list(survive_damages(place, trials=trials, seed=seed)))))
        shutil.rmtree(place)
    counts: dict[str, int] = json.loads(stored.read_text())
    return counts


def summary(done: list[Episode], damages: dict[str, int]) -> dict[str, Any]:
    """Return the counts of all episodes and damages as one record."""
    from retrieval_sets import machine

    tried = sum(one.kills for one in done)
    survived = sum(one.kills for one in done if one.survived and one.identical)
    return {
        "benchmark": "survival",
        "ours": survived,
        "peer": tried,
        "ratio": round(survived / max(tried, 1), 4),
        "unit": "kills survived with the same result",
        "kills": {name: sum(one.kills for one in done if one.scenario == name) for name in SCENARIOS},
        "ended_well": sum(one.kills for one in done if one.survived),
        "answers": sum(one.answers for one in done),
        "paid_twice": sum(one.paid_twice for one in done),
        "paid_twice_and_told": sum(one.told for one in done),
        "damages": damages,
        "machine": machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=9)
    parser.add_argument("--damages", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where all of it is kept, so that it can be resumed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenarios", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = (options.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        damages = damage(folder, options.damages, options.seed) if options.damages else {}
        done = episodes(folder, options.scenarios, options.kills, options.seed)
    print(json.dumps(summary(done, damages)))


if __name__ == "__main__":
    main()
