"""Expiries of sealed sessions that are later than some of their cookies say."""

from __future__ import annotations

import math
from dataclasses import replace

from gateway.model import Lifetime, SealedSession, Session, SessionKey
from gateway.stores.cached import CachedSessions

_AGAIN = 10.0
"""Seconds, at most, after which a browser that still presents an older cookie gets another one."""


class Expiries:
    """What this process has moved, and whom it has told.

    Args:
        marks: Where the store is told of it; None: there is no store.
        most: Sessions that are remembered.
    """

    def __init__(self, lifetime: Lifetime, marks: CachedSessions | None, *, most: int) -> None:
        self._marks = marks
        self._most = most
        self._latest: dict[SessionKey, SealedSession] = {}
        self._written: dict[SessionKey, float] = {}
        # By the session and its cookie's age: who takes no newer one must not keep it from others.
        self._given: dict[tuple[SessionKey, float], float] = {}
        # As `sessions.due` has it.
        self._pause = min(lifetime.update_age, lifetime.idle_timeout / 2)
        self._again = min(_AGAIN, self._pause / 10)

    def give(self, session: Session, now: float) -> bool:
        """Whether a browser is to be given a newer cookie, and not just was; it is, then."""
        which = (session.key, session.touched_at)
        if now - self._given.get(which, -math.inf) < self._again:
            return False
        if len(self._given) >= self._most:
            self._given.clear()
        self._given[which] = now
        return True

    def note(self, session: SealedSession) -> None:
        """Note a later expiry of a session."""
        if len(self._latest) >= self._most:
            self._latest.clear()
            self._written.clear()
        self._latest[session.key] = session
        if self._marks is None:
            return
        # Many cookies of one session may be renewed; the store needs to hear of it once.
        written = self._written.get(session.key, -math.inf)
        if session.touched_at - written >= self._pause:
            self._written[session.key] = session.touched_at
            self._marks.touch_soon(session)

    def latest(self, session: SealedSession) -> SealedSession:
        """Return a session with the latest expiry that was noted."""
        return later(session, self._latest.get(session.key))


def later(session: SealedSession, other: Session | None) -> SealedSession:
    """Return a session with another's times, if these are later."""
    if other is None or other.touched_at <= session.touched_at:
        return session
    return replace(session, touched_at=other.touched_at, expires_at=other.expires_at)
