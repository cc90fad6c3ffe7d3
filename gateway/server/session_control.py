"""Does to sessions what upstreams' answers say, where a route lets them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import structlog
from aiohttp import hdrs

from gateway.config.config import SessionConfig
from gateway.errors import InvalidSessionControl
from gateway.login.callbacks import Callbacks
from gateway.model import AcceptedSession, Remember, Session, SessionKey, User
from gateway.rules import session_control as rules
from gateway.rules.session_control import Create, Destroy, Update
from gateway.server.exchange import Exchange
from gateway.server.session_cookie import SessionCookies, lines
from gateway.stores.begun import Begun, Visit
from gateway.stores.keeper import Keeper
from gateway.stores.live import LiveSessions
from gateway.telemetry.records import fingerprint

_QUIET = 60.0
"""Seconds between two lines of log about the same route: an upstream may say it in each answer."""

log = structlog.get_logger()


class Control(Protocol):
    """What is done about ``X-Session-*`` fields in answers to requests on a route."""

    allowed: bool

    async def obey(self, exchange: Exchange, lines: tuple[bytes, ...]) -> None:
        """Do what they say, or nothing.

        Raises:
            GatewayError: The client must not get the answer; nothing was done.
        """
        ...


class Ignored:
    """On a route without ``session_control``: they mean nothing, and the log says so."""

    allowed = False

    def __init__(self, route: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._route = route
        self._clock = clock
        self._quiet_until = 0.0
        self._dropped = 0

    async def obey(self, exchange: Exchange, lines: tuple[bytes, ...]) -> None:
        """Do nothing; they are not among the lines that are passed on."""
        self._dropped += 1
        now = self._clock()
        if now < self._quiet_until:
            return
        self._quiet_until = now + _QUIET
        log.warning(
            "session_control_ignored",
            route=self._route,
            answers=self._dropped,
            request_id=exchange.request_id,
        )
        self._dropped = 0


class SessionControl:
    """On a route with ``session_control: true``.

    What has begun is done whole, whether or not the client waits for it: a session is never half
    changed. A session that nobody is there to take is ended again.
    """

    allowed = True

    def __init__(
        self,
        *,
        route: str,
        upstream: str,
        session: SessionConfig,
        keeper: Keeper,
        sessions: LiveSessions,
        cookies: SessionCookies,
        callbacks: Callbacks,
        wall: Callable[[], float],
    ) -> None:
        self._route = route
        self._wall = wall
        self._provider = f"upstream:{upstream}"
        self._cookies = cookies
        self._remember = session.remember
        self._max_age = session.lifetime.max_age
        self._keeper = keeper
        self._sessions = sessions
        self._callbacks = callbacks
        self._under_way: set[asyncio.Task[None]] = set()

    async def obey(self, exchange: Exchange, lines: tuple[bytes, ...]) -> None:
        """Do what the upstream says.

        Raises:
            InvalidSessionControl: It is not valid.
            SignInDenied, CallbackFailed: The operator's callbacks do not let somebody in.
            StoreError: It could not be done.
        """
        try:
            await self._obey(exchange, lines)
        except InvalidSessionControl as error:
            raise InvalidSessionControl(f"{self._route}: {error}") from error

    async def settled(self) -> None:
        """Wait until all that has begun is done."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _obey(self, exchange: Exchange, lines: tuple[bytes, ...]) -> None:
        now = self._wall()
        match rules.read(lines, provider=self._provider, max_age=self._max_age, now=now):
            case Create() as create:
                await self._whole(self._create(exchange, create))
            case Update() as update:
                await self._whole(self._update(exchange, update))
            case Destroy():
                await self._whole(self._destroy(exchange))

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        await asyncio.shield(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it, and who left needs none

    async def _create(self, exchange: Exchange, create: Create) -> None:
        headers = exchange.fields.headers
        await self._callbacks.admit(create.user, "upstream")
        user, data = await self._callbacks.keep(create.user, create.data, trigger="signIn")
        begun = await self._keeper.begin(
            user,
            Visit(device=headers.get(hdrs.USER_AGENT, ""), address=exchange.client),
            presented=self._key(exchange),
            data=data,
            remembered=self._remembered(create.remember),
            max_age=create.max_age,
        )
        if exchange.connection.transport is None:
            await self._keeper.end(self._sessions.key_of(begun.session))
            return
        self._give(exchange, begun)
        self._note("signed_in", exchange, begun.session)

    def _remembered(self, wanted: bool | None) -> bool:
        match self._remember:
            case Remember.ALWAYS:
                return wanted is not False
            case Remember.ASK:
                return wanted is True
            case Remember.NEVER:
                return False

    async def _update(self, exchange: Exchange, update: Update) -> None:
        session = await self._session(exchange)

        async def to(now: Session) -> tuple[User, Mapping[str, Any]]:
            return rules.patched(now.user, now.data, update)

        changed = None if session is None else await self._keeper.change(session, to)
        if changed is None:  # it ended meanwhile, or never was: there is nothing to change
            log.info("session_update_for_nobody", route=self._route, request_id=exchange.request_id)
            return
        if changed.begun is not None:
            self._give(exchange, changed.begun)
        self._note("session_updated", exchange, changed.session)

    async def _destroy(self, exchange: Exchange) -> None:
        key = self._key(exchange)
        ended = key is not None and await self._keeper.end(key)
        exchange.set_cookies = lines(self._cookies.cleared(_sent(exchange)))
        if ended:
            log.info("signed_out", route=self._route, request_id=exchange.request_id)

    async def _session(self, exchange: Exchange) -> Session | None:
        """Return the session of whoever asked; on a public route nobody has looked yet.

        One that another framework has issued is not ours to change: its app does that itself.
        """
        if exchange.identity is not None:
            session = exchange.identity.session
            return None if isinstance(session, AcceptedSession) else session
        if exchange.presented is None:
            return None
        held = await self._sessions.get(exchange.presented)
        return None if held is None else held.session

    def _give(self, exchange: Exchange, begun: Begun) -> None:
        exchange.set_cookies = lines(self._cookies.given(begun, _sent(exchange)))

    def _note(self, event: str, exchange: Exchange, session: Session) -> None:
        log.info(
            event,
            user=session.user.id,
            session=fingerprint(session.id),
            route=self._route,
            request_id=exchange.request_id,
        )

    def _key(self, exchange: Exchange) -> SessionKey | None:
        """Return the key of the session of whoever asked, if there is one."""
        session = None if exchange.identity is None else exchange.identity.session
        if session is not None and not isinstance(session, AcceptedSession):
            # Another than in the cookie, once it was renewed.
            return self._sessions.key_of(session)
        return exchange.presented


def _sent(exchange: Exchange) -> str:
    cookie: str = exchange.fields.headers.get(hdrs.COOKIE, "")
    return cookie
