from __future__ import annotations

import pytest

from embexp.llm.chat import approximate_tokens, prompt_tokens
from embexp.llm.groq import GroqLLM
from embexp.llm.llm import LLMSource, Message, Request
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from embexp.llm.prices import Prices, estimate
from embexp.llm.replay import ReplayLLM


def test_tokens_are_bytes_by_four_rounded_up() -> None:
    assert approximate_tokens("") == 0
    assert approximate_tokens("abcd") == 1
    assert approximate_tokens("abcde") == 2
    assert approximate_tokens("\u6c34\u6c34\u6c34\u6c34") == 3  # four letters of three bytes
    assert prompt_tokens(Request((Message("user", "abcd"), Message("user", "abcd")), schema={})) == 10
    assert (
        prompt_tokens(Request((Message("user", "abcd"),), schema={"a": 1})) == 5 + 2
    )  # {"a": 1} has 8 bytes


def test_the_plan_is_plain_arithmetic() -> None:
    plan = GroqLLM().estimate(requests=1250, prompt_tokens=800, completion_tokens=400)
    assert (plan.prompt_tokens, plan.completion_tokens) == (1_000_000, 500_000)
    assert plan.usd == pytest.approx(0.59 + 0.5 * 0.79)
    assert plan.usd_batch == pytest.approx((0.59 + 0.5 * 0.79) / 2)
    # 1.5 million tokens at the free plan's 100,000 a day: the first at once, 14 more days.
    assert (plan.bound, plan.minutes) == ("tokens_per_day", 14 * 24 * 60)
    assert "14.0 days, bound by tokens per day" in "\n".join(plan.lines())


def test_configured_limits_go_before_the_listed_ones() -> None:
    llm = GroqLLM(
        requests_per_minute=100, tokens_per_minute=10**7, requests_per_day=10**7, tokens_per_day=10**8
    )
    plan = llm.estimate(requests=1250, prompt_tokens=800, completion_tokens=400)
    assert (plan.bound, plan.minutes) == ("requests_per_minute", 12.0)
    assert "time: at least 12 min" in "\n".join(plan.lines())


def test_what_is_not_known_is_said() -> None:
    plan = estimate(
        model="new",
        requests=10,
        prompt_tokens=1,
        completion_tokens=1,
        prices=Prices(),
        limits={"tokens_per_day": None},
    )
    assert (plan.usd, plan.usd_batch, plan.minutes) == (None, None, None)
    assert "price: unknown (give it in llm.prices)" in plan.lines()
    assert "time: unknown: no limit is configured or listed" in plan.lines()


@pytest.mark.parametrize(
    ("llm", "line"),
    [
        (GroqLLM(), "price: 1.38 US$ live, 0.69 US$ as a batch, at prices seen on 2026-06-04"),
        (
            OpenAICompatibleLLM(
                model="small", base_url="http://localhost/v1", prices={"small": {"input": 1.0, "output": 2.0}}
            ),
            "price: 3.00 US$, at prices of llm.prices",
        ),
        (
            OpenAICompatibleLLM(model="small", base_url="http://localhost/v1"),
            "price: unknown (give it in llm.prices)",
        ),
        (ReplayLLM(path="journal.jsonl"), "price: 0.00 US$"),
    ],
)
def test_only_a_service_with_batches_has_a_price_for_them(llm: LLMSource, line: str) -> None:
    assert line in llm.estimate(requests=1000, prompt_tokens=1000, completion_tokens=1000).lines()


def test_hours_are_called_hours() -> None:
    plan = estimate(
        model="m",
        requests=10,
        prompt_tokens=1,
        completion_tokens=1,
        prices=Prices(),
        limits={"requests_per_day": 9},
    )
    assert plan.minutes == 24 * 60
    assert "24.0 h" in plan.lines()[-1]


def test_own_prices_go_first() -> None:
    prices = Prices({"m": {"input": 1.0, "output": 2.0}}, discount=0.5)
    assert prices.cost("m", 1_000_000, 1_000_000) == 1.5
    assert prices.cost("unknown", 10, 10) == 0.0
    assert prices.of("somebody/new-model") is None


def test_a_fingerprint_depends_on_what_shapes_answers() -> None:
    assert GroqLLM().fingerprint() == GroqLLM(requests_per_minute=30, budget_usd=5.0).fingerprint()
    assert GroqLLM().fingerprint() != GroqLLM(model="openai/gpt-oss-120b").fingerprint()


@pytest.mark.parametrize(
    ("llm", "words"),
    [
        (GroqLLM(), "prices seen on 2026-06-04"),
        (GroqLLM(model="openai/gpt-oss-20b"), "prices seen on 2026-01-18"),
        (GroqLLM(prices={"llama-3.3-70b-versatile": {"input": 1.0, "output": 2.0}}), "prices of llm.prices"),
    ],
)
def test_a_price_comes_with_its_own_date(llm: GroqLLM, words: str) -> None:
    plan = llm.estimate(requests=10, prompt_tokens=1000, completion_tokens=1000)
    assert words in "\n".join(plan.lines())
