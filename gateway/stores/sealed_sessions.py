"""Sessions that are kept in their cookies: opened once, and held to what a store knows of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import structlog

from gateway.errors import BadCookie, CorruptRecord
from gateway.formats.cookie_seal import CookieSeal
from gateway.model import Lifetime, Renewal, SealedSession, Session, SessionKey
from gateway.rules import not_before
from gateway.rules.sessions import is_over, touched
from gateway.stores.cached import CachedSessions
from gateway.stores.held import Held
from gateway.stores.presented import InHand, Presented
from gateway.stores.protocol import SessionStore, Watcher
from gateway.stores.sealed_expiries import Expiries, later

log = structlog.get_logger()

_Marks = tuple[Held | None, Held | None]
"""What the store has under the session's key and for its user."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Opened(Held):
    """A session that was opened, and what the store knew of it then."""

    as_sealed: SealedSession
    asked: tuple[SessionKey, ...]
    """Under what the store may know something of it."""
    marks: _Marks = (None, None)
    as_of: int = -1
    """The number of changes heard by then."""


class SealedSessions(Watcher):
    """Opens cookies, and remembers what was in them. ``LiveSessions`` says what each method is for.

    Args:
        marks: What the store knows against sessions; None: there is no store.
        wall: Returns Unix seconds.
    """

    def __init__(
        self,
        store: SessionStore,
        marks: CachedSessions | None,
        *,
        ring: CookieSeal,
        lifetime: Lifetime,
        wall: Callable[[], float],
        max_entries: int = 50_000,
    ) -> None:
        self._marks = marks
        self._ring = ring
        self._lifetime = lifetime
        self._wall = wall
        # Two generations, as in ``CachedSessions``.
        self._young: dict[SessionKey, _Opened] = {}
        self._old: dict[SessionKey, _Opened] = {}
        self._half = max(1, max_entries // 2)
        self._expiries = Expiries(lifetime, marks, most=2 * self._half)
        self._changes = 0
        if marks is not None:
            store.watch(self)

    def use(self, ring: CookieSeal) -> None:
        """Open cookies with these keys from now on."""
        self._ring = ring
        self._young = {}
        self._old = {}

    @property
    def resting(self) -> bool:
        """Whether the store has not answered lately."""
        return self._marks is not None and self._marks.resting

    def peek(self, key: SessionKey, now: float) -> Held | None:
        """Return the session if it was opened already, and nothing was heard against it since."""
        opened = self._young.get(key)
        if opened is None:
            if key not in self._old:
                return None
            opened = self._old.pop(key)
            self._keep(key, opened)
        if opened.as_of != self._changes and not self._still(opened):
            return None
        if now < opened.session.expires_at:
            return opened
        del self._young[key]
        return None

    async def get(self, key: SessionKey, *, stale_for: float = 0.0) -> Held | None:
        """Return the session in a cookie, if nothing is known against it."""
        if isinstance(key, InHand):
            return await self.current(key.session)
        now = self._wall()
        held = self.peek(key, now)
        if held is not None:
            return held
        ring, as_sealed = self._ring, self._open(key, now)
        if as_sealed is None:
            return None
        asked = _asked(as_sealed)
        marks = await self._ask(asked, stale_for)
        session = self._judge(as_sealed, marks)
        known = self._drop(key)
        if session is None:
            return None
        if any(mark is not None and mark.stale for mark in marks):
            return Held(session, stale=True)
        if ring is not self._ring:  # what opened it may not be among the keys any more
            return Held(session)
        if known is None or known.session != session:
            known = _Opened(session=session, as_sealed=as_sealed, asked=asked)
        known.marks = marks
        self._still(known)
        self._keep(key, known)
        return known

    async def current(self, session: Session) -> Held | None:
        """Return what a session is by now, as far as this process and the store know."""
        if not isinstance(session, SealedSession):
            return None
        now = self._wall()
        session = self._expiries.latest(session)
        if self._marks is None:
            return None if is_over(session, now) else Held(session)
        marks = await self._ask(_asked(session), 0.0)
        [of_session, _] = marks
        if of_session is not None:
            moved = not_before.moved_to(of_session.session)
            if not_before.is_record(of_session.session) and moved is not None:
                there = await self._marks.get(moved)
                return None if there is None else await self.current(_as_listed(session, there))
            # Another process may have moved its expiry.
            session = later(session, of_session.session)
        judged = self._judge(session, marks)
        return None if judged is None or is_over(judged, now) else Held(judged)

    def forget(self, key: SessionKey) -> None:
        """Ask the store the next time."""
        opened = self._drop(key)
        as_sealed = self._open(key, self._wall()) if opened is None else opened.as_sealed
        if self._marks is not None and as_sealed is not None:
            for each in _asked(as_sealed):
                self._marks.forget(each)

    def changed(self, key: SessionKey) -> None:
        """Look again at what was opened, before it is believed again."""
        self._changes += 1

    def all_changed(self) -> None:
        """Look again at what was opened."""
        self._changes += 1

    def trust(self, trusted: bool) -> None:
        """Look again at what was opened."""
        self._changes += 1

    def touch_soon(self, session: Session) -> Held:
        """Return the session as one whose cookie is to be renewed, unless that was just done."""
        if not self._expiries.give(session, self._wall()):
            return Held(session)
        return Held(replace(session, renewal=session.renewal or Renewal.WITH_GRACE))

    def slide(self, session: Session) -> Session:
        """Move the expiry for what goes on in this process, and in the store."""
        moved = touched(session, self._lifetime, now=self._wall())
        if isinstance(moved, SealedSession):
            self.moved(moved)
        return moved

    def moved(self, session: SealedSession) -> None:
        """Note a later expiry of a session."""
        self._expiries.note(session)

    def key_of(self, session: Session) -> SessionKey:
        """Return a key that needs no cookie to be opened."""
        if not isinstance(session, SealedSession):
            return session.key
        key = InHand(session.key)
        key.session = session
        return SessionKey(key)

    def told_under(self, session: Session) -> tuple[SessionKey, ...]:
        """Return the keys of what the store may have against the session."""
        return _asked(session)

    def steady(self, key: SessionKey) -> str:
        """Return what stays the same for a session while its cookies change."""
        opened = self._young.get(key) or self._old.get(key)
        session = self._open(key, self._wall()) if opened is None else opened.session
        return "" if session is None else session.key

    async def close(self) -> None:
        """Write what is pending, and stop."""
        if self._marks is not None:
            await self._marks.close()

    # --- parts -------------------------------------------------------------------------------

    def _open(self, key: SessionKey, now: float) -> SealedSession | None:
        known = self._young.get(key)
        if known is not None:
            return None if is_over(known.as_sealed, now) else known.as_sealed
        if not isinstance(key, Presented):
            return None
        try:
            return self._ring.unseal(key.text, now=now)
        except BadCookie:
            return None

    async def _ask(self, keys: Sequence[SessionKey], stale_for: float) -> _Marks:
        marks = self._marks
        if marks is None:
            return None, None
        of_session, *of_user = await asyncio.gather(
            *(marks.get(key, stale_for=stale_for) for key in keys)
        )
        return of_session, of_user[0] if of_user else None

    def _still(self, opened: _Opened) -> bool:
        """Whether the store, as far as it is heard, knows the same of a session as it did."""
        marks = self._marks
        if marks is not None:
            now = self._wall()
            for key, known in zip(opened.asked, opened.marks, strict=False):
                if known is None or marks.peek(key, now) is not known:
                    return False
        opened.as_of = self._changes
        return True

    def _judge(self, session: SealedSession, marks: _Marks) -> SealedSession | None:
        of_session, of_user = (None if mark is None else mark.session for mark in marks)
        try:
            return not_before.judged(session, of_session, of_user)
        except CorruptRecord as exc:
            log.warning("corrupt_record", store="session.store", error=str(exc))
            return None

    def _keep(self, key: SessionKey, opened: _Opened) -> None:
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        # A copy of the key, without the cookie: that is held by whoever presents it.
        self._young[SessionKey(str(key))] = opened

    def _drop(self, key: SessionKey) -> _Opened | None:
        young, old = self._young.pop(key, None), self._old.pop(key, None)
        return young or old


def _asked(session: Session) -> tuple[SessionKey, ...]:
    if session.anonymous:
        return (session.key,)
    return session.key, not_before.user_key(session.user.id)


def _as_listed(session: SealedSession, listed: Held) -> SealedSession:
    """Return what a session became under another cookie, by what the store keeps of it."""
    kept = listed.session
    values = {field.name: getattr(kept, field.name) for field in fields(Session)}
    return SealedSession(
        **values | {"data": session.data}, handle=b"", since=max(session.since, kept.touched_at)
    )
