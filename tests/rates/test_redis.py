from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from gateway.model import CountedBy, RateLimit
from gateway.rates.memory import MemoryRates
from gateway.rates.opening import open_rates
from gateway.rates.redis import RedisRates
from tests.servers import RedisServer, wait_until

TEN = RateLimit(requests=10, window=60, by=CountedBy.USER)
TIMEOUT = 0.3


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    running.command("FLUSHALL")
    return running


class Failures:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def rates_of(url: str, failures: Failures | None = None) -> RedisRates:
    rates = open_rates(url, timeout=TIMEOUT, clock=time.monotonic, failed=failures or Failures())
    assert isinstance(rates, RedisRates)
    return rates


async def test_a_quota_is_one_for_all_who_share_the_server(server: RedisServer) -> None:
    one, other = rates_of(server.url), rates_of(server.url)
    waits = [await rates.count("a", TEN) for rates in (one, other) * 6]
    assert waits[:10] == [0.0] * 10
    assert all(59 < seconds <= 60.01 for seconds in waits[10:])
    assert await one.count("b", TEN) == 0.0
    await one.close()
    await other.close()


async def test_many_at_once_get_no_more_than_the_quota(server: RedisServer) -> None:
    rates = rates_of(server.url)
    waits = await asyncio.gather(*(rates.count("a", TEN) for _ in range(200)))
    assert waits.count(0.0) == 10
    await rates.close()


async def test_who_comes_again_when_told_may_pass(server: RedisServer) -> None:
    rates = rates_of(server.url)
    one = RateLimit(requests=1, window=1, by=CountedBy.USER)
    assert await rates.count("a", one) == 0.0
    told = await rates.count("a", one)

    async def passes() -> bool:
        return not await rates.count("a", one)

    assert 0 < told <= 1.01
    assert await wait_until(passes, what="a place becomes free") == pytest.approx(told, abs=0.1)
    await rates.close()


async def test_keys_expire_and_name_nobody(server: RedisServer) -> None:
    rates = rates_of(server.url)
    await rates.count("a", TEN)
    [key] = server.command("KEYS", "*").split()
    assert key.startswith("gateway:rate:")
    assert 0 < int(server.command("PTTL", key)) <= 2 * TEN.window * 1000
    await rates.close()


async def test_a_server_that_hangs_delays_one_request_and_refuses_none(
    server: RedisServer,
) -> None:
    failures = Failures()
    rates = rates_of(server.url, failures)
    await rates.count("a", TEN)
    server.pause()
    try:
        with capture_logs() as logs:
            began = time.monotonic()
            assert await rates.count("a", TEN) == 0.0
            assert TIMEOUT <= time.monotonic() - began < TIMEOUT + 0.5
            began = time.monotonic()
            waits = [await rates.count("a", TEN) for _ in range(20)]
            assert time.monotonic() - began < 0.1
        # Alone, the process counts from zero, and stops a flood all the same.
        assert waits.count(0.0) == 9
        assert failures.count == 1
        assert [line["log_level"] for line in logs] == ["warning"]
    finally:
        server.resume()

    async def shared() -> bool:
        await rates.count("other", TEN)
        return bool(server.command("KEYS", "*other*").strip())

    with capture_logs() as logs:
        await wait_until(shared, what="counting in Redis again")
    assert [line["event"] for line in logs] == ["rate limits are shared again"]
    await rates.close()


async def test_a_server_that_is_not_there_refuses_nobody() -> None:
    failures = Failures()
    rates = rates_of("redis://:hunter2@127.0.0.1:1/0", failures)
    with capture_logs() as logs:
        assert [await rates.count("a", TEN) for _ in range(10)] == [0.0] * 10
        assert await rates.count("a", TEN) > 0
    assert failures.count == 1
    assert "hunter2" not in str(logs)
    await rates.close()


async def test_a_server_that_was_restarted_goes_on_counting(server: RedisServer) -> None:
    failures = Failures()
    rates = rates_of(server.url, failures)
    for _ in range(10):
        await rates.count("a", TEN)
    server.stop()
    server.start()
    assert await rates.count("a", TEN) > 59
    assert failures.count == 0
    await rates.close()


@pytest.mark.parametrize("url", ["memory://", "sqlite:///x.db"])
async def test_without_redis_each_process_counts_alone(url: str) -> None:
    rates = open_rates(url, timeout=1.0, clock=time.monotonic, failed=Failures())
    assert isinstance(rates, MemoryRates)
