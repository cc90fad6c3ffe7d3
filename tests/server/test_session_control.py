"""Clients that leave while what the answer says of their session is being done."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from gateway.errors import StoreUnavailable
from gateway.formats.token import key_of
from gateway.login.callbacks import Callbacks, Threads
from gateway.model import CookieShape, Lifetime, Remember, Session, SessionKey, User
from gateway.server.exchange import Exchange
from gateway.server.session_control import Ignored, SessionControl
from gateway.server.session_cookie import TokenCookie
from gateway.stores.begun import Visit
from gateway.stores.cached import CachedSessions
from gateway.stores.keeper import Keeper
from gateway.stores.memory import MemoryStore

ADA = User(id="ada", roles=("editor",))
CREATE = (b'X-Session-Create: {"user":{"id":"ada"}}',)
PROMOTE = (b'X-Session-Update: {"user":{"roles":["admin"]}}',)
DESTROY = (b"X-Session-Destroy: 1",)


class SlowStore(MemoryStore):
    """Answers once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.let.set()

    async def _wait(self) -> None:
        self.asked.set()
        await self.let.wait()

    async def create(self, session: Session) -> None:
        await self._wait()
        await super().create(session)

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        await self._wait()
        return await super().replace(old, new, left=left)

    async def delete_many(self, keys: Any) -> int:
        await self._wait()
        return await super().delete_many(keys)


class BrokenStore(MemoryStore):
    async def create(self, session: Session) -> None:
        raise StoreUnavailable("gone")


def exchange(presented: SessionKey | None) -> Exchange:
    return cast(
        Exchange,
        SimpleNamespace(
            fields=SimpleNamespace(headers=CIMultiDict({"User-Agent": "Mozilla/5.0"})),
            connection=SimpleNamespace(transport=object()),
            client="192.0.2.1",
            identity=None,
            presented=presented,
            set_cookies=(),
            request_id="r-1",
        ),
    )


def control(store: MemoryStore, keeper: Keeper) -> SessionControl:
    session = SimpleNamespace(
        cookie=CookieShape(name="gateway_session"),
        remember=Remember.ALWAYS,
        lifetime=Lifetime(),
    )
    return SessionControl(
        route="/app/**",
        upstream="app",
        session=cast(Any, session),
        keeper=keeper,
        sessions=CachedSessions(store, enabled=False, lifetime=Lifetime(), wall=lambda: 0.0),
        cookies=TokenCookie(session.cookie, key_of),
        callbacks=Callbacks(None, Threads()),
        wall=lambda: 0.0,
    )


async def left_during(store: SlowStore, obeyed: SessionControl, lines: tuple[bytes, ...]) -> None:
    """Let the client leave while the store is busy with what these lines say."""
    sessions = await store.of_user("ada")
    asking = exchange(sessions[0].key if sessions else None)
    store.asked.clear()
    store.let.clear()
    task = asyncio.create_task(obeyed.obey(asking, lines))
    async with asyncio.timeout(5):
        await store.asked.wait()
    cast(Any, asking.connection).transport = None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.let.set()
    await obeyed.settled()


async def test_a_session_that_nobody_is_there_to_take_is_ended_again() -> None:
    store = SlowStore()
    keeper = Keeper(store, Lifetime())
    await left_during(store, control(store, keeper), CREATE)
    assert await store.of_user("ada") == []


async def test_a_change_that_has_begun_is_done_whole() -> None:
    store = SlowStore()
    keeper = Keeper(store, Lifetime())
    old = await keeper.begin(ADA, Visit())
    await left_during(store, control(store, keeper), PROMOTE)
    [new] = await store.of_user("ada")
    assert new.user.roles == ("admin",)
    assert await store.load([old.session.key]) == [None]


async def test_so_is_an_end() -> None:
    store = SlowStore()
    keeper = Keeper(store, Lifetime())
    await keeper.begin(ADA, Visit())
    await left_during(store, control(store, keeper), DESTROY)
    assert await store.of_user("ada") == []


async def test_nobody_gets_a_cookie_for_what_could_not_be_stored() -> None:
    store = BrokenStore()
    asking = exchange(None)
    with pytest.raises(StoreUnavailable):
        await control(store, Keeper(store, Lifetime())).obey(asking, CREATE)
    assert asking.set_cookies == ()


async def test_what_means_nothing_is_told_once_a_minute_with_how_often_it_came() -> None:
    now = [0.0]
    ignored = Ignored("/x", clock=lambda: now[0])
    with capture_logs() as lines:
        for second in range(0, 121, 10):
            now[0] = float(second)
            await ignored.obey(exchange(None), DESTROY)
    assert [(line["route"], line["answers"]) for line in lines] == [("/x", 1), ("/x", 6), ("/x", 6)]
