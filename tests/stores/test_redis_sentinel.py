from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from gateway.errors import StoreUnavailable
from gateway.stores.protocol import SessionStore
from gateway.stores.redis import RedisStore
from tests.redis_topology import SERVICE, RedisSentinels
from tests.servers import free_port, wait_until
from tests.stores.contract import Clock, StoreContract, a_session, hearing


@pytest.fixture(scope="module")
def running() -> Iterator[RedisSentinels]:
    with RedisSentinels() as redis:
        yield redis


@pytest.fixture
def redis(running: RedisSentinels) -> RedisSentinels:
    running.primary().command("FLUSHALL")
    return running


@pytest.fixture
def make(redis: RedisSentinels, clock: Clock) -> Callable[[], SessionStore]:
    return partial(RedisStore, redis.url, timeout=1.0, wall=clock)


class TestRedisWithSentinels(StoreContract): ...


async def test_a_fail_over_on_demand_is_followed(clock: Clock) -> None:
    with RedisSentinels() as redis:
        store = RedisStore(redis.url, timeout=1.0, wall=clock)
        await store.open()
        session = a_session(now=clock.now)
        await store.create(session)
        ears = await hearing(store)
        old = redis.primary()
        await wait_until(old.replicated)
        redis.fail_over()
        await wait_until(lambda: ears.trust_was_lost, seconds=10.0, what="the change is noticed")
        await wait_until(lambda: ears.trusted, seconds=10.0, what="changes are heard again")
        new = redis.primary()
        assert new is not old
        assert await store.load([session.key]) == [session]
        new.command("DEL", f"gateway:session:{session.key}")
        await wait_until(lambda: session.key in ears.keys, seconds=0.1)
        again = a_session(now=clock.now)
        await store.create(again)
        assert await store.load([session.key, again.key]) == [None, again]
        await store.close()


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_a_lost_primary_is_replaced_and_never_believed_again(clock: Clock, how: str) -> None:
    with RedisSentinels() as redis:
        store = RedisStore(redis.url, timeout=0.5, wall=clock)
        await store.open()
        session = a_session(now=clock.now)
        await store.create(session)
        ears = await hearing(store)
        old = redis.primary()
        await wait_until(old.replicated)
        if how == "killed":
            old.kill()
        else:
            old.pause()
        await wait_until(lambda: not ears.trusted, seconds=3.0, what="the loss is noticed")

        async def is_back() -> bool:
            try:
                loaded = await store.load([session.key])
            except StoreUnavailable:
                return False
            assert loaded == [session]  # never: signed out
            return True

        await wait_until(is_back, seconds=10.0, what="another primary has taken over")
        await wait_until(lambda: ears.trusted, seconds=3.0, what="changes are heard again")
        assert await store.delete(session.key)
        if how == "killed":
            old.start()
        else:
            old.resume()
        # It still has the session, and takes itself for the primary until the Sentinels tell it.
        await wait_until(lambda: "role:" in old.command("INFO"))
        late = RedisStore(redis.url, timeout=0.5, wall=clock)
        await late.open()
        for one in (store, late):
            assert await one.load([session.key]) == [None]
            await one.close()


async def test_a_replica_is_not_taken_for_the_primary(redis: RedisSentinels) -> None:
    primary = redis.primary()
    [replica] = [server for server in redis.servers if server is not primary]

    async def name_the_replica(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        port = str(replica.port)
        writer.write(f"*2\r\n$9\r\n127.0.0.1\r\n${len(port)}\r\n{port}\r\n".encode())
        await writer.drain()
        writer.close()

    port = free_port()
    async with await asyncio.start_server(name_the_replica, "127.0.0.1", port):
        store = RedisStore(f"redis+sentinel://127.0.0.1:{port}/0?service={SERVICE}", timeout=0.5)
        with pytest.raises(StoreUnavailable, match="no primary"):
            await store.open()
        await store.close()


async def test_one_sentinel_is_enough(redis: RedisSentinels, clock: Clock) -> None:
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{redis.ports[1]},127.0.0.1:{free_port()}"
    store = RedisStore(f"redis+sentinel://{hosts}/0?service={SERVICE}", wall=clock)
    await store.open()
    session = a_session(now=clock.now)
    await store.create(session)
    assert await store.load([session.key]) == [session]
    await store.close()


async def test_an_unknown_service_is_unavailable(redis: RedisSentinels) -> None:
    store = RedisStore(redis.url.replace(SERVICE, "another"), timeout=0.5)
    with pytest.raises(StoreUnavailable, match="no Sentinel names a primary"):
        await store.open()
    await store.close()
