from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.model import Session, SessionKey
from gateway.redis.slots import slot
from gateway.rules.sessions import touched
from gateway.stores.protocol import SessionStore
from gateway.stores.redis import RedisStore
from tests.redis_topology import RedisCluster
from tests.servers import RedisServer, free_port, wait_until
from tests.stores.contract import LIFETIME, Clock, StoreContract, a_session, hearing


@pytest.fixture(scope="module")
def running() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running: RedisCluster) -> RedisCluster:
    running.flush()
    return running


@pytest.fixture
def make(cluster: RedisCluster, clock: Clock) -> Callable[[], SessionStore]:
    return partial(RedisStore, cluster.url, timeout=1.0, wall=clock)


class TestRedisCluster(StoreContract): ...


def name(session: Session) -> str:
    return f"gateway:session:{session.key}"


async def one_on_each(store: RedisStore, cluster: RedisCluster, now: float) -> list[Session]:
    """Return sessions that lie on three different servers."""
    found: dict[int, Session] = {}
    while len(found) < 3:
        session = a_session(now=now)
        if found.setdefault(cluster.owner(name(session)).port, session) is session:
            await store.create(session)
    return list(found.values())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("foo", 12182, id="plain"),
        pytest.param("123456789", 12739, id="the specification's own"),
        pytest.param("{foo}bar", 12182, id="a hash tag"),
        pytest.param("x{foo}bar{zap}", 12182, id="the first of two"),
        pytest.param("{}foo", 9500, id="an empty one is none"),
        pytest.param("gateway:user:{", 0, id="one that is not closed is none"),
    ],
)
def test_the_slot_of_a_key(cluster: RedisCluster, key: str, expected: int) -> None:
    of_redis = int(cluster.servers[0].command("CLUSTER", "KEYSLOT", key))
    assert slot(("GET", key)) == of_redis
    assert slot(("EVALSHA", "digest", 1, key, "argument")) == of_redis
    assert expected in (0, of_redis)


async def test_lookups_go_out_together_with_one_write_to_each_server(
    store: RedisStore, cluster: RedisCluster, clock: Clock
) -> None:
    sessions = await one_on_each(store, cluster, clock.now)
    keys = [session.key for session in sessions] * 5

    def events() -> list[tuple[int, int]]:
        told = []
        for server in cluster.servers:
            lines = dict(
                line.split(":", 1)
                for line in server.command("INFO", "stats").splitlines()
                if ":" in line
            )
            told.append((int(lines["total_reads_processed"]), int(lines["keyspace_hits"])))
        return told

    before = events()
    assert await store.load(keys) == sessions * 5
    for (reads, hits), (reads_then, hits_then) in zip(events(), before, strict=True):
        assert hits - hits_then == 5
        # One of ours, and what the servers and redis-cli themselves have read meanwhile.
        assert 1 <= reads - reads_then < 5


async def test_changes_are_heard_from_every_server(
    store: RedisStore, other: RedisStore, cluster: RedisCluster, clock: Clock
) -> None:
    sessions = await one_on_each(store, cluster, clock.now)
    ears = await hearing(other)
    for session in sessions:
        cluster.command("DEL", name(session))
        await wait_until(partial(ears.keys.__contains__, session.key), seconds=0.1)


async def test_one_lost_notification_connection_is_enough_to_trust_nothing(
    store: RedisStore, cluster: RedisCluster
) -> None:
    ears = await hearing(store)
    for server in cluster.servers:
        lost = ears.trust_was_lost
        with capture_logs() as logs:
            server.command("CLIENT", "KILL", "TYPE", "normal")
            await wait_until(partial(lambda n: ears.trust_was_lost > n, lost), seconds=0.5)
        await wait_until(lambda: ears.trusted, what="changes are heard again")
        assert {line["event"] for line in logs} == {"changes_not_heard"}


async def test_a_flush_of_one_server_takes_every_copy_away(
    store: RedisStore, cluster: RedisCluster
) -> None:
    ears = await hearing(store)
    cluster.servers[1].command("FLUSHALL")
    await wait_until(lambda: ears.all, seconds=0.2)


def move(cluster: RedisCluster, session: Session) -> tuple[RedisServer, RedisServer, str]:
    """Let a session's slot begin to move; return from where, to where, and the slot."""
    at = cluster.servers[0].command("CLUSTER", "KEYSLOT", name(session)).strip()
    source = cluster.owner(name(session))
    target = next(server for server in cluster.servers if server is not source)
    source_id, target_id = (s.command("CLUSTER", "MYID").strip() for s in (source, target))
    target.command("CLUSTER", "SETSLOT", at, "IMPORTING", source_id)
    source.command("CLUSTER", "SETSLOT", at, "MIGRATING", target_id)
    return source, target, at


def finish(cluster: RedisCluster, target: RedisServer, at: str) -> None:
    target_id = target.command("CLUSTER", "MYID").strip()
    for server in (target, *cluster.servers):
        server.command("CLUSTER", "SETSLOT", at, "NODE", target_id)


async def test_a_session_is_found_while_its_slot_moves_and_afterwards(
    store: RedisStore, cluster: RedisCluster, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(store)
    source, target, at = move(cluster, session)
    source.command("MIGRATE", "127.0.0.1", str(target.port), name(session), "0", "1000")
    assert await store.load([session.key]) == [session]
    moved = touched(session, LIFETIME, now=clock.now + 100)
    target.command("SCRIPT", "FLUSH")
    await store.touch(moved)
    assert await store.load([session.key]) == [moved]
    lost = ears.trust_was_lost
    finish(cluster, target, at)
    assert await store.load([session.key]) == [moved]
    assert ears.trust_was_lost > lost
    await wait_until(lambda: ears.trusted, what="changes are heard again")
    target.command("DEL", name(session))
    await wait_until(lambda: session.key in ears.keys, seconds=0.1)


async def test_slots_that_moved_unasked_are_noticed_and_nothing_held_counts(
    store: RedisStore, cluster: RedisCluster, clock: Clock
) -> None:
    session = a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(store)
    _, target, at = move(cluster, session)
    cluster.command("DEL", name(session))
    finish(cluster, target, at)
    await wait_until(lambda: ears.trust_was_lost and ears.trusted, seconds=3.0)


async def test_one_of_the_named_servers_is_enough(cluster: RedisCluster, clock: Clock) -> None:
    last = cluster.servers[2].port
    store = RedisStore(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{last}", wall=clock)
    await store.open()
    session = a_session(now=clock.now)
    await store.create(session)
    assert await store.load([session.key]) == [session]
    await store.close()


async def test_no_server_at_all_is_unavailable() -> None:
    store = RedisStore(f"redis+cluster://127.0.0.1:{free_port()}", timeout=0.5)
    with pytest.raises(StoreUnavailable):
        await store.open()
    await store.close()


async def test_a_server_that_is_no_cluster_says_so() -> None:
    with RedisServer() as alone:
        store = RedisStore(f"redis+cluster://127.0.0.1:{alone.port}", timeout=0.5)
        with pytest.raises(StoreUnavailable, match="cluster support disabled"):
            await store.open()
        await store.close()


async def test_a_lost_primary_is_replaced_and_its_sessions_are_still_there(clock: Clock) -> None:
    with RedisCluster(replicas=True) as cluster:
        store = RedisStore(cluster.url, timeout=0.5, wall=clock)
        await store.open()
        sessions = await one_on_each(store, cluster, clock.now)
        ears = await hearing(store)
        lost = cluster.owner(name(sessions[0]))
        await wait_until(lost.replicated)
        lost.kill()
        await wait_until(lambda: not ears.trusted, seconds=0.5, what="the loss is noticed")

        async def all_there() -> bool:
            try:
                loaded = await store.load([session.key for session in sessions])
            except StoreUnavailable:
                return False
            assert loaded == sessions  # never: signed out
            return True

        await wait_until(all_there, seconds=10.0, what="another primary has taken over")
        await wait_until(lambda: ears.trusted, seconds=3.0, what="changes are heard again")
        await store.delete(sessions[0].key)
        assert await store.load([sessions[0].key]) == [None]
        await store.close()


async def test_a_primary_that_was_told_to_step_down_is_left(clock: Clock) -> None:
    with RedisCluster(replicas=True) as cluster:
        store = RedisStore(cluster.url, timeout=1.0, wall=clock)
        await store.open()
        [session, *_] = await one_on_each(store, cluster, clock.now)
        ears = await hearing(store)
        old = cluster.owner(name(session))
        replicas = [s for s in cluster.servers if f"master_port:{old.port}" in s.command("INFO")]
        replicas[0].command("CLUSTER", "FAILOVER")
        await wait_until(lambda: ears.trust_was_lost and ears.trusted, seconds=5.0)
        assert cluster.owner(name(session)) is replicas[0]
        replicas[0].command("DEL", name(session))
        await wait_until(lambda: session.key in ears.keys, seconds=0.2)
        assert await store.load([session.key]) == [None]
        await store.close()


async def test_many_at_once_are_renewed_listed_and_revoked_across_servers(
    store: RedisStore, cluster: RedisCluster, clock: Clock
) -> None:
    sessions = [a_session(now=clock.now - age) for age in range(30)]
    await asyncio.gather(*map(store.create, sessions))
    renewed = [replace(s, key=SessionKey(s.key[::-1])) for s in sessions]
    done = await asyncio.gather(
        *(store.replace(old, new) for old, new in zip(sessions, renewed, strict=True))
    )
    assert all(done)
    assert await store.of_user("ada") == renewed
    assert [await store.find(s.id) for s in sessions] == renewed
    assert await store.delete_many([s.key for s in renewed]) == 30
    assert await store.of_user("ada") == []


async def test_what_leads_to_a_session_comes_before_it_and_goes_after_it(
    cluster: RedisCluster, clock: Clock
) -> None:
    lists = cluster.owner("gateway:user:ada")
    sessions: list[Session] = []
    while len(sessions) < 2:
        session = a_session(now=clock.now)
        if lists not in (cluster.owner(name(session)), cluster.owner(f"gateway:id:{session.id}")):
            sessions.append(session)
    made, never = sessions
    store = RedisStore(cluster.url, timeout=0.2, wall=clock)
    await store.open()
    await store.create(made)
    lists.pause()
    try:
        # Without a place in the user's list there is no session, which nobody could revoke.
        with pytest.raises(StoreUnavailable):
            await store.create(never)
        assert await store.load([never.key]) == [None]
        # What ends is over at once, though the list still names it.
        assert await store.delete(made.key) is True
        assert await store.load([made.key]) == [None]
    finally:
        lists.resume()
    await wait_until(cluster.whole, seconds=10.0)
    assert await store.of_user("ada") == []
    await store.close()
