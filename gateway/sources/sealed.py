"""Sessions that their cookies hold, encrypted: opened once, and remembered until they are over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Protocol

from gateway.config.accepted import Accepted
from gateway.formats.foreign import Opened, Refused, Why
from gateway.formats.next_chunks import left_over
from gateway.model import Session, SessionKey
from gateway.rules.sessions import is_over
from gateway.sources.cookie_life import cleared, prolonged
from gateway.sources.described import Describing
from gateway.stores.held import Held
from gateway.stores.protocol import Watcher

_AGAIN = 10.0
"""Seconds after which a browser that still sends an older cookie gets another one."""


class Format(Protocol):
    """How one framework seals sessions, under the secrets of one app."""

    def text(self, cookies: Mapping[str, bytes], name: str) -> str | None:
        """Return what the cookies of this name hold, put together; Refused where that is broken."""
        ...

    def open(self, text: str, name: str, now: float) -> Opened:
        """Return what is sealed in it; Refused where that is no session."""
        ...

    def sealed_anew(self, opened: Opened, name: str, now: float) -> dict[str, str]:
        """Return the cookies of the same session that hold longer; none where only the app may."""
        ...


class Shown(str):
    """The key of a cookie that was sent: a hash of what it holds, which is not shown."""

    __slots__ = ("cookie", "text")

    cookie: str
    text: str


class SealedSource:
    """A source without a store.

    Args:
        count: Told how a cookie was judged.
        max_entries: Sessions that are remembered at most.
    """

    resting = False
    heard = True

    def __init__(
        self,
        config: Accepted,
        form: Format,
        *,
        wall: Callable[[], float],
        count: Callable[[str], None],
        max_entries: int = 50_000,
    ) -> None:
        self.config = config
        self.name = config.name
        self._form = form
        self._describing = Describing(config)
        self._wall = wall
        self._count = count
        # Two generations, as in ``CachedSessions``.
        self._young: dict[SessionKey, Held] = {}
        self._old: dict[SessionKey, Held] = {}
        self._half = max(1, max_entries // 2)
        self._renewed: dict[str, float] = {}

    def key(self, cookies: Mapping[str, bytes]) -> SessionKey | None:
        """Return the key of what the first of its cookies holds."""
        for name in self.config.cookies:
            try:
                text = self._form.text(cookies, name)
            except Refused as refused:
                if refused.why is not Why.MISSING:
                    self._count(refused.why)
                continue
            if text:
                hashed = sha256(f"{name}\0{text}".encode("utf-8", "surrogatepass"))
                key = Shown(hashed.hexdigest())
                key.cookie, key.text = name, text
                return SessionKey(key)
        return None

    def peek(self, key: SessionKey, now: float) -> Held | None:
        """Return the session if it was opened before."""
        held = self._young.get(key)
        if held is None:
            held = self._old.pop(key, None)
            if held is None:
                return None
            self._keep(held.session.key, held)
        if now < held.session.expires_at:
            return held
        del self._young[key]
        return None

    async def get(self, key: SessionKey, *, stale_for: float = 0.0) -> Held | None:
        """Return the session, opened now if need be."""
        now = self._wall()
        held = self.peek(key, now)
        if held is not None or not isinstance(key, Shown):
            return held
        try:
            opened = self._form.open(key.text, key.cookie, now)
        except Refused as refused:
            self._count(refused.why)
            return None
        self._count("opened")
        expires_at = opened.expires_at
        session = self._describing.session(
            SessionKey(str(key)),  # without the text: it is long, and may be many times here
            opened.claims,
            touched_at=_issued_at(opened, now),
            expires_at=now + self.config.max_age if expires_at is None else expires_at,
        )
        held = Held(session)
        self._keep(session.key, held)
        return held

    async def current(self, session: Session) -> Held | None:
        """Return the session for as long as its cookie would open."""
        return None if is_over(session, self._wall()) else Held(session)

    def due(self, session: Session, now: float) -> bool:
        """Say no: what a cookie holds is moved by another cookie alone."""
        return False

    def touch(self, session: Session, now: float) -> Held:
        """Return it as it is."""
        return Held(session)

    def renewed(
        self, key: SessionKey, cookies: Mapping[str, bytes], now: float, *, moved: bool
    ) -> tuple[str, ...]:
        """Return the session sealed anew, once ``update_age`` has passed."""
        held = self._young.get(key)
        if not self.config.touches or held is None or not isinstance(key, Shown):
            return ()
        if now - held.session.touched_at < self.config.update_age:
            return ()
        if now - self._renewed.get(str(key), 0.0) < _AGAIN:
            return ()
        try:
            opened = self._form.open(key.text, key.cookie, now)
        except Refused:
            return ()
        if len(self._renewed) >= self._half:
            self._renewed.clear()
        self._renewed[str(key)] = now
        pieces = self._form.sealed_anew(opened, key.cookie, now)
        expires_at = now + self.config.max_age
        return (
            *(prolonged(name, text, expires_at) for name, text in pieces.items()),
            *map(cleared, left_over(cookies, key.cookie, pieces)),
        )

    def steady(self, key: SessionKey) -> str:
        """Return nothing: the cookie is another one whenever the app renews it."""
        return ""

    def watch(self, watcher: Watcher) -> None:
        """Tell nothing: nobody takes a cookie back."""

    async def open(self) -> None:
        """Do nothing: there is no store."""

    async def close(self) -> None:
        """Forget everything."""
        self._young = {}
        self._old = {}

    async def ping(self) -> None:
        """Return: there is nobody to be asked."""

    def _keep(self, key: SessionKey, held: Held) -> None:
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young[key] = held


def _issued_at(opened: Opened, now: float) -> float:
    issued_at = opened.claims.get("iat")
    # Whatever JSON takes for a number: some of them no double holds.
    return float(max(0, min(issued_at, now))) if isinstance(issued_at, int | float) else now
