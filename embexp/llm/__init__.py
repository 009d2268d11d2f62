"""Language models: clients behind rate limits, retries, a journal and a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.package import lazy_exports

if TYPE_CHECKING:
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

__getattr__ = lazy_exports(
    __name__,
    {
        "groq": "GroqLLM",
        "groq_batch": "GroqBatchLLM",
        "journal": "Journal request_key",
        "llamacpp": "LlamaCppLLM",
        "llm": "LLM Answer Completion LLMSource Message Request Usage",
        "openai_compatible": "OpenAICompatibleLLM",
        "prices": "Estimate Prices",
        "replay": "ReplayLLM",
    },
)
