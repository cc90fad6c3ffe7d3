"""What every store of another framework's sessions promises. Their tests subclass it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import pytest
from _pytest.mark.structures import ParameterSet
from redis import Redis
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.formats import adapter, npm_cookies
from gateway.formats.foreign import Refused
from gateway.formats.js_dates import iso
from gateway.model import Lifetime, Session, SessionId, SessionKey, User
from gateway.rules.adapter_tables import Tables
from gateway.stores.cached import CachedSessions
from gateway.stores.protocol import LookupStore
from tests.formats import foreign_vectors
from tests.formats.foreign_vectors import Vector
from tests.servers import wait_until
from tests.stores.contract import Clock, hearing

HOUR = 3600.0
LIFETIME = Lifetime(max_age=1e9, idle_timeout=30 * 86400.0, update_age=86400.0)

# What a browser may send where a session's id or token is expected.
HOSTILE = [
    "",
    "\0",
    "token\0",
    "\ud800",
    "*",
    "%",
    "' OR '1'='1",
    '"; DROP TABLE "session"; --',
    "x\r\nDEL y\r\n",
    "by-user-id:1",
    "session:1",
    "__proto__",
    "null",
    "[]",
    "Łódź \U0001f5dd",
    "x" * 5000,
]


def session_of(
    key: SessionKey, payload: Mapping[str, Any], *, touched_at: float, expires_at: float
) -> Session | None:
    """Make a session as a source does, and keep all of the payload in it."""
    user = payload.get("user")
    described = user if isinstance(user, dict) else {}
    return Session(
        key=key,
        id=SessionId("of the app"),
        user=User(id=str(described.get("id", "")), provider="app", name=described.get("name")),
        created_at=0.0,
        ends_at=1e11,
        touched_at=touched_at,
        expires_at=expires_at,
        data=payload,
    )


class App(Protocol):
    """Does to the backend what the app does."""

    def sign_in(self, *, expires: float, name: str = "Ada", token: str | None = None) -> str:
        """Make a session that ends at this moment, and return what its cookie holds."""
        ...

    def sign_out(self, token: str) -> None: ...

    def rename(self, token: str, name: str) -> None:
        """Change the name of a session's user."""
        ...

    def damage(self, token: str) -> None:
        """Make a session one that nobody can read."""
        ...

    def contents(self) -> object:
        """Return all that is there, and how long it lives, but for what passes by itself."""
        ...

    def away(self) -> None:
        """Let the backend be gone."""
        ...


def new_token() -> str:
    return os.urandom(16).hex()


class ForeignContract:
    """Needs ``app``, ``clock``, ``store`` (which writes nothing), opened, with ``clock`` as its
    clock, and ``moving``: one that moves expiries."""

    caches = True
    """Whether changes are heard, so that copies may be kept."""

    async def test_a_session_of_the_app_is_found(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        token = app.sign_in(expires=clock.now + HOUR, name="Ada Łovelace")
        [session] = await store.load([SessionKey(token)])
        assert session is not None
        assert session.user.name == "Ada Łovelace"
        assert session.expires_at == pytest.approx(clock.now + HOUR, abs=0.5)

    async def test_many_are_found_in_order_with_none_for_what_is_not_there(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        one, other = (app.sign_in(expires=clock.now + HOUR, name=name) for name in ("Ada", "Grace"))
        keys = [SessionKey(key) for key in (other, new_token(), one, other)]
        names = [session and session.user.name for session in await store.load(keys)]
        assert names == ["Grace", None, "Ada", "Grace"]

    async def test_nothing_is_asked_for_nothing(self, store: LookupStore) -> None:
        assert await store.load([]) == []

    async def test_an_expired_one_is_none(self, store: LookupStore, app: App, clock: Clock) -> None:
        token = app.sign_in(expires=clock.now + HOUR)
        app.sign_in(expires=clock.now + 2 * HOUR)
        self.let_pass(app, token, clock, HOUR + 1)
        assert await store.load([SessionKey(token)]) == [None]

    async def test_one_that_the_app_ended_is_none(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        token = app.sign_in(expires=clock.now + HOUR)
        assert await store.load([SessionKey(token)]) != [None]
        app.sign_out(token)
        assert await store.load([SessionKey(token)]) == [None]

    async def test_a_damaged_one_signs_nobody_in_and_is_logged_without_its_token(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        damaged, sound = (app.sign_in(expires=clock.now + HOUR) for _ in range(2))
        app.damage(damaged)
        with capture_logs() as logs:
            found = await store.load([SessionKey(damaged), SessionKey(sound)])
        assert found[0] is None
        assert found[1] is not None
        assert [line["event"] for line in logs] == ["corrupt_record"]
        assert damaged not in str(logs)

    async def test_whatever_a_browser_sends_is_no_session_and_keeps_nobody_else_out(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        token = app.sign_in(expires=clock.now + HOUR)
        before = app.contents()
        found = await store.load([*map(SessionKey, HOSTILE), SessionKey(token)])
        assert found[:-1] == [None] * len(HOSTILE)
        assert found[-1] is not None
        assert app.contents() == before

    @pytest.mark.parametrize("change", [str.upper, str.title, lambda t: t[:-1], lambda t: t + " "])
    async def test_a_token_that_is_nearly_right_is_wrong(
        self, store: LookupStore, app: App, clock: Clock, change: Callable[[str], str]
    ) -> None:
        token = "abcdef" + app.sign_in(expires=clock.now + HOUR, token="abcdef-x")[6:]
        assert await store.load([SessionKey(token)]) != [None]
        assert await store.load([SessionKey(change(token))]) == [None]

    async def test_nobody_knows_our_public_ids(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        app.sign_in(expires=clock.now + HOUR)
        assert await store.find(SessionId("of the app")) is None

    async def test_nothing_is_written_while_the_app_moves_the_expiry(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        token = app.sign_in(expires=clock.now + HOUR)
        over = app.sign_in(expires=clock.now + HOUR / 2)
        before = app.contents()
        [session] = await store.load([SessionKey(token)])
        assert session is not None
        await store.touch(moved(session, clock))
        await store.load([SessionKey(over), SessionKey(new_token())])
        assert app.contents() == before

    async def test_the_gateway_moves_the_expiry_as_a_request_of_the_app_would(
        self, moving: LookupStore, app: App, clock: Clock
    ) -> None:
        token = app.sign_in(expires=clock.now + HOUR)
        [session] = await moving.load([SessionKey(token)])
        assert session is not None
        await moving.touch(moved(session, clock))
        [after] = await moving.load([SessionKey(token)])
        assert after is not None
        assert after.expires_at == pytest.approx(clock.now + self.life, abs=0.5)
        assert after.user == session.user

    async def test_what_the_app_ended_does_not_come_back_by_a_touch(
        self, moving: LookupStore, app: App, clock: Clock
    ) -> None:
        token = app.sign_in(expires=clock.now + HOUR)
        [session] = await moving.load([SessionKey(token)])
        assert session is not None
        app.sign_out(token)
        before = app.contents()
        await moving.touch(moved(session, clock))
        assert app.contents() == before

    async def test_a_copy_is_true_until_the_app_changes_or_ends_the_session(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        cached = CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=clock)
        if self.caches:
            await hearing(store)
        key = SessionKey(app.sign_in(expires=clock.now + HOUR))
        held = await cached.get(key)
        assert held is not None
        if self.caches:
            await wait_until(lambda: self.held(cached, key, clock), what="a copy is kept")
        else:
            assert cached.peek(key, clock.now) is None

        async def name() -> str | None:
            held = await cached.get(key)
            return None if held is None else held.session.user.name

        app.rename(key, "Countess")

        async def is_renamed() -> bool:
            return await name() == "Countess"

        await wait_until(is_renamed, seconds=2.0, what="the change is heard")
        app.sign_out(key)

        async def is_gone() -> bool:
            return await cached.get(key) is None

        await wait_until(is_gone, seconds=2.0, what="the end is heard")
        await cached.close()

    async def test_a_backend_that_is_away_is_no_sign_out(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        token = app.sign_in(expires=clock.now + HOUR)
        await store.load([SessionKey(token)])
        app.away()
        with pytest.raises(StoreUnavailable) as caught:
            await store.load([SessionKey(token)])
        assert token not in str(caught.value)
        with pytest.raises(StoreUnavailable):
            await store.ping()

    life = 30 * 86400.0
    """Seconds that a session lives after its expiry was moved."""

    def let_pass(self, app: App, token: str, clock: Clock, seconds: float) -> None:
        """Let time pass, until a session has expired."""
        clock.now += seconds

    async def held(self, cached: CachedSessions, key: SessionKey, clock: Clock) -> bool:
        await cached.get(key)
        return cached.peek(key, clock.now) is not None


class AdapterContract(ForeignContract):
    """What those promise besides that read what an adapter of NextAuth keeps."""

    async def test_at_its_very_last_millisecond_a_session_is_still_one(
        self, store: LookupStore, app: App, clock: Clock
    ) -> None:
        clock.now = 1_795_200_000.125
        key = SessionKey(app.sign_in(expires=clock.now))
        [session] = await store.load([key])
        assert session is not None
        assert clock.now < session.expires_at
        clock.now += 0.0015
        assert await store.load([key]) == [None]
        assert session.expires_at <= clock.now


class AppWithTables(App, Protocol):
    tables: Tables


class TablesContract(AdapterContract):
    """What those promise besides that read tables; ``make`` takes others."""

    unknown: str
    """How a database names what there is not: an expression."""

    @pytest.mark.parametrize("wrong", ["sessions", "users", "token", "expires", "image"])
    async def test_a_name_that_is_wrong_is_told_at_the_start(
        self, make: Callable[..., LookupStore], app: AppWithTables, wrong: str
    ) -> None:
        names: dict[str, Any] = {wrong: "nowhere"}
        store = make(tables=replace(app.tables, **names))
        with pytest.raises(StoreUnavailable, match=self.unknown):
            await store.open()
        await store.close()


def moved(session: Session, clock: Clock) -> Session:
    """Return the session with its times moved to now, as whoever touches it does."""
    life = session.expires_at - session.touched_at
    return replace(session, touched_at=clock.now, expires_at=clock.now + life)


async def means_the_same(
    store: LookupStore, vector: Vector, token: str, clock: Clock
) -> Session | None:
    """Compare what a store, which moves expiries, makes of a vector with what the app made of it.

    Return the session as it is after the request.
    """
    [session] = await store.load([SessionKey(token)])
    is_session = vector.get("recommendation", vector["kind"]) in ("valid", "accept")
    assert (session is not None) == is_session
    if session is None or vector["kind"] != "valid":
        return session
    told = session.data["user"]
    assert told == {name: vector["expected"]["user"][name] for name in told}
    update, config = vector["expected"]["db_update"], vector["config"]
    expires, age = round(session.expires_at * 1000) - 1, config["max_age"]
    assert expires == vector["expires"] * 1000
    due = adapter.is_due(expires, clock.now, max_age=age, update_age=config["update_age"])
    assert due == (update is not None)
    if not due:
        return session
    await store.touch(moved(session, clock))
    [after] = await store.load([SessionKey(token)])
    assert after is not None
    assert iso(round(after.expires_at * 1000) - 1) == update["expires"]
    return after


def restore(redis: Redis, vector: Vector) -> None:
    """Put into Redis what was there when the vector was made."""
    for each in vector["store_entries"]:
        if each["type"] == "redis-hash":
            redis.hset(each["key"], mapping=each["value"])
        else:
            redis.set(each["key"], each["value"], ex=each["ttl"])


def token_of(vector: Vector) -> str:
    """Return what the cookie of a vector holds for the app; empty: no token."""
    flavours = npm_cookies.Flavour
    old = vector["config"]["framework"] == "v4"
    sent = foreign_vectors.cookies(vector, flavours.UNQUOTING if old else flavours.VERBATIM)
    try:
        return adapter.token(sent.get(vector["cookie_name"], ""))
    except Refused:
        return ""


def of_adapters(*names: str) -> list[ParameterSet]:
    """Return the vectors that these adapters made."""
    cases = foreign_vectors.cases("next-auth-db-sql")
    return [case for case in cases if _adapter(*case.values) in names]


def _adapter(vector: object) -> str:
    assert isinstance(vector, dict)
    name: str = vector["config"]["adapter"]
    return name
