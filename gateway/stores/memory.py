"""Sessions in this process's memory: for trying things out. They end with the process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from gateway.errors import StoreUnavailable
from gateway.model import Session, SessionId, SessionKey
from gateway.rules.sessions import is_over
from gateway.stores.protocol import Watcher
from gateway.stores.watchers import Watchers

# More than one for each that is added, so that the expired ones never gather.
_EXAMINED_PER_CREATE = 4


class MemoryStore:
    """A ``SessionStore`` of one process. Nobody else can change it, so watchers hear all."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._sessions: dict[SessionKey, Session] = {}
        self._keys: dict[SessionId, SessionKey] = {}
        self._of_user: dict[str, set[SessionKey]] = {}
        self._to_examine: deque[SessionKey] = deque()
        self._watchers = Watchers()

    async def open(self) -> None:
        """Do nothing: memory is there."""

    async def close(self) -> None:
        """Stop telling watchers."""
        self._watchers.trust(False)
        self._watchers.clear()

    async def ping(self) -> None:
        """Return at once."""

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        return [self._live(key) for key in keys]

    async def create(self, session: Session) -> None:
        """Keep a new session, and forget a few that have expired."""
        self._check(session.key)
        self._put(session)
        self._watchers.changed(session.key)
        self._sweep()

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there."""
        kept = self._live(session.key)
        if kept is None or kept.touched_at > session.touched_at:
            return False
        self._sessions[session.key] = replace(
            kept,
            touched_at=session.touched_at,
            expires_at=min(session.expires_at, kept.ends_at),
        )
        return True

    async def update(self, session: Session) -> bool:
        """Write a session anew, but for its key, ids and times."""
        kept = self._same(session)
        if kept is None:
            return False
        self._sessions[kept.key] = replace(
            session,
            created_at=kept.created_at,
            ends_at=kept.ends_at,
            touched_at=kept.touched_at,
            expires_at=kept.expires_at,
        )
        self._watchers.changed(kept.key)
        return True

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        """Put one session in another's place."""
        if self._same(old) is None:
            return False
        if new.key != old.key:
            self._check(new.key)
        self._remove(old.key)
        self._put(new)
        if left is not None:
            self._sessions[left.key] = left
            self._to_examine.append(left.key)
        self._watchers.changed(old.key)
        return True

    async def delete(self, key: SessionKey) -> bool:
        """End a session; True if it was there."""
        live = self._live(key) is not None
        self._remove(key)
        self._watchers.changed(key)
        return live

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        """End several sessions."""
        return sum([await self.delete(key) for key in dict.fromkeys(keys)])

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        key = self._keys.get(session_id)
        return None if key is None else self._live(key)

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, the newest first."""
        live = filter(None, map(self._live, self._of_user.get(user_id, ())))
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    async def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions."""
        for key in list(self._sessions):
            session = self._live(key)
            if session is not None and session.replaced_by is None:
                yield session

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change."""
        self._watchers.add(watcher)
        watcher.trust(True)

    def _live(self, key: SessionKey) -> Session | None:
        session = self._sessions.get(key)
        return None if session is None or is_over(session, self._wall()) else session

    def _same(self, session: Session) -> Session | None:
        """Return what is kept of this very session, if it lives and was not replaced."""
        kept = self._live(session.key)
        return kept if kept is not None and self._keys.get(session.id) == session.key else None

    def _check(self, key: SessionKey) -> None:
        if self._live(key) is not None:
            raise StoreUnavailable("there is a session under a new one's key")
        self._remove(key)

    def _put(self, session: Session) -> None:
        self._sessions[session.key] = session
        self._keys[session.id] = session.key
        if not session.anonymous:
            self._of_user.setdefault(session.user.id, set()).add(session.key)
        self._to_examine.append(session.key)

    def _sweep(self) -> None:
        now = self._wall()
        for _ in range(min(_EXAMINED_PER_CREATE, len(self._to_examine))):
            key = self._to_examine.popleft()
            session = self._sessions.get(key)
            if session is None:
                continue
            if is_over(session, now):
                self._remove(key)
            else:
                self._to_examine.append(key)

    def _remove(self, key: SessionKey) -> None:
        session = self._sessions.pop(key, None)
        if session is None:
            return
        if session.replaced_by is not None:
            return  # its id is the new one's by now
        self._keys.pop(session.id, None)
        keys = self._of_user.get(session.user.id, set())
        keys.discard(key)
        if not keys:
            self._of_user.pop(session.user.id, None)
