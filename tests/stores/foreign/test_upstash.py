from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from redis import Redis

from gateway.formats.js_dates import iso
from gateway.model import SessionKey
from gateway.stores.foreign import upstash
from gateway.stores.foreign.upstash import UpstashSessions
from gateway.stores.protocol import LookupStore
from tests.formats import foreign_vectors
from tests.formats.foreign_vectors import Vector
from tests.servers import RedisServer, wait_until
from tests.stores.contract import Clock, hearing
from tests.stores.foreign.contract import (
    HOUR,
    AdapterContract,
    App,
    means_the_same,
    moved,
    new_token,
    restore,
    session_of,
    token_of,
)


class UpstashApp(App):
    """Writes keys as the adapter does."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.redis = Redis(port=server.port)

    def sign_in(self, *, expires: float, name: str = "Ada", token: str | None = None) -> str:
        token = token or new_token()
        user = f"of {token}"
        self._user(user, name)
        session = {"sessionToken": token, "userId": user, "expires": iso(int(expires * 1000))}
        self.redis.set(f"user:session:{token}", json.dumps(session))
        self.redis.set(f"user:session:by-user-id:{user}", f"user:session:{token}")
        return token

    def sign_out(self, token: str) -> None:
        self.redis.delete(f"user:session:{token}")

    def rename(self, token: str, name: str) -> None:
        self._user(f"of {token}", name)

    def damage(self, token: str) -> None:
        self.redis.set(f"user:session:{token}", json.dumps({"sessionToken": token}))

    def contents(self) -> object:
        return {key: (self.redis.get(key), self.redis.ttl(key)) for key in self.redis.scan_iter()}

    def away(self) -> None:
        self.server.kill()

    def _user(self, user: str, name: str) -> None:
        described = {"id": user, "name": name, "email": f"{user}@example.com", "image": None}
        self.redis.set(f"user:{user}", json.dumps(described))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def app(server: RedisServer) -> Iterator[UpstashApp]:
    app = UpstashApp(server)
    yield app
    app.redis.close()


def kept(redis: Redis, name: str) -> dict[str, Any]:
    value = redis.get(name)
    assert isinstance(value, bytes)
    found: dict[str, Any] = json.loads(value)
    return found


def sessions(server: RedisServer, clock: Clock, **more: Any) -> UpstashSessions:
    return UpstashSessions(server.url, session_of, wall=clock, **more)


@pytest.fixture
def make(server: RedisServer, clock: Clock) -> Callable[..., LookupStore]:
    return partial(sessions, server, clock)


class TestUpstashSessions(AdapterContract): ...


async def test_the_user_alone_is_told_with_whatever_the_app_knows_of_them(
    store: UpstashSessions, app: UpstashApp, clock: Clock
) -> None:
    key = SessionKey(app.sign_in(expires=clock.now + HOUR))
    user = {"id": f"of {key}", "roles": ["admin"], "tenant": {"id": 7}}
    app.redis.set(f"user:of {key}", json.dumps(user))
    [session] = await store.load([key])
    assert session is not None
    assert session.data == {"user": user}


@pytest.mark.parametrize(
    "user_id",
    [
        pytest.param("session:{token}", id="the session as its own user"),
        pytest.param("session:by-user-id:of {token}", id="an index"),
        pytest.param("nobody", id="nobody"),
        pytest.param("", id="empty"),
    ],
)
async def test_a_session_leads_to_its_user_and_to_nothing_else(
    store: UpstashSessions, app: UpstashApp, clock: Clock, user_id: str
) -> None:
    token = app.sign_in(expires=clock.now + HOUR)
    session = kept(app.redis, f"user:session:{token}")
    session["userId"] = user_id.format(token=token)
    app.redis.set(f"user:session:{token}", json.dumps(session))
    assert await store.load([SessionKey(token)]) == [None]


async def test_a_touch_changes_the_expiry_alone_and_never_moves_it_back(
    server: RedisServer, app: UpstashApp, clock: Clock
) -> None:
    store = sessions(server, clock, touch=True, max_age=HOUR)
    key = SessionKey(app.sign_in(expires=clock.now + HOUR / 2))
    before = kept(app.redis, f"user:session:{key}") | {"device": "Ł"}
    app.redis.set(f"user:session:{key}", json.dumps(before), ex=1000)
    [session] = await store.load([key])
    assert session is not None
    later = moved(session, clock)
    await store.touch(later)
    after = kept(app.redis, f"user:session:{key}")
    assert after == before | {"expires": iso(int((clock.now + HOUR) * 1000))}
    assert app.redis.ttl(f"user:session:{key}") > 990
    await store.touch(replace(later, touched_at=clock.now - 60))
    assert kept(app.redis, f"user:session:{key}") == after
    await store.close()


async def test_what_is_known_of_users_is_bounded(
    server: RedisServer, app: UpstashApp, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstash, "_MOST_KNOWN", 3)
    store = sessions(server, clock)
    ears = await hearing(store)
    keys = [SessionKey(app.sign_in(expires=clock.now + HOUR)) for _ in range(4)]
    await store.load(keys[:3])
    await store.load(keys[:3])
    assert ears.all == 0
    await store.load(keys)
    assert ears.all == 1
    assert ears.trusted
    ears.keys.clear()
    app.rename(keys[3], "Grace")
    await wait_until(lambda: keys[3] in ears.keys, what="the change of the user is heard")
    await store.close()


# --- what the real packages made -----------------------------------------------------------------


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis(running: RedisServer) -> Iterator[Redis]:
    with Redis(port=running.port) as redis:
        redis.flushall()
        yield redis


@pytest.mark.parametrize(
    "vector",
    [
        *foreign_vectors.cases("next-auth-db-upstash"),
        *foreign_vectors.cases("next-auth-db-upstash", "quirks"),
    ],
)
async def test_what_the_real_adapter_made_means_the_same_here(
    running: RedisServer, redis: Redis, vector: Vector
) -> None:
    restore(redis, vector)
    clock = Clock()
    clock.now = vector["now"]
    prefix = vector["config"].get("base_key_prefix", "")
    age = vector["config"]["max_age"]
    store = UpstashSessions(
        running.url, session_of, prefix=prefix, wall=clock, touch=True, max_age=age
    )
    session = await means_the_same(store, vector, token_of(vector), clock)
    if session is not None and vector["kind"] == "valid":
        assert session.data["user"] == vector["expected"]["user"]
    await store.close()
