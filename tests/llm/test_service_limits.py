from __future__ import annotations

import pytest

from embexp.services.limits import DAY, Meter, ObservedLimit, _duration, limit_in_message, observed_limit


def test_the_window_lets_through_what_fits_and_then_waits_for_the_oldest() -> None:
    meter = Meter(2, 60.0)
    meter.charge(1, 0.0)
    meter.charge(1, 10.0)
    assert meter.wait(1, 20.0) == 40.0  # the one of second 0 leaves at 60
    assert meter.wait(2, 20.0) == 50.0  # both must leave: at 70
    assert meter.wait(1, 60.0) == 0.0


def test_tokens_are_corrected_when_their_number_is_known() -> None:
    meter = Meter(1000, 60.0)
    entry = meter.charge(900, 0.0)
    assert meter.wait(200, 1.0) == 59.0
    meter.settle(entry, 300.0, 1.0)
    assert meter.wait(200, 1.0) == 0.0


def test_what_never_fits_waits_for_an_empty_window_and_is_then_the_service_s_to_refuse() -> None:
    meter = Meter(100, 60.0)
    meter.charge(50, 0.0)
    assert meter.wait(500, 0.0) == 60.0
    assert meter.wait(500, 60.0) == 0.0


def test_without_a_limit_nothing_waits() -> None:
    meter = Meter(None, 60.0)
    for _ in range(1000):
        meter.charge(1, 0.0)
    assert meter.wait(1, 0.0) == 0.0
    assert meter.limit is None


def test_a_learnt_limit_holds_back_what_was_not_counted_yet() -> None:
    meter = Meter(None, 60.0)
    first = meter.charge(1, 0.0)
    second = meter.charge(1, 0.0)
    meter.learn(ObservedLimit(limit=10, remaining=4, resets_in=30.0), first.mark, 0.0)
    meter.settle(first, 1.0, 0.0)
    meter.settle(second, 1.0, 0.0)
    assert meter.wait(3, 0.0) == 0.0  # 4 remained after the first, one was sent since
    assert meter.wait(9, 0.0) == 30.0
    for _ in range(9):
        meter.charge(1, 0.0)
    assert meter.wait(1, 0.0) == 30.0  # 11 in a window of 10; the service resets in 30 s, our window in 60
    assert meter.wait(1, 30.0) == 0.0  # one, to hear how much there is
    meter.charge(1, 30.0)
    assert meter.wait(1, 30.0) == 30.0


def test_an_older_response_does_not_overrule_a_newer_one() -> None:
    meter = Meter(None, 60.0)
    first, second = meter.charge(1, 0.0), meter.charge(1, 0.0)
    for _ in range(3):
        meter.charge(1, 0.0)
    meter.learn(ObservedLimit(4, 0, 50.0), second.mark, 0.0)
    meter.learn(ObservedLimit(4, 3, 50.0), first.mark, 0.0)
    assert meter.wait(1, 0.0) == 50.0


def test_a_configured_limit_holds_whatever_the_service_says() -> None:
    meter = Meter(1, 60.0)
    entry = meter.charge(1, 0.0)
    meter.learn(ObservedLimit(100, 99, 1.0), entry.mark, 0.0)
    assert meter.wait(1, 0.0) == 60.0
    assert meter.limit == 1


def test_a_refusal_teaches_a_limit() -> None:
    meter = Meter(None, 60.0)
    for _ in range(3):
        meter.charge(1, 0.0)
    meter.learn_limit(3, 1.0)
    assert meter.wait(1, 1.0) == 59.0
    meter.learn_limit(4, 1.0)
    assert meter.limit == 4


@pytest.mark.parametrize(
    ("limit", "remaining", "resets_in", "daily"),
    [
        (14400, 14370, 179.56, True),  # Groq's own example: 30 used of a day's 14,400 fill again in 180 s
        (14400, 14399, 6.0, True),
        (1000, 999, 86.4, True),
        (30, 29, 60.0, False),
        (1000, 999, 59.9, False),
        (1000, 400, 30.0, False),
        (1000, 999, 0.06, False),
    ],
)
def test_a_day_s_limit_is_told_from_a_minute_s(
    limit: float, remaining: float, resets_in: float, daily: bool
) -> None:
    assert ObservedLimit(limit, remaining, resets_in).is_daily is daily


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("120ms", 0.12),
        ("12", 12.0),
        ("1d2h", DAY + 7200),
        ("1m", 60.0),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert _duration(text) == pytest.approx(seconds)


def test_headers_are_read_or_left_alone() -> None:
    headers = {
        "x-ratelimit-limit-tokens": "8000",
        "x-ratelimit-remaining-tokens": "7000",
        "x-ratelimit-reset-tokens": "7.5s",
    }
    assert observed_limit(headers, "tokens") == ObservedLimit(8000, 7000, 7.5)
    assert observed_limit(headers, "requests") is None
    assert observed_limit({**headers, "x-ratelimit-reset-tokens": "soon"}, "tokens") is None
    assert observed_limit({**headers, "x-ratelimit-limit-tokens": "0"}, "tokens") is None


def test_a_refusal_names_its_limit() -> None:
    assert limit_in_message("on tokens per minute (TPM): Limit 6,000, Used 5034") == ("TPM", 6000.0)
    assert limit_in_message("Too many requests") is None


def test_evenly_spaced_requests_make_up_for_slots_that_a_wait_cost() -> None:
    import asyncio

    from embexp.llm.prices import Budget
    from embexp.llm.rate_limiter import MINUTE, RateLimiter
    from embexp.llm.settings import RequestSettings

    now = [100.0]
    limiter = RateLimiter(RequestSettings(requests_per_minute=60), Budget(None), clock=lambda: now[0])
    limiter._spaced = True
    slot = MINUTE / 60

    async def sent() -> None:
        await limiter.acquire(1, 10, 0.0)

    asyncio.run(sent())
    # Nothing was sent before, so one second may be made up for: the next slot is at 100 - 1 + 60.5 / 60.
    assert limiter._wait(10) == pytest.approx(slot - 1.0)
    now[0] = 100.5
    asyncio.run(sent())
    assert limiter._wait(10) == pytest.approx(100.0 - 1.0 + 2 * slot - 100.5)
