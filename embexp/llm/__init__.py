"""Language models: clients behind rate limits, retries, a journal and a budget."""

from __future__ import annotations

from embexp.llm.groq import GroqLLM
from embexp.llm.groq_batch import GroqBatchLLM
from embexp.llm.journal import Journal, request_key
from embexp.llm.llamacpp import LlamaCppLLM
from embexp.llm.llm import LLM, Answer, Completion, LLMSource, Message, Request, Usage
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from embexp.llm.prices import Estimate, Prices
from embexp.llm.replay import ReplayLLM

__all__ = [
    "LLM",
    "Answer",
    "Completion",
    "Estimate",
    "GroqBatchLLM",
    "GroqLLM",
    "Journal",
    "LLMSource",
    "LlamaCppLLM",
    "Message",
    "OpenAICompatibleLLM",
    "Prices",
    "ReplayLLM",
    "Request",
    "Usage",
    "request_key",
]
