from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import CountedBy, RateLimit
from gateway.rates.memory import MemoryRates

TEN = RateLimit(requests=10, window=60, by=CountedBy.USER)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_a_quota_may_be_used_at_once_and_no_more() -> None:
    clock = Clock()
    rates = MemoryRates(clock)
    assert [await rates.count("a", TEN) for _ in range(10)] == [0.0] * 10
    assert await rates.count("a", TEN) == pytest.approx(60.001)
    assert await rates.count("b", TEN) == 0.0


async def test_who_comes_again_when_told_may_pass() -> None:
    clock = Clock()
    rates = MemoryRates(clock)
    for _ in range(10):
        await rates.count("a", TEN)
    clock.now += 59.9
    assert (await rates.count("a", TEN)) > 0
    clock.now += await rates.count("a", TEN)
    assert await rates.count("a", TEN) == 0.0


async def test_what_is_refused_is_not_counted() -> None:
    clock = Clock()
    rates = MemoryRates(clock)
    for _ in range(1000):
        await rates.count("a", TEN)
    clock.now += 120.1
    assert [await rates.count("a", TEN) for _ in range(10)] == [0.0] * 10


@given(st.lists(st.floats(0.0, 90.0), min_size=1, max_size=200))
async def test_never_more_than_two_quotas_in_any_window(pauses: list[float]) -> None:
    """The window before counts as if its requests had come evenly: a bound, not the exact count."""
    clock = Clock()
    rates = MemoryRates(clock)
    passed: list[float] = []
    for pause in pauses:
        clock.now += pause
        if not await rates.count("a", TEN):
            passed.append(clock.now)
    for first in passed:
        assert (
            len([at for at in passed if first <= at < first + TEN.window]) <= 2 * TEN.requests - 1
        )


async def test_memory_is_bounded_and_the_oldest_windows_go_first() -> None:
    clock = Clock()
    rates = MemoryRates(clock, most=100)
    one = RateLimit(requests=1, window=60, by=CountedBy.ADDRESS)
    for number in range(100):
        await rates.count(str(number), one)
    assert await rates.count("0", one) > 0
    clock.now += 61
    assert await rates.count("0", one) == 0.0  # a new window: the youngest now
    await rates.count("100", one)
    assert await rates.count("0", one) > 0
    assert await rates.count("1", one) == 0.0  # forgotten


async def test_limits_of_two_lengths_are_counted_apart() -> None:
    rates = MemoryRates(Clock())
    hour = RateLimit(requests=1, window=3600, by=CountedBy.USER)
    assert await rates.count("a", hour) == 0.0
    assert await rates.count("a", TEN) == 0.0
    assert await rates.count("a", hour) > 0


async def test_close_forgets() -> None:
    one = RateLimit(requests=1, window=60, by=CountedBy.ADDRESS)
    rates = MemoryRates(Clock())
    await rates.count("a", one)
    await rates.close()
    assert await rates.count("a", one) == 0.0
