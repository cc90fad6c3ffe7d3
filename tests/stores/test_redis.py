from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.rules.sessions import touched
from gateway.stores.codec import hint
from gateway.stores.protocol import SessionStore
from gateway.stores.redis import RedisStore
from tests.servers import RedisServer, free_port, wait_until
from tests.stores.away import (
    does_not_notice_a_restart,
    is_unavailable_while_it_hangs,
    survives_a_restart,
)
from tests.stores.contract import (
    LIFETIME,
    Clock,
    StoreContract,
    a_session,
    hearing,
    keys_of_tokens,
)


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    running.command("FLUSHALL")
    return running


@pytest.fixture
def make(server: RedisServer, clock: Clock) -> Callable[[], SessionStore]:
    return partial(RedisStore, server.url, timeout=1.0, wall=clock)


class TestRedisStore(StoreContract): ...


async def test_redis_holds_the_hash_of_the_token_and_never_the_token(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    token, key = keys_of_tokens()
    await store.create(replace(a_session(now=clock.now), key=key))
    held = server.on_disk()
    assert key.encode() in held
    assert token.encode() not in held


async def test_redis_forgets_all_of_a_session_that_expires(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    end = clock.now + 0.2
    await store.create(replace(session, expires_at=end, ends_at=end))
    assert int(server.command("DBSIZE")) == 3
    await wait_until(lambda: int(server.command("DBSIZE")) == 0)


async def test_a_users_list_lives_as_long_as_the_last_of_the_sessions(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    long, short = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(long)
    await store.create(replace(short, expires_at=clock.now + 5, ends_at=clock.now + 5))
    assert int(server.command("TTL", "gateway:user:ada")) > 3000


async def test_what_expired_leaves_the_users_list(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    idle, stays = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(replace(idle, expires_at=clock.now + 0.1))
    await store.create(stays)
    await wait_until(lambda: server.command("EXISTS", f"gateway:session:{idle.key}") == "0\n")
    assert await store.of_user("ada") == [stays]
    # Not at once: what is just being made is listed before it is there.
    assert len(server.command("ZRANGE", "gateway:user:ada", "0", "-1").split()) == 2
    clock.now += 61
    assert await store.of_user("ada") == [stays]
    assert server.command("ZRANGE", "gateway:user:ada", "0", "-1").split() == [stays.key]


async def test_a_deletion_leaves_nothing_behind(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    await store.delete(session.key)
    assert server.command("KEYS", "*").split() == []


async def test_a_session_deleted_by_hand_is_heard_within_100_ms(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(store)
    server.command("DEL", f"gateway:session:{session.key}")
    await wait_until(lambda: session.key in ears.keys, seconds=0.1)
    assert await store.load([session.key]) == [None]
    assert await store.of_user("ada") == []
    assert await store.find(session.id) is None


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
async def test_a_flush_takes_every_copy_away(
    store: RedisStore, server: RedisServer, command: str
) -> None:
    ears = await hearing(store)
    server.command(command)
    await wait_until(lambda: ears.all, seconds=0.2)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("rubbish", id="rubbish"),
        pytest.param("", id="empty"),
        pytest.param("01700000000.000000002700000000.0000000{}", id="times without a record"),
        pytest.param('{"v": 1}', id="a record without times"),
    ],
)
async def test_a_broken_value_signs_nobody_in_and_is_logged(
    store: RedisStore, server: RedisServer, clock: Clock, value: str
) -> None:
    broken, whole = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(broken)
    await store.create(whole)
    server.command("SET", f"gateway:session:{broken.key}", value)
    with capture_logs() as logs:
        assert await store.load([broken.key, whole.key]) == [None, whole]
    assert [(line["event"], line["session"]) for line in logs] == [
        ("corrupt_record", hint(broken.key))
    ]
    await store.touch(touched(broken, LIFETIME, now=clock.now + 100))
    assert await store.of_user("ada") == [whole]
    await store.delete(broken.key)
    assert server.command("EXISTS", f"gateway:session:{broken.key}") == "0\n"


async def test_what_is_no_string_signs_nobody_in(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    server.command("LPUSH", f"gateway:session:{session.key}", "x")
    assert await store.load([session.key]) == [None]


async def test_scripts_are_loaded_again_when_redis_forgot_them(
    store: RedisStore, server: RedisServer, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    server.command("SCRIPT", "FLUSH")
    moved = touched(session, LIFETIME, now=clock.now + 100)
    await store.touch(moved)
    assert await store.load([session.key]) == [moved]


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_sessions_survive_a_restart_and_the_store_recovers_by_itself(
    clock: Clock, how: str
) -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, timeout=1.0, wall=clock)
        await survives_a_restart(server, getattr(server, how), store, clock)


async def test_a_restart_between_two_uses_goes_unnoticed(clock: Clock) -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, timeout=1.0, wall=clock)
        await does_not_notice_a_restart(server, store, clock)


async def test_a_hanging_redis_is_unavailable_within_the_time_limit_and_then_recovers(
    clock: Clock,
) -> None:
    with RedisServer() as server:
        store = RedisStore(server.url, timeout=0.2, wall=clock)
        await is_unavailable_while_it_hangs(server, store, clock)


async def test_no_redis_at_all_is_unavailable_at_the_start() -> None:
    store = RedisStore(f"redis://127.0.0.1:{free_port()}/0", timeout=0.5)
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_a_password_is_used_and_never_shown(clock: Clock) -> None:
    with RedisServer("--requirepass", "correct-horse") as server:
        address = f"127.0.0.1:{server.port}/0"
        store = RedisStore(f"redis://:correct-horse@{address}", wall=clock)
        await store.open()
        session = a_session(now=clock.now)
        await store.create(session)
        assert await store.load([session.key]) == [session]
        await hearing(store)
        await store.close()
        for wrong in ("redis://:battery-staple@", "redis://ada:battery-staple@", "redis://"):
            store = RedisStore(wrong + address)
            with pytest.raises(StoreUnavailable) as caught:
                await store.open()
            assert "battery-staple" not in f"{caught.value} {caught.value.__cause__} {store!r}"
            await store.close()


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis://:hun/ter2@127.0.0.1:6379/0", id="an unescaped slash"),
        pytest.param("redis://:hunter2@127.0.0.1:port/0", id="a port that is none"),
        pytest.param("redis://:hunter2@127.0.0.1/0?speed=high", id="an unknown option"),
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StoreUnavailable) as caught:
        RedisStore(url)
    assert "hun" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
