"""Change what is kept of a session, against whatever else happens to it at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from gateway.errors import StoreUnavailable
from gateway.model import Session, SessionId, SessionKey, Token, User
from gateway.rules.sessions import renewed, same_rights
from gateway.stores.begun import Begun, Changed
from gateway.stores.ending import others_of
from gateway.stores.protocol import SessionStore

_TRIES = 10


class _Turn:
    """Whose turn it is to change a session; there as long as somebody waits for it."""

    __slots__ = ("__weakref__", "lock", "session")

    def __init__(self, session: Session) -> None:
        self.lock = asyncio.Lock()
        self.session = session
        """Under its last id: those who wait may know an older one."""


class Changing:
    """The changes to sessions of one store.

    Args:
        key_for: Says under what the store keeps the session of a token.
        new_token: Returns a token that nobody had before.
        new_id: Returns an id that no session had before.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        key_for: Callable[[Token], SessionKey],
        new_token: Callable[[], Token],
        new_id: Callable[[], SessionId],
    ) -> None:
        self._store = store
        self._key_for = key_for
        self._new_token = new_token
        self._new_id = new_id
        self._turns: WeakValueDictionary[SessionId, _Turn] = WeakValueDictionary()

    async def change(
        self,
        session: Session,
        to: Callable[[Session], Awaitable[tuple[User, Mapping[str, Any]]]],
    ) -> Changed | None:
        """Change the user and the data of a session, as ``Keeper.change`` says."""
        turn = self._turns.setdefault(session.id, _Turn(session))
        async with turn.lock:
            for _ in range(_TRIES):
                now = await self._now(turn.session)
                if now is None:
                    return None
                user, data = await to(now)
                if user == now.user and data == now.data:
                    return Changed(session=now)
                if same_rights(user, now.user):
                    new = replace(now, user=user, data=data)
                    if await self._store.update(new):
                        return Changed(session=new)
                elif begun := await self._with_other_rights(now, user, data):
                    turn.session = begun.session
                    return Changed(session=begun.session, begun=begun)
        raise StoreUnavailable("a session changes faster than it can be changed")

    async def _now(self, session: Session) -> Session | None:
        """Return what a session is by now, wherever a new token has moved it."""
        found = await self._at(session.key)
        if found is not None and found.replaced_by is not None:
            found = await self._at(found.replaced_by)
        return await self._store.find(session.id) if found is None else found

    async def _at(self, key: SessionKey) -> Session | None:
        [session] = await self._store.load([key])
        return session

    async def _with_other_rights(
        self, session: Session, user: User, data: Mapping[str, Any]
    ) -> Begun | None:
        token = self._new_token()
        new = renewed(session, self._key_for(token))
        new = replace(new, id=self._new_id(), user=user, data=data)
        if not await self._store.replace(session, new):
            return None
        # Something may still answer there, with the rights that it had.
        if others := await others_of(self._store, session):
            await self._store.delete_many(others)
        return Begun(session=new, token=token)
