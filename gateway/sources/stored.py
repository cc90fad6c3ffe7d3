"""Sessions of which the cookie says the id, and the app's own store the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.config.accepted import Accepted
from gateway.formats.foreign import Refused
from gateway.formats.npm_cookies import Flavour, value
from gateway.model import Lifetime, Session, SessionKey
from gateway.sources.cookie_life import prolonged
from gateway.stores.cached import CachedSessions
from gateway.stores.foreign.protocol import Hearing
from gateway.stores.held import Held
from gateway.stores.protocol import LookupStore, Watcher


class StoredSource(Watcher):
    """A source with a store. Copies are kept as of our own sessions, while changes are heard.

    Args:
        id_of: Returns the id or token in a cookie's value; Refused where it is none.
        prolongs: Whether the framework gives the browser its cookie again as it moves the end.
        count: Told how a cookie was judged.
    """

    def __init__(
        self,
        config: Accepted,
        store: LookupStore,
        *,
        id_of: Callable[[str], str],
        prolongs: bool,
        cache: bool,
        wall: Callable[[], float],
        count: Callable[[str], None],
    ) -> None:
        self.config = config
        self.name = config.name
        self._store = store
        self._id_of = id_of
        self._prolongs = prolongs
        self._count = count
        self._trusted = False
        self._hear = store.hear if cache and isinstance(store, Hearing) else None
        self._cached = CachedSessions(store, enabled=cache, lifetime=Lifetime(), wall=wall)
        store.watch(self)

    @property
    def resting(self) -> bool:
        """Whether the store has not answered lately."""
        return self._cached.resting

    @property
    def heard(self) -> bool:
        """Whether the store tells of every change."""
        return self._trusted

    def changed(self, key: SessionKey) -> None:
        """Leave it to the copies."""

    def all_changed(self) -> None:
        """Leave it to the copies."""

    def trust(self, trusted: bool) -> None:
        """Note whether changes are heard."""
        self._trusted = trusted

    def key(self, cookies: Mapping[str, bytes]) -> SessionKey | None:
        """Return the id that the first of its cookies holds."""
        for name in self.config.cookies:
            raw = cookies.get(name)
            if raw:
                try:
                    return SessionKey(self._id_of(value(raw, Flavour.UNQUOTING)))
                except Refused as refused:
                    self._count(refused.why)
        return None

    def peek(self, key: SessionKey, now: float) -> Held | None:
        """Return the session from memory."""
        if self._hear is not None:
            self._hear()
        return self._cached.peek(key, now)

    async def get(self, key: SessionKey, *, stale_for: float = 0.0) -> Held | None:
        """Return the session, from the store if need be."""
        if self._hear is not None:
            self._hear()
        held = await self._cached.get(key, stale_for=stale_for)
        self._count("no_entry" if held is None else "opened")
        return held

    async def current(self, session: Session) -> Held | None:
        """Return what a session is by now."""
        return await self._cached.get(session.key)

    def due(self, session: Session, now: float) -> bool:
        """Whether ``update_age`` has passed since its end was moved."""
        return self.config.touches and now - session.touched_at >= self.config.update_age

    def touch(self, session: Session, now: float) -> Held:
        """Let it live from now on as long as it would have from its last move."""
        life = session.expires_at - session.touched_at
        return self._cached.move(session, replace(session, touched_at=now, expires_at=now + life))

    def renewed(
        self, key: SessionKey, cookies: Mapping[str, bytes], now: float, *, moved: bool
    ) -> tuple[str, ...]:
        """Return the same cookie with a later end, where the framework sends one."""
        if not (self._prolongs and moved):
            return ()
        name = next(filter(cookies.get, self.config.cookies), None)
        if name is None:
            return ()
        return (prolonged(name, cookies[name].decode("latin-1"), now + self.config.max_age),)

    def steady(self, key: SessionKey) -> str:
        """Return the id."""
        return key

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change."""
        self._store.watch(watcher)

    async def open(self) -> None:
        """Open the store."""
        await self._store.open()

    async def close(self) -> None:
        """Write what is pending, and close the store."""
        await self._cached.close()
        await self._store.close()

    async def ping(self) -> None:
        """Return if the store answers."""
        await self._store.ping()
