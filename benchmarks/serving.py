"""How long one question takes in each way of serving that docs/production.md shows.

    python benchmarks/serving.py

The examples of the page run as they stand there, with MiniLM for the tuned model. Every question is asked
alone, of all ways in turn. In process: sentence-transformers itself, the ONNX exports, and Chroma, LangChain
and LlamaIndex, which also search two texts. Over HTTP on loopback: the FastAPI example and ``mlflow models
serve``. Ratios are to the median of sentence-transformers in process.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
from retrieval_sets import SETS, latencies, load, machine, model_source

from embexp.exporting import OnnxEmbedder
from embexp.exporting.onnx import write_onnx

PAGE = Path(__file__).resolve().parents[1] / "docs" / "production.md"
IN_PROCESS = "sentence-transformers"
PLACE = "outputs/DATE/TIME/model"
SECONDS = 300
Ask = Callable[[str], object]


def examples() -> dict[str, str]:
    """Return the page's examples of serving by the first name that each imports."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Serve\n")[1].split("\n## ")[0]
    codes = re.findall(r"```py\n(.*?)```", section, re.DOTALL)
    names = ("fastapi", "chromadb", "langchain_core", "llama_index")
    return {name: next(code for code in codes if f" {name}" in code) for name in names}


def ways(model: Path, work: Path, stack: ExitStack) -> Iterator[tuple[str, Ask]]:
    """Yield each way with a function that asks it one question."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(str(model), device="cpu")
    yield IN_PROCESS, lambda question: loaded.encode_query([question])
    for name, int8 in (("onnx", False), ("onnx_int8", True)):
        (work / name).mkdir()
        write_onnx(loaded, work / name, int8=int8)
        embedder = OnnxEmbedder(work / name)
        yield name, lambda question, embedder=embedder: embedder.encode_queries([question])  # type: ignore[misc]
    page = {name: code.replace(PLACE, str(model)) for name, code in examples().items()}
    collection = executed(page["chromadb"], work)["collection"]
    yield "Chroma", lambda question: collection.query(query_texts=[question], n_results=2)
    for name, title, ask in (
        (
            "langchain_core",
            "LangChain",
            lambda made: lambda question: made["store"].similarity_search(question, k=2),
        ),
        ("llama_index", "LlamaIndex", lambda made: made["index"].as_retriever(similarity_top_k=2).retrieve),
    ):
        try:
            yield title, ask(executed(page[name], work))
        except ImportError as error:
            print(f"{title} is left out: {error}")
    (work / "serve.py").write_text(page["fastapi"], encoding="utf-8")
    yield "FastAPI", over_http(stack, ["uvicorn", "serve:app"], "/docs", "/embed", "texts", work)
    mlflow = ["mlflow", "models", "serve", "-m", str(stored(loaded, work)), "--env-manager", "local"]
    yield "mlflow models serve", over_http(stack, mlflow, "/ping", "/invocations", "inputs", work)


def executed(code: str, work: Path) -> dict[str, Any]:
    """Run an example in a folder and return its names."""
    names: dict[str, Any] = {"__name__": "example"}
    os.chdir(work)  # where an example writes
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)
    return names


def stored(model: Any, work: Path) -> Path:
    """Save a model as MLflow's registry would hold it."""
    import mlflow.sentence_transformers

    from embexp.tracking.mlflow_registry import MODEL_PACKAGES, _signature

    target = work / "mlflow"
    mlflow.sentence_transformers.save_model(
        model, str(target), signature=_signature(), pip_requirements=list(MODEL_PACKAGES)
    )
    return target


def over_http(stack: ExitStack, command: list[str], health: str, path: str, key: str, work: Path) -> Ask:
    """Start a server, wait until it answers, and return a function that asks it over one connection."""
    url = stack.enter_context(server(command, health, work))
    client = stack.enter_context(httpx.Client(base_url=url, timeout=60, trust_env=False))

    def ask(question: str) -> object:
        return client.post(path, json={key: [question]}).raise_for_status().json()

    return ask


@contextmanager
def server(command: list[str], health: str, work: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mlflow looks for uvicorn there
    with (work / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=work,
            env={**os.environ, "PATH": paths, "HF_HUB_OFFLINE": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait(url + health, process, work / f"{command[0]}.log")
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(timeout=30)


def wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(address, timeout=5, trust_env=False).is_success:
                return
        time.sleep(0.2)
    raise SystemExit(f"{address} does not answer:\n{log.read_text()[-3000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS / "tatqa", help="a set in the BEIR layout")
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--questions", type=int, default=200)
    options = parser.parse_args()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    data = load(options.data, pairs=1, dev=0, test=options.questions, seed=0)
    questions = [query.text for query in data.test_task.queries]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder)
        model_source(options.model).load().save(str(work / "model"), create_model_card=False)
        asked = dict(ways(work / "model", work, stack))
        seconds = latencies(asked, questions)
    cuts = {name: quantiles(values, n=100) for name, values in seconds.items()}
    table = {name: (1000 * each[49], 1000 * each[98]) for name, each in cuts.items()}
    for name, (p50, p99) in table.items():
        print(f"{name:<22} p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {p50 / table[IN_PROCESS][0]:5.2f}x")
    print(
        json.dumps(
            {
                "benchmark": "serving",
                "ours": round(table["onnx"][0], 2),
                "peer": round(table[IN_PROCESS][0], 2),
                "ratio": round(table[IN_PROCESS][0] / table["onnx"][0], 2),
                "unit": "ms a question, onnx beside sentence-transformers",
                "p50_p99": {name: [round(value, 2) for value in values] for name, values in table.items()},
                "questions": len(questions),
                "machine": machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
