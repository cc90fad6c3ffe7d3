"""When what goes on is looked at; ``tests/integration/test_ongoing.py`` has the whole of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from aiohttp.streams import EMPTY_PAYLOAD
from structlog.testing import capture_logs

from gateway.config.load import load
from gateway.errors import Reason, StoreUnavailable
from gateway.formats.sealed import KeyRing
from gateway.formats.token import key_of
from gateway.login.callbacks import Callbacks, Threads
from gateway.model import CookieShape, Session, User
from gateway.rates.memory import MemoryRates
from gateway.server.auth_endpoints import AuthEndpoints
from gateway.server.connection import Connection
from gateway.server.exchange import Exchange
from gateway.server.fields import Fields
from gateway.server.gateway import Gateway
from gateway.server.ongoing import Ongoing
from gateway.server.session_cookie import TokenCookie
from gateway.server.under_way import UnderWay
from gateway.stores.begun import Visit
from gateway.stores.cached import CachedSessions
from gateway.stores.held import Held
from gateway.stores.keeper import Keeper
from gateway.stores.memory import MemoryStore
from gateway.stores.protocol import Watcher
from gateway.stores.sealed_keeper import SealedKeeper
from gateway.stores.sealed_sessions import SealedSessions
from gateway.telemetry.metrics import Metrics
from gateway.upstream.deadlines import Deadlines
from tests.servers import wait_until
from tests.stores.contract import LIFETIME, Clock, a_session
from tests.stores.fakes import FakeStore, Ticks

CONFIG = """\
version: 1
upstreams: {app: http://127.0.0.1:3000}
routes:
  - {path: /public, access: public}
  - {path: /login, access: login}
"""


class Telling(FakeStore):
    """A store that tells several watchers."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers: list[Watcher] = []

    def watch(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)
        watcher.trust(True)

    def tell(self, session: Session) -> None:
        for watcher in self.watchers:
            watcher.changed(session.key)

    def trust(self, trusted: bool) -> None:
        for watcher in self.watchers:
            watcher.trust(trusted)


class Scene:
    """What goes on in one process, with a store and clocks that do as they are told."""

    def __init__(self) -> None:
        self.store, self.clock, self.ticks = Telling(), Clock(), Ticks()
        self.cached = CachedSessions(
            self.store, enabled=True, lifetime=LIFETIME, wall=self.clock, clock=self.ticks
        )
        self.ongoing = Ongoing(self.store, self.cached, wall=self.clock, clock=self.ticks)
        self.deadlines = Deadlines()
        self.gateway = Gateway(
            load(CONFIG, "config.yaml", {}),
            sessions=self.cached,
            keeper=Keeper(self.store, LIFETIME, wall=self.clock),
            cookies=TokenCookie(CookieShape(name="gateway_session"), key_of),
            ongoing=self.ongoing,
            callbacks=Callbacks(None, Threads()),
            endpoints=cast(AuthEndpoints, None),
            metrics=Metrics(),
            deadlines=self.deadlines,
            wall=lambda: 0.0,
            date=lambda: b"",
            rates=MemoryRates(time.monotonic),
            log_dropped=lambda user, names: None,
            log_target=lambda *_, **__: None,
        )
        self.ongoing.go_by(self.gateway)
        self.ended: list[Exchange] = []

    def begin(self, path: str, session: Session | None = None) -> UnderWay:
        """Let an answer go on."""
        exchange = Exchange(
            cast(Connection, None),
            "GET",
            cast(Fields, None),
            EMPTY_PAYLOAD,
            request_id="id",
            started=0.0,
        )
        exchange.path, exchange.status = path, 200
        if session is not None:
            exchange.identity = self.gateway.identity(Held(session))
        return self.ongoing.begin(exchange, lambda: self.ended.append(exchange))

    async def session(self) -> Session:
        """Return a session that is kept by the store, and known here."""
        session = a_session(now=self.clock.now)
        self.store.hold(session)
        await self.cached.get(session.key)
        return session

    async def ends(self, *, seconds: float = 1.0) -> None:
        await wait_until(lambda: self.ended, seconds=seconds, what="it ends")

    async def goes_on(self) -> bool:
        """Whether nothing ends for longer than it takes to look at everything."""
        try:
            async with asyncio.timeout(0.8):
                while not self.ended:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return True
        return False


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.store.gate.set()
    await scene.ongoing.close()
    await scene.cached.close()
    scene.gateway.close()
    scene.deadlines.close()


async def test_a_session_that_is_gone_ends_what_goes_on_in_it_at_once(scene: Scene) -> None:
    session, other = await scene.session(), await scene.session()
    scene.begin("/login", session)
    scene.begin("/login", other)
    await scene.store.delete(session.key)
    with capture_logs() as logs:
        scene.store.tell(session)
        await scene.ends(seconds=0.1)
    [exchange] = scene.ended
    assert exchange.reason is Reason.SESSION_ENDED
    assert logs == [
        {"event": "broken off", "log_level": "info", "request_id": "id", "why": "not_signed_in"}
    ]


async def test_once_everything_is_gone_nothing_goes_on_in_any_session(scene: Scene) -> None:
    for _ in range(3):
        session = await scene.session()
        scene.begin("/login", session)
        await scene.store.delete(session.key)
    scene.begin("/public")
    for watcher in scene.store.watchers:
        watcher.all_changed()
    await wait_until(lambda: len(scene.ended) == 3, seconds=0.1)


async def test_what_happened_before_it_was_listed_is_noticed(scene: Scene) -> None:
    session = await scene.session()
    await scene.store.delete(session.key)
    scene.store.tell(session)
    scene.begin("/login", session)
    await scene.ends()


async def test_what_has_ended_is_forgotten(scene: Scene) -> None:
    session = await scene.session()
    with scene.begin("/login", session):
        pass
    await scene.store.delete(session.key)
    asked = len(scene.store.loads)
    scene.store.tell(session)
    scene.ongoing.go_by(scene.gateway)
    assert await scene.goes_on()
    assert len(scene.store.loads) == asked


async def test_nobody_is_asked_about_what_needs_no_session(scene: Scene) -> None:
    scene.begin("/public")
    scene.store.trust(False)
    scene.store.trust(True)
    assert await scene.goes_on()
    assert scene.store.loads == []


async def test_all_that_goes_on_is_asked_for_together(scene: Scene) -> None:
    sessions = [await scene.session() for _ in range(500)]
    for session in sessions:
        scene.begin("/login", session)
        scene.begin("/login", session)
    scene.store.loads.clear()
    scene.store.trust(False)
    scene.store.trust(True)
    await wait_until(lambda: sum(map(len, scene.store.loads)) == 500)
    assert len(scene.store.loads) == 5
    assert scene.ended == []


@pytest.mark.parametrize("error", [StoreUnavailable("down"), RuntimeError("a bug")])
async def test_a_session_that_changed_and_cannot_be_read_ends_within_a_second(
    scene: Scene, error: Exception
) -> None:
    session = await scene.session()
    scene.begin("/login", session)
    scene.store.error = error
    scene.store.tell(session)
    assert await scene.goes_on()
    scene.ticks.now += 1.0
    await scene.ends()


async def test_what_may_have_changed_goes_on_until_it_can_be_read(scene: Scene) -> None:
    session = await scene.session()
    scene.begin("/login", session)
    scene.store.error = StoreUnavailable("down")
    scene.store.trust(False)
    scene.store.trust(True)
    for _ in range(3):
        scene.ticks.now += 100.0
        assert await scene.goes_on()
    scene.store.error = None
    await scene.store.delete(session.key)
    scene.ticks.now += 1.0
    await scene.ends(seconds=2.0)


async def test_it_never_goes_on_after_the_end_that_its_session_had(scene: Scene) -> None:
    session = await scene.session()
    scene.begin("/login", session)
    scene.store.error = StoreUnavailable("down")
    scene.store.trust(False)
    scene.clock.now = session.expires_at
    await scene.ends()


async def test_a_session_that_was_used_elsewhere_goes_on(scene: Scene) -> None:
    session = await scene.session()
    scene.begin("/login", session)
    moved = scene.cached.touch_soon(session).session
    scene.store.hold(replace(moved, expires_at=moved.ends_at))
    scene.clock.now = session.expires_at + 1
    assert await scene.goes_on()


async def test_the_store_is_asked_again_and_again_while_it_does_not_tell(scene: Scene) -> None:
    session = await scene.session()
    scene.begin("/login", session)
    scene.store.trust(False)
    assert await scene.goes_on()
    await scene.store.delete(session.key)  # and nobody hears of it
    await scene.ends()


async def test_what_goes_on_in_a_sealed_session_that_the_store_has_forgotten_ends_with_its_user(
    scene: Scene,
) -> None:
    store, ring = (
        MemoryStore(wall=scene.clock),
        KeyRing(["a secret of 32 characters at least"], "c"),
    )
    marks = CachedSessions(store, enabled=True, lifetime=LIFETIME, wall=scene.clock)
    sessions = SealedSessions(store, marks, ring=ring, lifetime=LIFETIME, wall=scene.clock)
    keeper = SealedKeeper(
        store, LIFETIME, ring=ring, cookie="c", sessions=sessions, wall=scene.clock
    )
    await scene.ongoing.close()
    scene.ongoing = Ongoing(store, sessions, wall=scene.clock)
    scene.ongoing.go_by(scene.gateway)
    ada, bob = [await keeper.begin(User(id=name), Visit()) for name in ("ada", "bob")]
    for begun in (ada, bob):
        await store.delete(begun.session.key)
        scene.begin("/login", begun.session)
    assert await scene.goes_on()
    await keeper.revoke_user("ada")
    await scene.ends(seconds=0.2)
    assert len(scene.ended) == 1
    await keeper.revoke_user("bob")
    await wait_until(lambda: len(scene.ended) == 2, seconds=0.2)
    await sessions.close()
