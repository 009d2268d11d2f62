"""How many answers per minute the engine gets, compared with a serial client of the same SDK and server.

    python benchmarks/synthesis_speed.py

The server is the tests' loopback server, with a latency of 300 ms and no rate limits.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from embexp.llm.groq import GroqLLM, connect_for_batches
from embexp.llm.llm import Message, Request

SERVER = Path(__file__).parent.parent / "tests" / "llm" / "groq_server.py"
KEY = "gsk_test"
LATENCY = 0.3
OURS, SERIAL = 1500, 60
SCHEMA = {
    "type": "object",
    "properties": {
        "queries": {
            "type": "array",
            "minItems": 4,
            "maxItems": 4,
            "items": {
                "type": "object",
                "properties": {"query": {"type": "string"}, "evidence": {"type": "string"}},
            },
        }
    },
}


def requests(count: int) -> Iterator[Request]:
    for number in range(count):
        text = f"Write four search queries that passage {number} answers.\n" + "A passage of a manual. " * 40
        yield Request((Message("user", text),), max_tokens=512, schema=SCHEMA, seed=number)


def ours(url: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with GroqLLM(base_url=url).open(Path(folder) / "journal.jsonl") as llm:
            answered = sum(answer.completion is not None for answer in llm.complete(requests(OURS)))
        return answered / (time.perf_counter() - start)


def serial(url: str) -> float:
    with connect_for_batches(url, KEY, 60.0) as sdk:
        start = time.perf_counter()
        for request in requests(SERIAL):
            sdk.chat.completions.create(
                model="llama-3.3-70b-versatile",
                messages=[{"role": "user", "content": request.messages[0].content}],
                max_completion_tokens=request.max_tokens,
                response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
            )
        return SERIAL / (time.perf_counter() - start)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ["GROQ_API_KEY"] = KEY
    with subprocess.Popen(
        [sys.executable, str(SERVER), "--latency", str(LATENCY)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            url = str(server.stdout.readline()).strip() if server.stdout else ""
            peer, own = serial(url), ours(url)
        finally:
            server.terminate()
    result = {
        "benchmark": "synthesis_speed",
        "ours": round(own * 60, 1),
        "peer": round(peer * 60, 1),
        "ratio": round(own / peer, 2),
        "unit": "answers/min",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
