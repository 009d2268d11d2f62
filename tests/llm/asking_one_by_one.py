"""Asks a service one request after the other, for a test that kills it.

``asking_one_by_one.py URL JOURNAL COUNT HEADER`` prints the answers, then what the service may have charged.
An empty HEADER is a service without idempotency keys.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from embexp.llm.llm import Message, Request
from embexp.llm.openai_compatible import OpenAICompatibleLLM

url, journal, count, header = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] or None
source = OpenAICompatibleLLM(
    model="m",
    base_url=url,
    max_concurrency=1,
    idempotency_header=header,
    prices={"m": {"input": 1.0, "output": 1.0}},
)
asked = (Request((Message("user", f"Write query {number}."),), max_tokens=50) for number in range(count))
with source.open(journal) as llm:
    for answer in llm.complete(asked):
        print(answer.completion.text if answer.completion else answer.failure, flush=True)
    print(json.dumps(asdict(llm.usage())), flush=True)
