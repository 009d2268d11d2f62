"""Sends requests to the loopback server, for a test that kills it: ``asking.py URL JOURNAL COUNT``."""

from __future__ import annotations

import sys
from pathlib import Path

from embexp.llm.groq import GroqLLM
from embexp.llm.llm import Message, Request

url, journal, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
asked = (Request((Message("user", f"Write query {number}."),), max_tokens=50) for number in range(count))
with GroqLLM(base_url=url, max_concurrency=8, backoff_seconds=0.05).open(journal) as llm:
    print("ready", flush=True)
    for answer in llm.complete(asked):
        print(answer.completion.text if answer.completion else answer.failure, flush=True)
