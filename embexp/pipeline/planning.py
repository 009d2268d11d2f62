"""The price of a synthesis, from its own first prompts, before anything is asked."""

from __future__ import annotations

from embexp.errors import ConfigError
from embexp.pipeline.corpus import chunk_documents
from embexp.pipeline.experiment import Experiment
from embexp.protocols import Inventing, Planned, Priced


def plan_synthesis(experiment: Experiment) -> list[str]:
    """Return the plan as sentences: requests, tokens, price live and as a batch, and time.

    Raises:
        ConfigError: The synthesis asks no language model, or none is configured.
    """
    synthesis, llm = experiment.synthesis, experiment.llm
    if not isinstance(llm, Priced) or not isinstance(synthesis, Planned):
        raise ConfigError(
            "There is nothing to plan: choose a synthesis that asks a language model, as in "
            "synthesis=rag llm=groq or synthesis=entries llm=groq."
        )
    chunks = [] if isinstance(synthesis, Inventing) else chunk_documents(experiment).chunks()
    plan = synthesis.plan(chunks, chat=llm.chat)
    estimate = llm.estimate(
        requests=plan.requests,
        prompt_tokens=round(plan.prompt_tokens()),
        completion_tokens=round(plan.completion_tokens),
    )
    lines = [f"target: {synthesis.target:,} pairs", *estimate.lines()]
    if plan.capacity is not None and plan.capacity < synthesis.target:
        lines.append(
            f"The documents have room for {plan.capacity:,} questions: add documents, or raise "
            "synthesis.calls_per_chunk."
        )
    return lines
