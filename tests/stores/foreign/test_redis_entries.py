from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from redis import Redis

from gateway.errors import StoreUnavailable
from gateway.formats import express, next_session, npm_cookies
from gateway.formats.foreign import Refused
from gateway.model import SessionKey
from gateway.stores.foreign.redis_entries import Format, RedisEntries
from gateway.stores.protocol import LookupStore
from tests.formats import foreign_vectors
from tests.formats.foreign_vectors import Vector
from tests.redis_topology import RedisCluster
from tests.servers import RedisServer, wait_for, wait_until
from tests.stores.contract import Clock, hearing
from tests.stores.foreign.contract import (
    App,
    ForeignContract,
    moved,
    new_token,
    restore,
    session_of,
)

MAX_AGE = 7200.0


class RedisApp(App):
    """Writes entries as connect-redis does."""

    def __init__(self, server: RedisServer, form: str) -> None:
        self.server = server
        self._form = form

    def sign_in(self, *, expires: float, name: str = "Ada", token: str | None = None) -> str:
        token = token or new_token()
        self._put(token, name, f"PX {round((expires - time.time()) * 1000)}")
        return token

    def sign_out(self, token: str) -> None:
        self.server.command("DEL", f"sess:{token}")

    def rename(self, token: str, name: str) -> None:
        self._put(token, name, "KEEPTTL")

    def damage(self, token: str) -> None:
        self.server.command("SET", f"sess:{token}", "{broken", "KEEPTTL")

    def contents(self) -> object:
        keys = sorted(self.server.command("KEYS", "*").split("\n"))
        # To the minute: it goes on by itself.
        return [
            (key, self.server.command("GET", key), int(self.server.command("TTL", key)) // 60)
            for key in filter(None, keys)
        ]

    def away(self) -> None:
        self.server.kill()

    def _put(self, token: str, name: str, options: str) -> None:
        cookie: dict[str, Any] = {"path": "/", "httpOnly": True, "expires": "2020-01-01T00:00:00Z"}
        if self._form == "express":
            cookie["originalMaxAge"] = MAX_AGE * 1000
        else:
            cookie["maxAge"] = MAX_AGE
        entry = {"cookie": cookie, "user": {"id": token[:4], "name": name}}
        self.server.command("SET", f"sess:{token}", json.dumps(entry), *options.split())


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


FORMS: dict[str, Format] = {"express": express, "next": next_session}


def entries(server: RedisServer, clock: Clock, form: str = "express", **more: Any) -> RedisEntries:
    return RedisEntries(
        server.url, FORMS[form], session_of, name=form, wall=clock, timeout=1.0, **more
    )


@pytest.mark.parametrize("form", sorted(FORMS))
class TestRedisEntries(ForeignContract):
    life = MAX_AGE

    @pytest.fixture
    def app(self, server: RedisServer, form: str) -> App:
        return RedisApp(server, form)

    @pytest.fixture
    def make(self, server: RedisServer, clock: Clock, form: str) -> Callable[..., LookupStore]:
        return partial(entries, server, clock, form)

    def let_pass(self, app: App, token: str, clock: Clock, seconds: float) -> None:
        """Redis has a clock of its own."""
        assert isinstance(app, RedisApp)
        app.server.command("PEXPIRE", f"sess:{token}", "1")
        wait_for(lambda: app.server.command("EXISTS", f"sess:{token}") == "0\n")


# --- how long an entry lives ---------------------------------------------------------------------


def put(server: RedisServer, sid: str, entry: object, *options: str) -> SessionKey:
    server.command("SET", f"sess:{sid}", json.dumps(entry), *options)
    return SessionKey(sid)


async def test_the_key_s_own_life_counts_and_not_what_the_entry_says_of_it(
    server: RedisServer, clock: Clock
) -> None:
    store = entries(server, clock)
    cookie = {"originalMaxAge": 3_600_000, "expires": "2020-01-01T00:00:00.000Z"}
    key = put(server, "a", {"cookie": cookie, "user": {"id": 1}}, "EX", "600")
    [session] = await store.load([key])
    assert session is not None
    assert session.expires_at == pytest.approx(clock.now + 600, abs=0.5)
    assert session.touched_at == pytest.approx(clock.now - 3000, abs=0.5)
    await store.close()


async def test_an_entry_without_end_lives_a_day_from_each_look_and_a_touch_gives_it_no_end(
    server: RedisServer, clock: Clock
) -> None:
    store = entries(server, clock, touch=True)
    key = put(server, "a", {"cookie": {"originalMaxAge": 1000}, "user": {"id": 1}})
    [session] = await store.load([key])
    assert session is not None
    assert session.expires_at == clock.now + 86400
    await store.touch(moved(session, clock))
    assert server.command("TTL", "sess:a") == "-1\n"
    await store.close()


@pytest.mark.parametrize(
    ("form", "cookie", "ttl", "expected"),
    [
        pytest.param("express", {"originalMaxAge": 90_500}, {}, 91, id="milliseconds, rounded up"),
        pytest.param("express", {"originalMaxAge": None}, {}, 86400, id="of a browser's session"),
        pytest.param("express", {"originalMaxAge": None}, {"ttl": 60.0}, 60, id="the app's ttl"),
        pytest.param("express", {}, {"ttl": 0.5}, 1, id="EXPIRE 0 would end it"),
        pytest.param("next", {"maxAge": 90}, {}, 90, id="seconds"),
        pytest.param("next", {}, {}, 86400, id="no age"),
    ],
)
async def test_a_touch_is_the_framework_s_own_expire(
    server: RedisServer,
    clock: Clock,
    form: str,
    cookie: dict[str, object],
    ttl: dict[str, float],
    expected: int,
) -> None:
    store = entries(server, clock, form, touch=True, **ttl)
    entry = {"cookie": cookie, "user": {"id": 1}}
    key = put(server, "a", entry, "EX", "20")
    [session] = await store.load([key])
    assert session is not None
    await store.touch(session)
    assert expected - 1 < int(server.command("PTTL", "sess:a")) / 1000 <= expected
    assert json.loads(server.command("GET", "sess:a")) == entry
    await store.close()


async def test_the_copies_of_a_touched_session_are_read_anew(
    server: RedisServer, clock: Clock
) -> None:
    store = entries(server, clock, touch=True)
    key = put(server, "a", {"cookie": {"originalMaxAge": 90_000}, "user": {"id": 1}}, "EX", "20")
    ears = await hearing(store)
    [session] = await store.load([key])
    assert session is not None
    await store.touch(session)
    await wait_until(lambda: key in ears.keys, what="the touch is heard")
    await store.close()


# --- where it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["sess:", "app:s*ss:", ""])
async def test_changes_are_heard_below_the_app_s_prefix(
    server: RedisServer, clock: Clock, prefix: str
) -> None:
    store = entries(server, clock, prefix=prefix)
    ears = await hearing(store)
    server.command("SET", f"{prefix}a", "x")
    await wait_until(lambda: SessionKey("a") in ears.keys, what="the change is heard")
    if prefix:
        server.command("SET", "other:b", "x")
        server.command("SET", f"{prefix}c", "x")
        await wait_until(lambda: SessionKey("c") in ears.keys, what="the change is heard")
        assert ears.keys == ["a", "c"]
    await store.close()


async def test_an_account_that_may_only_read_is_enough(server: RedisServer, clock: Clock) -> None:
    server.command("ACL", "SETUSER", "reader", "on", ">secret", "~sess:*", "&*", "-@all")
    server.command("ACL", "SETUSER", "reader", "+hello", "+ping", "+get", "+pttl", "+select")
    server.command("ACL", "SETUSER", "reader", "+client|tracking")
    key = put(server, "a", {"cookie": {}, "user": {"id": 1}}, "EX", "600")
    url = server.url.replace("redis://", "redis://reader:secret@")
    store = RedisEntries(url, express, session_of, name="app", wall=clock)
    await store.open()
    await hearing(store)
    assert await store.load([key]) != [None]
    await store.close()


async def test_what_is_asked_together_takes_one_round_trip(
    server: RedisServer, clock: Clock
) -> None:
    store = entries(server, clock)
    await store.open()
    keys = [put(server, f"{n}", {"cookie": {}, "n": n}, "EX", "600") for n in range(50)]
    await store.load(keys[:1])
    reads = int(info(server, "total_reads_processed"))
    assert None not in await store.load(keys)
    # One for the commands; the rest is for asking how many there were.
    assert int(info(server, "total_reads_processed")) - reads <= 3
    await store.close()


def info(server: RedisServer, name: str) -> str:
    lines = dict(line.split(":", 1) for line in server.command("INFO").splitlines() if ":" in line)
    return lines[name]


async def test_a_url_that_is_none_is_named_as_it_is_configured(clock: Clock) -> None:
    with pytest.raises(StoreUnavailable, match=r"^session.accept\[0\].store is not a Redis URL"):
        RedisEntries(
            "redis://:secret@", express, session_of, name="a", setting="session.accept[0].store"
        )


async def test_entries_on_a_cluster_are_read_touched_and_heard(clock: Clock) -> None:
    with RedisCluster() as cluster:
        store = RedisEntries(
            cluster.url, express, session_of, name="app", wall=clock, timeout=5.0, touch=True
        )
        ears = await hearing(store)
        entry = json.dumps({"cookie": {"originalMaxAge": 90_000}, "user": {"id": 1}})
        for n in range(20):
            cluster.command("SET", f"sess:{n}", entry, "EX", "20")
        cluster.command("HSET", "sess:hash", "a", "b")
        keys = [SessionKey(str(n)) for n in range(20)]
        *found, wrong = await store.load([*keys, SessionKey("hash")])
        assert wrong is None
        for session in found:
            assert session is not None
            await store.touch(session)
        assert {cluster.command("TTL", f"sess:{n}").strip() for n in range(20)} <= {"90", "89"}
        await wait_until(lambda: set(keys) <= set(ears.keys), what="all touches are heard")
        await store.close()


# --- what the real packages made -----------------------------------------------------------------


@pytest.fixture
def redis(running: RedisServer) -> Iterator[Redis]:
    with Redis(port=running.port) as redis:
        redis.flushall()
        yield redis


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize(
    ("vector", "form"),
    [
        pytest.param(*param.values, form, id=param.id)
        for name, form in (("express-session-redis", "express"), ("next-session-redis", "next"))
        for param in foreign_vectors.cases(name)
    ],
)
async def test_what_the_real_packages_made_means_the_same_here(
    running: RedisServer, redis: Redis, vector: Vector, form: str
) -> None:
    restore(redis, vector)
    sent = foreign_vectors.cookies(vector, npm_cookies.Flavour.UNQUOTING)
    value = sent.get(vector["cookie_name"], "")
    found = None
    try:
        codec = express if form == "express" else next_session
        sid = codec.session_id(value, vector["secrets"])
    except Refused:
        assert vector["kind"] == "invalid"
        return
    clock = Clock()
    store = entries(running, clock, form, prefix=vector["config"]["key_prefix"])
    [found] = await store.load([SessionKey(sid)])
    await store.close()
    if vector["kind"] == "invalid":
        assert found is None
    else:
        assert found is not None
        told = {name: value for name, value in found.data.items() if name != "cookie"}
        assert told == vector["expected"]["session"]
