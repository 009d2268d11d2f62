"""What SIGKILL at random moments does to pipelines, a synthesis, a sweep and a migration; and damages.

    python benchmarks/survival.py                                     # a few kills and damages, in minutes
    python benchmarks/survival.py --kills 1000 --folder survival      # the same command resumes it

Each scenario runs once without a kill. Then the same command is killed several times at random moments and
run to its end. It survives if it ends with the same result: the same weights and scores, the same pairs, the
same collections. The synthesis asks the tests' loopback service, which counts what it has charged twice.
Damages, to what a run keeps, are those of ``damages.py``.

Commands start in forks of a process that has loaded their libraries (``fork_server.py``), and a moment is
a number of seconds that the command has computed, so that a busy machine moves none of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script

from benchmarks.fork_server import ForkServers
from benchmarks.small_documents import (
    LIBRARIES,
    SMALL,
    SYLLABLES,
    VARIABLES,
    WITHOUT_QUESTIONS,
    write_documents,
)

if TYPE_CHECKING:
    from benchmarks.fork_server import Forked
    from tests.llm.groq_server import GroqServer

KILLS_OF_AN_EPISODE = 6
LONGEST = 3_600
"""Seconds after which a command that was not killed counts as hanging."""
SHOWN = 4_000
"""The last characters of a failed command's output that are printed."""
POLL = 0.01
LATENCY = 0.05
"""Seconds that the service takes for an answer."""
RECORDS = 3_000
"""In the collection that is migrated."""


@dataclass(frozen=True)
class Scenario:
    """A command that is killed.

    Args:
        command: The module and its arguments, run in an empty folder.
        result: Returns what the command leaves there, in a form that can be compared.
        asks: Whether it asks the loopback service.
        follows: The scenario whose run it works on, which is run once and copied.
        prepare: Adds to that run what else it needs.
    """

    command: list[str]
    result: Callable[[Path], Any]
    asks: bool = False
    follows: str | None = None
    prepare: Callable[[Path], None] | None = None


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_result(folder: Path) -> Any:
    """Return the weights and scores of a run."""
    outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    weights = [digest(path) for path in sorted((folder / "model").rglob("*.safetensors"))]
    if not weights:
        raise FileNotFoundError(folder / "model")
    return [*weights, outcome["scores"], outcome["counts"]]


def sweep_result(folder: Path) -> Any:
    """Return how many trials have finished, and the winner's weights and scores."""
    trials = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["trials"]
    finished = Counter(trial["state"] for trial in trials if trial["state"] != "fail")
    return [dict(finished), *run_result(folder / "winner")]


def write_collection(folder: Path) -> None:
    """Write a Chroma database as another program would: records of invented words, with arbitrary vectors."""
    import numpy as np

    from tests.migrating.chroma_contents import opened

    vectors = np.random.default_rng(0).standard_normal((RECORDS, 16)).astype(np.float32)
    texts = [f"{SYLLABLES[at % 15]}{SYLLABLES[at // 15 % 15]} {at} needs oil" for at in range(RECORDS)]
    with opened(folder / "db") as client:
        collection = client.create_collection("manual", embedding_function=None)
        metadatas = [{"page": at} for at in range(RECORDS)]
        ids = [f"id{at}" for at in range(RECORDS)]
        collection.add(ids=ids, embeddings=vectors, documents=texts, metadatas=metadatas)


def migration_result(folder: Path) -> Any:
    """Return a digest of each collection of the database: ids, texts, metadata and vectors."""
    from tests.migrating.chroma_contents import contents

    if not (folder / "X" / "migrate" / "chroma" / "migrate.json").exists():
        return None
    held = contents(folder / "db")
    return {
        name: hashlib.sha256(repr(sorted(held[name].items())).encode()).hexdigest() for name in sorted(held)
    }


TWO_STAGES = [
    *("embexp.run", *WITHOUT_QUESTIONS, "trainer.bf16=true", "trainer.first.bf16=true"),
    *("trainer.first.evaluations=3", "trainer.first.max_tokens=64", "hydra.run.dir=X"),
]
SYNTHESIS = [
    *("embexp.synthesize", "synthesis=entries", "llm=groq", "model=tiny", "tracker=none", "hydra.run.dir=X"),
    *("synthesis.target=100", "synthesis.areas=3", "synthesis.topics_per_area=4", "llm.max_concurrency=4"),
    *("synthesis.filters.round_trip=null", "synthesis.filters.evidence=false"),
]
SWEEP = [
    *("embexp.run", "-m", "hydra/sweeper=embexp_optuna", *SMALL, "hydra.sweep.dir=X"),
    *("trainer.learning_rate=choice(1e-4,3e-4,1e-3)", "hydra.sweeper.n_trials=3"),
    "hydra.sweeper.sampler._target_=optuna.samplers.BruteForceSampler",
    *("hydra.sweeper.pruner._target_=optuna.pruners.NopPruner", "hydra.sweeper.retries=0"),
]
MIGRATION = [
    *("embexp.migrate", "--run", "X", "migrate=chroma", "migrate.path=db", "migrate.collection=manual"),
    "migrate.batch=64",
]
SCENARIOS = {
    "pipeline": Scenario(["embexp.run", *SMALL, "hydra.run.dir=X"], lambda folder: run_result(folder / "X")),
    "two_stages": Scenario(TWO_STAGES, lambda folder: run_result(folder / "X")),
    "synthesis": Scenario(SYNTHESIS, lambda folder: digest(folder / "X" / "data" / "pairs.jsonl"), asks=True),
    "sweep": Scenario(SWEEP, lambda folder: sweep_result(folder / "X")),
    "migration": Scenario(MIGRATION, migration_result, follows="pipeline", prepare=write_collection),
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


def left_by(scenario: Scenario, folder: Path) -> Any:
    """Return what a command has left as JSON has it; None if files are missing."""
    try:
        return json.loads(json.dumps(scenario.result(folder)))
    except FileNotFoundError:
        return None


def charged(service: GroqServer) -> tuple[int, int]:
    """Return how many answers the service has given, and how many of them again."""
    counts = service.summary()
    return counts["answered"], counts["repeated"]


@dataclass(frozen=True)
class Commands:
    """Starts the scenarios' commands.

    Args:
        servers: Start them.
        service: Answers those that ask.
    """

    servers: ForkServers
    service: GroqServer

    def start(self, scenario: Scenario, folder: Path) -> Forked:
        """Start a scenario's command; its output goes to ``log`` in the folder."""
        command = [*scenario.command, *([f"llm.base_url={self.service.url}"] if scenario.asks else [])]
        with (folder / "log").open("ab") as log:
            log.write(f"--- {' '.join(command)}\n".encode())
        return self.servers.start(command, folder, folder / "log")


def new_folder(scenario: Scenario, folder: Path, commands: Commands) -> None:
    """Make the folder that a command is started in: the documents, or a copy of the run that it follows."""
    shutil.rmtree(folder, ignore_errors=True)
    if scenario.follows is None:
        write_documents(folder / "documents")
        return
    followed = folder.parent / f"{scenario.follows}.followed"
    if not (followed / "done").exists():
        reference_run(scenario.follows, followed, commands)
        if scenario.prepare is not None:
            scenario.prepare(followed)
        (followed / "done").touch()
    shutil.copytree(followed, folder)


def end(process: Forked, *, computed: float = math.inf, seconds: float = LONGEST) -> bool:
    """Kill a command when it has computed or run for some seconds; return False if it ended before."""
    begin = time.monotonic()
    while True:
        try:
            process.wait(POLL)
        except subprocess.TimeoutExpired:
            if process.cpu_seconds() >= computed or time.monotonic() - begin > seconds:
                process.kill()
        if process.returncode is not None:
            return process.returncode == -signal.SIGKILL


def episode(
    name: str, folder: Path, commands: Commands, draw: random.Random, reference: dict[str, Any], kills: int
) -> Episode:
    """Kill a scenario's command at random moments, run it to its end, and compare what it leaves."""
    scenario = SCENARIOS[name]
    new_folder(scenario, folder, commands)
    commands.service.counts.answered.clear()  # it knows no request of another episode
    done = 0
    for _ in range(kills):
        moment = draw.uniform(0, reference["computed"])
        killed = end(commands.start(scenario, folder), computed=moment)
        done += killed
        if not killed:
            break
    last = commands.start(scenario, folder)
    survived = not end(last) and last.returncode == 0
    identical = survived and left_by(scenario, folder) == reference["result"]
    answers, paid_twice = charged(commands.service)
    told = 0
    if scenario.asks and survived:
        told = json.loads((folder / "X" / "synthesis.json").read_text())["usage"]["unanswered"]
    if survived and identical and paid_twice <= told:
        shutil.rmtree(folder)  # what has failed is kept, to be looked at
    else:
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
        print(f"{folder}: exit code {last.returncode}\n{log[-SHOWN:]}", file=sys.stderr, flush=True)
    return Episode(name, done, survived, identical, answers, paid_twice, told)


def reference_run(name: str, folder: Path, commands: Commands) -> Forked:
    """Run a scenario's command in a new folder without a kill."""
    new_folder(SCENARIOS[name], folder, commands)
    process = commands.start(SCENARIOS[name], folder)
    if end(process) or process.returncode:
        raise SystemExit(f"{name} fails without a kill; see {folder / 'log'}.")
    return process


def reference_of(name: str, folder: Path, commands: Commands) -> dict[str, Any]:
    """Return what a scenario that is not killed computes, and for how long; once for the same code."""
    stored, code = folder / f"{name}.reference.json", code_digest()
    reference: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    if reference.get("code") != code:
        place = folder / f"{name}.reference"
        process = reference_run(name, place, commands)
        result = left_by(SCENARIOS[name], place)
        if result is None:
            raise SystemExit(f"{name} leaves nothing to compare; see {place / 'log'}.")
        reference = {"code": code, "computed": process.computed, "result": result}
        stored.write_text(json.dumps(reference))
    return reference


@cache
def code_digest() -> str:
    """Return a digest of embexp's modules, since other code may train other weights."""
    modules = sorted((Path(__file__).parents[1] / "embexp").rglob("*.py"))
    return hashlib.sha256("".join(digest(module) for module in modules).encode()).hexdigest()


def episodes(folder: Path, servers: ForkServers, names: list[str], kills: int, seed: int) -> list[Episode]:
    """Kill until ``episodes.jsonl`` has so many kills; an episode that was cut off begins anew."""
    from tests.llm.groq_server import running

    record = folder / "episodes.jsonl"
    lines = record.read_text().splitlines(keepends=True) if record.exists() else []
    done = [Episode(**json.loads(line)) for line in lines if line.endswith("\n")]
    of_each = min(KILLS_OF_AN_EPISODE, max(1, kills // len(names)))
    with running(latency=LATENCY) as service:
        commands = Commands(servers, service)
        while (left := kills - sum(one.kills for one in done)) > 0:
            name = names[len(done) % len(names)]
            draw = random.Random(f"{seed} {len(done)}")
            reference = reference_of(name, folder, commands)
            place = folder / f"{len(done):05d}-{name}"
            one = episode(name, place, commands, draw, reference, min(of_each, left))
            done.append(one)
            print(json.dumps(asdict(one)), flush=True)
            record.write_text("".join(json.dumps(asdict(each)) + "\n" for each in done))
    return done


def damaged(folder: Path, servers: ForkServers, trials: int, seed: int) -> dict[str, int]:
    """Damage what a run keeps, and count what is noticed and repaired."""
    from benchmarks.damages import recorded_damages, tally

    folder.mkdir(exist_ok=True)
    return tally(recorded_damages(folder, servers, trials=trials, seed=seed))


def summary(done: list[Episode], damages: dict[str, int]) -> dict[str, Any]:
    """Return the counts of all episodes and damages as one record."""
    from benchmarks.retrieval_sets import machine

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
        "unanswered_and_told": sum(one.told for one in done),
        "paid_twice_and_not_told": sum(max(one.paid_twice - one.told, 0) for one in done),
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
    damages: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, ForkServers(LIBRARIES, VARIABLES) as servers:
        folder = (options.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if options.damages:
            damages = damaged(folder / "damages", servers, options.damages, options.seed)
        done = episodes(folder, servers, options.scenarios, options.kills, options.seed)
    print(json.dumps(summary(done, damages)))


if __name__ == "__main__":
    main()
