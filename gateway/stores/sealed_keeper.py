"""Begin, renew and end sessions that are kept in their cookies.

Where there is a store, it knows of each session, so that they can be listed, and what counts
against it (``rules.not_before``), so that it can be ended. Without one a session lives until its
end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields, replace
from os import urandom
from typing import Any

import msgspec

from gateway.errors import SessionTooLarge, StoreUnavailable
from gateway.formats import chunks, sealed
from gateway.formats.cookie_seal import CookieSeal
from gateway.model import (
    Lifetime,
    Renewal,
    SealedSession,
    Session,
    SessionId,
    SessionKey,
    Token,
    User,
)
from gateway.rules import not_before
from gateway.rules.not_before import EVERY_PROVIDER
from gateway.rules.sessions import same_rights, touched
from gateway.stores.begun import Begun, Changed, Visit
from gateway.stores.keeper import Keeper
from gateway.stores.marks import Marks
from gateway.stores.protocol import SessionStore
from gateway.stores.sealed_sessions import SealedSessions

_TRIES = 10


class SealedKeeper(Keeper):
    """A ``Keeper`` whose tokens are the sessions themselves.

    Besides ``StoreUnavailable``, what gives somebody a cookie raises ``SessionTooLarge``.
    """

    def __init__(
        self,
        store: SessionStore,
        lifetime: Lifetime,
        *,
        ring: CookieSeal,
        cookie: str,
        piece: int | None = None,
        sessions: SealedSessions | None = None,
        max_per_user: int | None = None,
        wall: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = urandom,
    ) -> None:
        """Take what sessions are made of.

        Args:
            ring: What seals them.
            cookie: The cookie's name.
            piece: Characters that one cookie takes; None: as many as fit.
            sessions: Opens what browsers present; None: there are none.
        """
        super().__init__(store, lifetime, max_per_user=max_per_user, wall=wall, random=random)
        self._ring = ring
        self._cookie = cookie
        self._piece = piece
        self._sessions = sessions
        self._marks = Marks(store, max_age=lifetime.max_age, wall=wall, random=random)

    async def renew(self, session: Session) -> Begun | None:
        """Seal a session anew: with a later expiry, or with other rights.

        With other rights the cookie that it had is nothing from now on. None: somebody else was
        faster, or it is gone.
        """
        mine = _sealed(session)
        new = touched(replace(mine, renewal=None), self._lifetime, now=self._wall())
        if mine.renewal is not Renewal.AT_ONCE:
            begun = Begun(session=new, token=self._seal(new))
            if self._sessions is not None:
                self._sessions.moved(new)
            return begun
        there, of_user = await self._store.load([mine.key, not_before.user_key(mine.user.id)])
        since = not_before.since_when_moved(mine, there, of_user)
        if since is None:
            return None
        handle = self._random(sealed.HANDLE_BYTES)
        new = replace(new, handle=handle, key=sealed.key_for(handle), since=since)
        token = self._seal(new)
        if not await self._marks.end(mine, there, moved_to=new.key):
            return None
        kept = _listed(new)
        if there is not None:
            kept = replace(kept, device=there.device, address=there.address)
        await self._store.create(kept)
        return Begun(session=new, token=token)

    async def change(
        self,
        session: Session,
        to: Callable[[Session], Awaitable[tuple[User, Mapping[str, Any]]]],
    ) -> Changed | None:
        """Change the user and the data of a session; None: it is gone.

        The browser is to be given a new cookie in any case. Of two changes at the same moment the
        one counts whose cookie the browser keeps.
        """
        mine = _sealed(session)
        user, data = await to(mine)
        if user == mine.user and data == mine.data:
            return Changed(session=mine)
        new = replace(mine, user=user, data=data, renewal=mine.renewal or Renewal.WITH_GRACE)
        if not same_rights(user, mine.user):
            session_id = self._new_id()
            new = replace(new, id=session_id, renewal=Renewal.AT_ONCE)
        begun = await self.renew(new)
        return None if begun is None else Changed(session=begun.session, begun=begun)

    async def end(self, key: SessionKey) -> bool:
        """End the session that a cookie holds; True: it lived."""
        session = await self._at(key)
        if session is not None:
            await self._end(session)
        return session is not None

    async def revoke_user(
        self, user_id: str, *, provider: str | None = None, spare: SessionId | None = None
    ) -> int:
        """End all sessions of a user, or all but one; return how many the store knew of."""
        spared = None if spare is None else await self.find(spare)
        keys = () if spared is None else (spared.key,)
        await self._marks.change(
            user_id,
            provider or EVERY_PROVIDER,
            lambda mark, now: msgspec.structs.replace(mark, ended_at=now, spared=keys),
        )
        ended = 0
        for _ in range(_TRIES):
            sessions = await self.of_user(user_id, provider=provider)
            sessions = [session for session in sessions if session.key not in keys]
            if not sessions:
                return ended
            for session in sessions:
                await self._end(session)
            ended += len(sessions)
        raise StoreUnavailable("sessions begin faster than they can be ended")

    async def set_roles(
        self, user_id: str, roles: tuple[str, ...], *, provider: str | None = None
    ) -> list[Session]:
        """Give a user other roles in all live sessions; return those that the store knows.

        They count at once. Each gets a new cookie at its next request, and the old one is worth
        nothing from then on; unless the roles are the same.
        """
        whose = provider or EVERY_PROVIDER
        sessions = await self.of_user(user_id, provider=provider)
        marks = await self._marks.change(
            user_id,
            whose,
            lambda mark, now: msgspec.structs.replace(mark, roles=roles, roles_at=now),
            after=max((session.created_at for session in sessions), default=0.0),
        )
        now = marks[whose].roles_at
        changed: dict[SessionId, Session] = {}
        for _ in range(_TRIES):
            waiting = [
                session
                for session in await self.of_user(user_id, provider=provider)
                if session.id not in changed and session.created_at <= now
            ]
            if not waiting:
                return list(changed.values())
            for session in waiting:
                new = replace(
                    session,
                    id=not_before.next_id(session.id, now),
                    user=replace(session.user, roles=roles),
                )
                if await self._store.replace(session, new):
                    changed[new.id] = new
        raise StoreUnavailable("sessions begin faster than they can be changed")

    # --- parts -------------------------------------------------------------------------------

    async def _at(self, key: SessionKey) -> Session | None:
        held = None if self._sessions is None else await self._sessions.get(key)
        return None if held is None else held.session

    async def _create(
        self,
        user: User,
        visit: Visit,
        *,
        data: Mapping[str, Any],
        remembered: bool,
        max_age: float | None = None,
    ) -> Begun:
        handle = self._random(sealed.HANDLE_BYTES)
        key = sealed.key_for(handle)
        plain = self._born(user, visit, key, data=data, remembered=remembered, max_age=max_age)
        now = plain.created_at
        values = {field.name: getattr(plain, field.name) for field in fields(Session)}
        session = SealedSession(**values, handle=handle, since=now)
        self._seal(session)  # before anything is kept of what does not fit
        if not session.anonymous:
            marks = await self._marks.change(user.id, user.provider, lambda mark, _: mark)
            session = replace(session, since=not_before.since(marks, user.provider, now))
        await self._store.create(_listed(session))
        return Begun(session=session, token=self._seal(session))

    async def _end(self, session: Session) -> None:
        key: SessionKey | None = session.key
        for _ in range(_TRIES):
            if key is None:
                return
            [there] = await self._store.load([key])
            if there is not None and not_before.is_record(there):
                key = not_before.moved_to(there)
            elif await self._marks.end(replace(session, key=key), there):
                return
        raise StoreUnavailable("a session is renewed faster than it can be ended")

    def _seal(self, session: SealedSession) -> Token:
        text = self._ring.seal(session, self._random)
        if chunks.split(self._cookie, text, self._piece) is None:
            raise SessionTooLarge(
                f"the session takes {len(text)} characters, more than {chunks.MOST} cookies hold: "
                "fewer roles, permissions or data, or session.strategy: server"
            )
        return Token(text)


def _sealed(session: Session) -> SealedSession:
    if not isinstance(session, SealedSession):
        raise TypeError("a session that is kept in a store alone")
    return session


def _listed(session: SealedSession) -> Session:
    """Return what a store keeps of a session: enough to list it."""
    values = {field.name: getattr(session, field.name) for field in fields(Session)}
    return Session(**values | {"data": {}})
