"""What trainer=query_adapter gains over a service whose weights stay closed.

    python benchmarks/query_adapter.py                         # sentences of analysts, ATT&CK's techniques
    python benchmarks/query_adapter.py --data FOLDER           # in BEIR's layout, with training questions

A loopback service speaks OpenAI's embeddings API and serves the vectors of a local model, and embexp asks
that alone. The peer is the untuned model behind the service; both are scored on the same test questions.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from retrieval_sets import SETS, machine, model_source

import embexp

PORT = 18765


@contextmanager
def service(model: Any, port: int) -> Iterator[str]:
    """Serve a model's vectors at a port of this machine; 0 takes a free one."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["content-length"])))["input"]
            with lock:
                rows = model.encode(texts, batch_size=32, show_progress_bar=False)
            data = [{"index": at, "embedding": row.tolist()} for at, row in enumerate(rows)]
            body = json.dumps({"data": data, "usage": {"total_tokens": 1}}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SETS / "attack", help="a set in the BEIR layout")
    parser.add_argument("--model", default="minilm", help="the model behind the service (minilm)")
    parser.add_argument("--questions", type=int, default=400, help="test questions (400)")
    parser.add_argument("--pairs", type=int, default=5000, help="the most training pairs (5000)")
    parser.add_argument("--work", help="a folder that keeps the vectors for the next time; a temporary one")
    parser.add_argument("overrides", nargs="*", help="further options, as in trainer.kind=linear")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(options.work or temporary).resolve()
        # Vectors are cached by address, so that a folder that keeps them needs the same port again.
        with service(model_source(options.model).load(), PORT if options.work else 0) as address:
            outcome = embexp.run_experiment(
                *("dataset=beir", f"dataset.path={options.data}", f"benchmark.limit={options.questions}"),
                *("model=openai_compatible", f"model.id={options.model}", f"model.base_url={address}"),
                *("trainer=query_adapter", f"trainer.max_pairs={options.pairs}", "tracker=none"),
                *("retriever=exact", f"paths.cache={work / 'cache'}", f"hydra.run.dir={work / 'run'}"),
                *options.overrides,
            )
    report(outcome)


def report(outcome: Any) -> None:
    """Print the scores, and one JSON line last."""
    found, training = outcome.comparison, outcome.training
    for system in ("untuned", "tuned", "bm25", "hybrid"):
        print(f"{system:8} {outcome.scores[system][found.metric]:.4f}")
    print(f"selected: {training.selected}; {training.pairs} pairs, {training.seconds:.1f} s of training")
    ours, peer = (outcome.scores[system][found.metric] for system in ("tuned", "untuned"))
    result = {
        "benchmark": "query_adapter",
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "ratio": round(ours / peer, 3),
        "unit": found.metric,
        "delta": round(found.delta, 4),
        "interval": [round(end, 4) for end in found.interval],
        "verdict": found.verdict,
        "training_seconds": round(training.seconds, 1),
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
