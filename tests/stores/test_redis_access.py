"""Redis as operators should run it: through TLS, with our own certificate, as a user who may do
what the gateway does and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.model import CountedBy, RateLimit
from gateway.rates.opening import open_rates
from gateway.stores.protocol import SessionStore
from gateway.stores.redis import RedisStore
from tests.redis_topology import Certificates, RedisCluster, RedisSentinels
from tests.servers import RedisServer, free_port, wait_until
from tests.stores.contract import Clock, Ears, StoreContract, a_session, hearing

# As docs/operations.md says it.
COMMANDS = (
    "+ping +get +mget +set +del +scan +getrange +setrange +pexpire +zadd +zrem +zrange +zrevrange"
    " +zremrangebyscore +eval +evalsha +client|tracking +select"
)
WITH_SENTINELS = "+role"
ON_A_CLUSTER = "+cluster|info +cluster|slots +asking"
PASSWORD = "p:a/s@s w?o&rd%"
USER = "gateway:p%3Aa%2Fs%40s%20w%3Fo%26rd%25"


def allow(server: RedisServer, more: str = "") -> None:
    """Let the server have the user that the documentation tells operators to make."""
    rules = ("on", f">{PASSWORD}", "resetchannels", "~gateway:*", *COMMANDS.split(), *more.split())
    assert server.command("ACL", "SETUSER", "gateway", *rules) == "OK\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def running(certificates: Certificates, tls_port: int) -> Iterator[RedisServer]:
    tls = ("--tls-port", str(tls_port), *certificates.of_a_server)
    with RedisServer(*tls, "--appendfsync", "no") as server:
        allow(server)
        yield server


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    running.command("FLUSHALL")
    return running


@pytest.fixture
def url(server: RedisServer, certificates: Certificates, tls_port: int) -> str:
    return f"rediss://{USER}@127.0.0.1:{tls_port}/3?{certificates.in_a_url}"


@pytest.fixture
def make(url: str, clock: Clock) -> Callable[[], SessionStore]:
    return partial(RedisStore, url, timeout=1.0, wall=clock)


class TestRedisWithTlsAsAUserWhoMayDoLittle(StoreContract): ...


async def _works(store: RedisStore, clock: Clock) -> None:
    """Go through everything a store does."""
    await store.open()
    session, again = a_session(now=clock.now), a_session(now=clock.now)
    await store.create(session)
    ears = await hearing(store)
    await store.touch(session)
    assert await store.update(session)
    assert await store.replace(session, again)
    assert await store.load([session.key, again.key]) == [None, again]
    assert await store.find(again.id) == again
    assert await store.of_user("ada") == [again]
    assert [one async for one in store.all()] == [again]
    assert await store.delete(again.key)
    assert again.key in ears.keys
    await store.close()


async def test_sentinels_may_want_other_credentials_than_the_servers(clock: Clock) -> None:
    of_sentinels = "user sentinel-user on >sentinel-word allchannels allkeys +@all\n"
    # The Sentinels among themselves, and redis-cli in the test, stay the default user.
    with RedisSentinels(tell=of_sentinels) as redis:
        for server in redis.servers:
            allow(server, WITH_SENTINELS)
        url = redis.url.replace("://", f"://{USER}@")
        named = "&sentinel_username=sentinel-user&sentinel_password="
        await _works(RedisStore(f"{url}{named}sentinel-word", wall=clock), clock)
        wrong = RedisStore(f"{url}{named}wrong", timeout=0.5)
        with pytest.raises(StoreUnavailable, match="no Sentinel names a primary"):
            await wrong.open()
        await wrong.close()


async def test_a_cluster_may_want_tls_and_a_user(clock: Clock, certificates: Certificates) -> None:
    with RedisCluster(tls=certificates) as cluster:
        for server in cluster.servers:
            allow(server, ON_A_CLUSTER)
        await _works(RedisStore(cluster.url.replace("://", f"://{USER}@"), wall=clock), clock)


async def test_without_our_certificate_a_server_that_wants_it_is_unavailable(
    server: RedisServer, certificates: Certificates, tls_port: int
) -> None:
    for options in ("", f"?ssl_ca_certs={certificates.folder}/ca.pem"):
        store = RedisStore(f"rediss://127.0.0.1:{tls_port}/0{options}", timeout=0.5)
        with pytest.raises(StoreUnavailable):
            await store.open()
        await store.close()


async def test_a_certificate_must_name_its_server_unless_told_otherwise(
    server: RedisServer, certificates: Certificates, tls_port: int, url: str
) -> None:
    by_name = url.replace("127.0.0.1", "localhost")
    store = RedisStore(by_name, timeout=0.5)
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await store.open()
    await store.close()
    store = RedisStore(f"{by_name}&ssl_check_hostname=false")
    await store.open()
    await store.close()


async def test_every_allowed_command_is_needed(server: RedisServer, url: str, clock: Clock) -> None:
    spare = []
    for command in COMMANDS.split():
        name = command.removeprefix("+")
        if name == "client|tracking":
            continue
        server.command("SCRIPT", "FLUSH")
        server.command("FLUSHALL")
        server.command("ACL", "SETUSER", "gateway", f"-{name}")
        store = RedisStore(url, wall=clock)
        with suppress(StoreUnavailable):
            await _works(store, clock)
            if server.command("DBSIZE", options=["-n", "3"]) == "1\n":  # what a renewal left
                spare.append(name)
        await store.close()
        server.command("ACL", "SETUSER", "gateway", command)
    assert spare == []


async def test_a_user_who_may_not_read_is_told_which_command_is_missing(
    server: RedisServer, url: str, clock: Clock
) -> None:
    server.command("ACL", "SETUSER", "gateway", "-mget")
    store = RedisStore(url, wall=clock)
    with pytest.raises(StoreUnavailable, match=r"NOPERM.*mget") as caught:
        await store.load([a_session(now=clock.now).key])
    assert PASSWORD not in str(caught.value)
    await store.close()
    server.command("ACL", "SETUSER", "gateway", "+mget")


async def test_rate_limits_need_one_command_more(server: RedisServer, url: str) -> None:
    rates = open_rates(url, timeout=1.0, clock=time.monotonic, failed=lambda: None)
    once = RateLimit(requests=1, window=60, by=CountedBy.USER)
    with capture_logs() as logs:
        await rates.count("a", once)
    assert [line["event"][:26] for line in logs] == ["rate limits are not shared"]
    await rates.close()
    server.command("ACL", "SETUSER", "gateway", "+pttl")
    rates = open_rates(url, timeout=1.0, clock=time.monotonic, failed=lambda: None)
    with capture_logs() as logs:
        assert await rates.count("a", once) == 0.0
        assert await rates.count("a", once) > 59.0
    assert logs == []
    await rates.close()
    server.command("ACL", "SETUSER", "gateway", "-pttl")


async def test_a_user_who_may_not_listen_is_served_but_nothing_is_kept(
    server: RedisServer, url: str, clock: Clock
) -> None:
    server.command("ACL", "SETUSER", "gateway", "-client|tracking")
    store, ears = RedisStore(url, wall=clock), Ears()
    await store.open()
    session = a_session(now=clock.now)
    await store.create(session)
    with capture_logs() as logs:
        store.watch(ears)
        await wait_until(lambda: logs)
    assert "client|tracking" in logs[0]["error"]
    assert await store.load([session.key]) == [session]
    assert not ears.trusted
    server.command("ACL", "SETUSER", "gateway", "+client|tracking")
    await wait_until(lambda: ears.trusted, what="changes are heard")
    await store.close()
