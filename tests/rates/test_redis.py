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
from tests.redis_topology import RedisCluster, RedisSentinels
from tests.servers import RedisServer, wait_for, wait_until

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


@pytest.fixture(scope="module")
def sentinels() -> Iterator[RedisSentinels]:
    with RedisSentinels() as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as running:
        yield running


@pytest.fixture(params=["alone", "Sentinels", "Cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """Of an empty Redis, in each way that it is run."""
    match request.param:
        case "alone":
            server: RedisServer = request.getfixturevalue("server")
            return server.url
        case "Sentinels":
            sentinels: RedisSentinels = request.getfixturevalue("sentinels")
            sentinels.primary().command("FLUSHALL")
            return sentinels.url
        case _:
            cluster: RedisCluster = request.getfixturevalue("cluster")
            cluster.flush()
            return cluster.url


class Failures:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def rates_of(url: str, failures: Failures | None = None) -> RedisRates:
    rates = open_rates(url, timeout=TIMEOUT, clock=time.monotonic, failed=failures or Failures())
    assert isinstance(rates, RedisRates)
    return rates


async def test_a_quota_is_one_for_all_who_share_the_server(url: str) -> None:
    one, other = rates_of(url), rates_of(url)
    waits = [await rates.count("a", TEN) for rates in (one, other) * 6]
    assert waits[:10] == [0.0] * 10
    assert all(59 < seconds <= 60.01 for seconds in waits[10:])
    assert await one.count("b", TEN) == 0.0
    await one.close()
    await other.close()


async def test_many_at_once_get_no_more_than_the_quota(url: str) -> None:
    failures = Failures()
    rates = rates_of(url, failures)
    for key in "abcdefgh":  # on a Cluster on each of its servers
        waits = await asyncio.gather(*(rates.count(key, TEN) for _ in range(50)))
        assert waits.count(0.0) == 10
    assert failures.count == 0
    await rates.close()


async def test_who_comes_again_when_told_may_pass(url: str) -> None:
    rates = rates_of(url)
    one = RateLimit(requests=1, window=1, by=CountedBy.USER)
    assert await rates.count("a", one) == 0.0
    told = await rates.count("a", one)

    async def passes() -> bool:
        return not await rates.count("a", one)

    assert 0 < told <= 1.01
    assert await wait_until(passes, what="a place becomes free") == pytest.approx(told, abs=0.1)
    await rates.close()


async def test_what_came_in_the_window_before_counts_by_what_is_left_of_it(url: str) -> None:
    rates = rates_of(url)
    four = RateLimit(requests=4, window=1, by=CountedBy.USER)
    began = time.monotonic()
    assert [await rates.count("a", four) for _ in range(4)] == [0.0] * 4
    await asyncio.sleep(began + 1.1 - time.monotonic())
    assert await rates.count("a", four) == 0.0  # 0.9 of four is three, and then 0.75
    told = await rates.count("a", four)
    assert told == pytest.approx(began + 1.25 - time.monotonic(), abs=0.1)
    await rates.close()


async def test_other_primaries_go_on_counting_after_a_change(sentinels: RedisSentinels) -> None:
    rates = rates_of(sentinels.url)
    before = sentinels.primary()
    await rates.count("a", TEN)
    await asyncio.to_thread(wait_for, before.replicated)
    sentinels.fail_over()

    async def shared() -> bool:
        await rates.count("b", TEN)
        now = sentinels.primary()
        return now is not before and "gateway:rate:b" in now.command("KEYS", "*")

    await wait_until(shared, seconds=10.0, what="the new primary counts")
    waits = [await rates.count("a", TEN) for _ in range(10)]
    assert waits.count(0.0) == 9
    await rates.close()


async def test_a_script_that_was_forgotten_is_sent_again(server: RedisServer) -> None:
    failures = Failures()
    rates = rates_of(server.url, failures)
    for _ in range(3):
        assert await rates.count("a", TEN) == 0.0
        server.command("SCRIPT", "FLUSH")
    assert failures.count == 0
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
            assert TIMEOUT / 2 < time.monotonic() - began < TIMEOUT + 0.5
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
