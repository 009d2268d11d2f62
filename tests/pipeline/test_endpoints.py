"""Runs on a model behind a service: its scores, its price, kills, and what is refused before any work."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from embexp.retrieval.bm25_weight import UNRELATED
from tests.models.embeddings_server import KEY, EmbeddingService, embedding, hashed, tiny_vectors

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9/v1"


def vectors(texts: Sequence[str]) -> list[list[float]]:
    """Return vectors as long as those of ``model=tiny``, without a model."""
    return hashed(texts, width=64)


def data(beir: Path, *, train: str = "none") -> list[str]:
    given = ["dataset=beir", f"dataset.path={beir}", f"dataset.train={train}"]
    return [*given, "tracker=none", "retriever=exact"]


def model(url: str, *more: str) -> list[str]:
    return ["model=openai_compatible", "model.id=m", f"model.base_url={url}", "model.batch_size=8", *more]


def scores(folder: Path) -> Any:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))["scores"]


def test_a_service_gets_the_scores_of_the_model_that_it_serves(run, beir: Path, tmp_path: Path) -> None:
    assert run("benchmark", *data(beir), "model=tiny", "hydra.run.dir=local").code == 0
    service = EmbeddingService(tiny_vectors())
    with embedding(service) as server:
        source = f"_target_:embexp.models.OpenAICompatibleModel,name:other,id:o,base_url:'{server.url}'"
        further = f"benchmark.models=[{{{source}}}]"
        done = run("run", *data(beir), *model(server.url), further, "hydra.run.dir=served")

    assert done.code == 0, done.err
    local, served = scores(tmp_path / "local"), scores(tmp_path / "served")
    assert local["untuned"]["ndcg@10"] > 0
    assert served["untuned"] == pytest.approx(local["untuned"])
    assert served["hybrid"] == pytest.approx(local["hybrid"])
    assert served["other"] == served["untuned"]
    # `other` has another id, so that the service was asked for each text once for each of the two. Only the
    # hybrid, which is of the first, needs the scale of a model's cosines.
    once = {text for text, count in service.answered.items() if count == 1}
    assert once == set(UNRELATED)
    assert set(service.answered.values()) == {1, 2}


def test_kills_and_faults_cost_what_was_in_flight_alone(run, beir: Path, tmp_path: Path) -> None:
    tuned = [*data(beir, train="qrels"), "trainer=query_adapter", "trainer.kind=linear"]
    assert run("run", *tuned, "model=tiny", "hydra.run.dir=local").code == 0
    child: list[subprocess.Popen[bytes]] = []
    kills, lost = [20, 60], Counter[str]()

    def kill(answered: Counter[str]) -> None:
        if kills and answered.total() >= kills[0]:
            kills.pop(0)
            lost.update(service.last)
            os.kill(child[-1].pid, signal.SIGKILL)

    service = EmbeddingService(tiny_vectors(), key=KEY, faults=0.2, on_answer=kill)
    environment = {**os.environ, "EMBEDDINGS_KEY": KEY, "PYTHONPATH": str(ROOT)}
    with embedding(service) as server:
        options = ["model.api_key_env=EMBEDDINGS_KEY", "+model.backoff_seconds=0.01", "hydra.run.dir=X"]
        command = [sys.executable, "-m", "embexp.run", *tuned, *model(server.url, *options)]
        codes = []
        for _ in range(3):
            child.append(
                subprocess.Popen(
                    command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
            )
            said = child[-1].communicate()[0].decode()
            assert KEY not in said
            codes.append(child[-1].returncode)

    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0], said
    twice = {text: times for text, times in service.answered.items() if times > 1}
    assert twice == {text: 1 + times for text, times in lost.items()}
    assert len(service.answered) > 60
    local, served = scores(tmp_path / "local"), scores(tmp_path / "X")
    for system in ("untuned", "tuned"):
        assert served[system] == pytest.approx(local[system], abs=1e-3)
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "config.yaml" for path in left)
    assert [path for path in left if KEY.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("command", "options", "sentence"),
    [
        ("run", [], "model=openai_compatible cannot be trained with trainer=auto and loss=mnrl, which need"),
        ("finetune", ["loss=cosent"], "loss=cosent, which need gradients, since the weights of m are behind"),
        (
            "finetune",
            ["trainer=lora"],
            "Set trainer=query_adapter loss=mnrl, which tunes",
        ),
        ("run", ["trainer=query_adapter", "loss=cosent"], "cannot use the loss Cosent: set loss=mnrl"),
        ("run", ["trainer=query_adapter", "trainer.ridge=-1"], "trainer.ridge is -1"),
        ("run", ["trainer=query_adapter", "trainer.kind=square"], "trainer.kind is 'square'"),
        (
            "benchmark",
            ["model.budget_usd=1"],
            "model.budget_usd=1 cannot be kept: the price of m is not",
        ),
        ("benchmark", ["model@tuned=adapted", "tuned.path=nowhere"], "nowhere holds no adapter"),
        (
            "benchmark",
            ["suite=mteb", "suite.tasks=[STSBenchmark]"],
            "suite=mteb scores models that can be loaded",
        ),
        ("benchmark", ["model.api_key_env=NO_SUCH_KEY"], "model.api_key_env=NO_SUCH_KEY: this environment"),
        ("benchmark", ["model.base_url=localhost"], "model.base_url=localhost: give an address"),
        ("benchmark", ["model.batch_size=0"], "model.batch_size is 0: give a whole number"),
        ("benchmark", ["model.dimension=3"], "dimensions"),
        ("benchmark", ["benchmark.models=[openai_compatible]"], "benchmark.models[0].base_url has no value"),
        (
            "benchmark",
            ["benchmark.models=[openai_small]"],
            "benchmark.models[0] (openai_small): model.api_key",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    command: str, options: list[str], sentence: str, run, kb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    service = EmbeddingService()
    with embedding(service) as server:
        given = ["dataset=folder", f"dataset.path={kb}", "tracker=none", *model(server.url), *options]
        done = run(command, *given, "hydra.run.dir=X")

    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert service.requests == 0


@pytest.mark.parametrize("place", ["model", "benchmark.models"])
def test_a_service_that_is_down_ends_the_run_before_documents_are_read(
    place: str, run, beir: Path, tmp_path: Path
) -> None:
    given = model(NOWHERE, "+model.backoff_seconds=0.001")
    if place == "benchmark.models":
        source = "_target_:embexp.models.OpenAICompatibleModel,name:m,id:m,backoff_seconds:0.001"
        given = ["model=tiny", f"benchmark.models=[{{{source},base_url:'{NOWHERE}'}}]"]
    done = run("benchmark", *data(beir), *given, "hydra.run.dir=X")

    assert done.code == 2
    assert "nothing listens at 127.0.0.1:9. Start the service, or check model.base_url" in done.err
    assert not list((tmp_path / "outputs" / "cache").rglob("chunks.jsonl"))


def test_a_plan_prices_what_is_not_known_yet(run, beir: Path) -> None:
    service = EmbeddingService(tiny_vectors())
    with embedding(service) as server:
        given = [*data(beir), *model(server.url, "model.usd_per_million_tokens=2", "hydra.run.dir=X")]
        before = run("plan", *given)
        assert before.code == 0, before.err
        assert service.requests == 0
        assert run("benchmark", *given).code == 0
        after = run("plan", *given)

    assert "embedding with openai_compatible: 60 passages and" in before.out
    assert "0 of them known already" in before.out
    assert "at 2 US$ per million tokens" in before.out
    assert "price: 0.0000 US$" not in before.out
    assert "requests: 0 of up to 8 texts" in after.out
    assert "price: 0.0000 US$" in after.out


def test_a_plan_counts_the_parts_of_passages(run, beir: Path) -> None:
    service = EmbeddingService(tiny_vectors())
    with embedding(service) as server:
        given = [*data(beir)[:-1], "retriever=parts", "retriever.words=4", "hydra.run.dir=X"]
        given += [*model(server.url, "model.usd_per_million_tokens=2")]
        given.append(further(server.url).replace("id:m,", "id:other,"))
        before = run("plan", *given)
        assert before.code == 0, before.err
        passages = {
            name: int(count.replace(",", ""))
            for name, count in re.findall(r"embedding with (\w+): ([0-9,]+) passages", before.out)
        }
        assert passages["openai_compatible"] > passages["bought"] == 60  # which is searched without parts
        assert run("benchmark", *given).code == 0
        after = run("plan", *given)

    assert after.out.count("requests: 0 of up to") == 2


def test_a_plan_counts_the_questions_of_a_synthesis_within_another(run, kb: Path) -> None:
    written = ["synthesis=extractive_and_rag", "synthesis.target=40", "synthesis.written.target=7"]
    given = ["dataset=folder", f"dataset.path={kb}", "llm=groq", *written, *model("http://localhost:1/v1")]
    done = run("plan", *given)
    assert done.code == 0, done.err
    assert "target: 7 pairs" in done.out
    assert "and 47 questions" in done.out


def further(url: str, *, name: str = "bought", usd: float = 2) -> str:
    """Return a model behind a service as an item of ``benchmark.models``."""
    source = f"_target_:embexp.models.OpenAICompatibleModel,name:{name},id:m,backoff_seconds:0.001"
    return f"benchmark.models=[{{{source},base_url:'{url}',usd_per_million_tokens:{usd}}}]"


@pytest.mark.parametrize(
    "benchmark", [[], ["benchmark=beir", "benchmark.dataset.path=shop"]], ids=["own", "beir"]
)
def test_a_model_to_buy_is_priced_beside_the_one_that_is_tuned(
    run, beir: Path, kb: Path, benchmark: list[str]
) -> None:
    """The texts are those of the benchmark: of the run's own pages, or of the set that is asked."""
    service = EmbeddingService()
    given = ["dataset=folder", f"dataset.path={kb}"] if benchmark else data(beir)[:3]
    with embedding(service) as server:
        done = run("plan", *given, "tracker=none", "model=tiny", *benchmark, further(server.url))
    assert done.code == 0, done.err
    assert service.requests == 0
    lines = (beir / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    questions = f"{len(lines) - 1}" if benchmark else "[0-9,]+"
    assert re.search(f"bought: 60 passages and {questions} questions, 0 of them known already", done.out)
    assert "at 2 US$ per million tokens" in done.out
    assert "price: 0.0000 US$" not in done.out


def test_a_quota_that_ends_half_way_ends_the_run_and_the_next_one_goes_on(run, beir: Path) -> None:
    service = EmbeddingService(vectors, quota=4)
    with embedding(service) as server:
        given = [*data(beir), *model(server.url), "hydra.run.dir=X"]
        done = run("benchmark", *given)
        paid = service.answered.total()
        service.quota = None
        again = run("benchmark", *given)

    assert done.code == 2
    assert "no credit left" in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err
    assert paid == 1 + 3 * 8  # the first vector, and three requests of eight texts
    assert again.code == 0, again.err
    assert set(service.answered.values()) == {1}
