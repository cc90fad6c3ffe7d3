"""Begin, renew, list and end sessions: what sign-in, command line, account page and admin API do.

Every promise holds against what happens at the same moment: a token that is being renewed, another
sign-in, another process.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from os import urandom
from typing import Any

from gateway.errors import StoreUnavailable
from gateway.formats.token import (
    ID_BYTES,
    TOKEN_BYTES,
    checked,
    key_for,
    new_session_id,
    new_token,
)
from gateway.model import ANONYMOUS, Lifetime, Renewal, Session, SessionId, SessionKey, Token, User
from gateway.rules.sessions import born, left_behind, renewed, with_roles
from gateway.stores.begun import Begun, Changed, Visit
from gateway.stores.changing import Changing
from gateway.stores.ending import end, keys_of, others_of
from gateway.stores.protocol import SessionStore

_TRIES = 10


class Keeper:
    """Looks after the sessions of one store.

    Every method raises ``StoreUnavailable`` where the store does.
    """

    def __init__(
        self,
        store: SessionStore,
        lifetime: Lifetime,
        *,
        max_per_user: int | None = None,
        new_token: Callable[[], object] | None = None,
        key_for: Callable[[Token], SessionKey] = key_for,
        wall: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = urandom,
    ) -> None:
        """Take what sessions are made of.

        Args:
            max_per_user: Sessions that a user may have at once; None: any number.
            new_token: The operator's own, which returns a text that nobody can guess and that was
                not there before; None: as we make them ourselves.
            key_for: Says under what the store keeps the session of a token.
            wall: Unix seconds.
            random: That many bytes nobody can guess.
        """
        self._store = store
        self._lifetime = lifetime
        self._max_per_user = max_per_user
        self._operators = new_token
        self._key_for = key_for
        self._wall = wall
        self._random = random
        self._changing = Changing(
            store, key_for=key_for, new_token=self._new_token, new_id=self._new_id
        )

    # --- one browser -------------------------------------------------------------------------

    async def begin(
        self,
        user: User,
        visit: Visit,
        *,
        presented: SessionKey | None = None,
        data: Mapping[str, Any] | None = None,
        remembered: bool = True,
        max_age: float | None = None,
    ) -> Begun:
        """Sign a user in: a session with a token that nobody had before.

        Args:
            presented: The key of the cookie that came with the sign-in. It may have been planted:
                that session ends, and the new one takes over nothing but the data of a visitor.
            data: What to keep besides.
            max_age: Seconds that it lives at most, below what is configured; None: as configured.
        """
        before = None if presented is None else await self._at(presented)
        kept = dict(before.data) if before is not None and before.anonymous else {}
        kept.update(data or {})
        begun = await self._create(user, visit, data=kept, remembered=remembered, max_age=max_age)
        if presented is not None:
            await self.end(presented)
        if self._max_per_user is not None:
            sessions = await self.of_user(user.id, provider=user.provider)
            for session in sessions[self._max_per_user :]:
                await self._end(session)
        return begun

    async def visit(self, visit: Visit) -> Begun:
        """Begin the session of a visitor whom nobody knows."""
        return await self._create(ANONYMOUS, visit, data={}, remembered=True)

    async def renew(self, session: Session) -> Begun | None:
        """Exchange the token of a session that is to be renewed.

        None: somebody else did so at the same moment, or it is gone; ask the store again for what
        the old token is worth now.
        """
        token = self._new_token()
        new = renewed(session, self._key_for(token))
        left = left_behind(session, new, now=self._wall())
        if not await self._store.replace(session, new, left=left):
            return None
        return Begun(session=new, token=token)

    async def change(
        self,
        session: Session,
        to: Callable[[Session], Awaitable[tuple[User, Mapping[str, Any]]]],
    ) -> Changed | None:
        """Change the user and the data of a session; None: it is gone.

        Where the roles or permissions are others, it gets a new id and a new token in the same
        step, and the old token is worth nothing from then on. Changes of one process wait for each
        other. Of two that are made in different ones at the same moment the later counts, as a
        whole; unless one is a change of rights: that one is never lost.

        Args:
            to: Returns what becomes of the session as it is now. May be asked again, about a
                session that has changed meanwhile.
        """
        return await self._changing.change(session, to)

    async def end(self, key: SessionKey) -> bool:
        """End the session that a token opens, wherever a renewal has moved it; True: it lived."""
        session = await self._at(key)
        if session is None:
            # What cannot be read as a session goes as well.
            return await self._store.delete(key)
        await self._end(session)
        return True

    # --- all of them -------------------------------------------------------------------------

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        return await self._store.find(session_id)

    async def of_user(self, user_id: str, *, provider: str | None = None) -> list[Session]:
        """Return a user's live sessions, the newest first.

        Args:
            provider: None: of every provider that knows a user with this id.
        """
        sessions = [
            session
            for session in await self._store.of_user(user_id)
            if provider is None or session.user.provider == provider
        ]
        # By the id as well, so that all who look at once see the same one as the oldest.
        return sorted(sessions, key=lambda session: (session.created_at, session.id), reverse=True)

    async def revoke(self, session_id: SessionId) -> Session | None:
        """End the session with this public id; return it as it was, or None."""
        session = await self._store.find(session_id)
        if session is not None:
            await self._end(session)
        return session

    async def revoke_user(
        self, user_id: str, *, provider: str | None = None, spare: SessionId | None = None
    ) -> int:
        """End all sessions of a user, or all but one; return how many there were."""
        ended = 0
        for _ in range(_TRIES):
            sessions = await self.of_user(user_id, provider=provider)
            sessions = [session for session in sessions if session.id != spare]
            if not sessions:
                return ended
            await self._store.delete_many(await keys_of(self._store, sessions))
            ended += len(sessions)
        raise StoreUnavailable("sessions begin faster than they can be ended")

    async def set_roles(
        self, user_id: str, roles: tuple[str, ...], *, provider: str | None = None
    ) -> list[Session]:
        """Give a user other roles in all live sessions; return these, with their new ids.

        They count at once. Each gets a new token at its next request, and the old one is worth
        nothing from then on; unless the roles are the same: then it gets a grace.
        """
        changed: dict[SessionId, Session] = {}
        for _ in range(_TRIES):
            sessions = await self.of_user(user_id, provider=provider)
            waiting = [session for session in sessions if session.id not in changed]
            if not waiting:
                return list(changed.values())
            for session in waiting:
                new = with_roles(session, roles, self._new_id())
                if await self._store.replace(session, new):
                    changed[new.id] = new
                    if new.renewal is Renewal.AT_ONCE and (
                        others := await others_of(self._store, new)
                    ):
                        await self._store.delete_many(others)
        raise StoreUnavailable("sessions begin faster than they can be changed")

    # --- parts -------------------------------------------------------------------------------

    async def _create(
        self,
        user: User,
        visit: Visit,
        *,
        data: Mapping[str, Any],
        remembered: bool,
        max_age: float | None = None,
    ) -> Begun:
        token = self._new_token()
        key = self._key_for(token)
        session = self._born(user, visit, key, data=data, remembered=remembered, max_age=max_age)
        await self._store.create(session)
        return Begun(session=session, token=token)

    def _born(
        self,
        user: User,
        visit: Visit,
        key: SessionKey,
        *,
        data: Mapping[str, Any],
        remembered: bool,
        max_age: float | None,
    ) -> Session:
        lifetime = self._lifetime
        if max_age is not None:
            lifetime = replace(lifetime, max_age=min(max_age, lifetime.max_age))
        return born(
            user,
            key,
            self._new_id(),
            lifetime,
            now=self._wall(),
            data=data,
            device=visit.device,
            address=visit.address,
            remembered=remembered,
        )

    async def _end(self, session: Session) -> None:
        await end(self._store, session)

    async def _at(self, key: SessionKey) -> Session | None:
        [session] = await self._store.load([key])
        return session

    def _new_id(self) -> SessionId:
        return new_session_id(self._random(ID_BYTES))

    def _new_token(self) -> Token:
        if self._operators is not None:
            return checked(self._operators())
        return new_token(self._random(TOKEN_BYTES))
