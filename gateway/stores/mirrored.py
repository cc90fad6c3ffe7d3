"""Our sessions, which an app behind us finds in its own tables as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from gateway.model import Session, SessionId, SessionKey
from gateway.stores.foreign.app_rows import AppRows
from gateway.stores.protocol import SessionStore, Watcher

_PAGE = 100


class MirroredSessions:
    """A ``SessionStore`` of which each session counts only while the app has it too.

    The app finds a session by what its cookie holds: so here that is the key. What the app has no
    column for (roles, device, renewal) is in a store of ours beside. Whoever of the two ends a
    session has ended it for both: the app's row comes last and goes first.

    No copies are kept, since nobody tells when the app ends one; what we end is told at once.
    """

    def __init__(self, ours: SessionStore, rows: AppRows) -> None:
        self._ours = ours
        self._rows = rows

    async def open(self) -> None:
        """Open both."""
        await self._ours.open()
        await self._rows.open()

    async def close(self) -> None:
        """Close both."""
        await self._ours.close()
        await self._rows.close()

    async def ping(self) -> None:
        """Return if both answer."""
        await asyncio.gather(self._ours.ping(), self._rows.alive([]))

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key."""
        if not keys:
            return []
        found, alive = await asyncio.gather(self._ours.load(keys), self._rows.alive(keys))
        return [
            session if session is not None and _counts(session, alive) else None
            for session in found
        ]

    async def create(self, session: Session) -> None:
        """Keep a new session, for both."""
        await self._ours.create(session)
        await self._add(session)

    async def touch(self, session: Session) -> bool:
        """Move the expiry of a session that is still there, for both."""
        await self._rows.move(session.key, min(session.expires_at, session.ends_at))
        return await self._ours.touch(session)

    async def update(self, session: Session) -> bool:
        """Write anew what the app does not know of a session."""
        return (await self.load([session.key])) != [None] and await self._ours.update(session)

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        """Put one session in another's place, for both."""
        if await self.load([old.key]) == [None]:
            return False
        moves = new.key != old.key
        if moves:
            await self._add(new)
        done = await self._ours.replace(old, new, left=left)
        if not done:
            if moves:
                await self._rows.remove([new.key])
        elif not moves:
            await self._rows.move(new.key, new.expires_at)
        elif left is None:
            await self._rows.remove([old.key])
        else:
            await self._rows.move(old.key, left.expires_at)
        return done

    async def delete(self, key: SessionKey) -> bool:
        """End a session, for both; True if it was there."""
        return await self.delete_many([key]) > 0

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        """End several sessions."""
        await self._rows.remove(keys)
        return await self._ours.delete_many(keys)

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id."""
        session = await self._ours.find(session_id)
        counting = await self._counting([] if session is None else [session])
        return counting[0] if counting else None

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, the newest first."""
        return await self._counting(await self._ours.of_user(user_id))

    async def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions."""
        page: list[Session] = []
        async for session in self._ours.all():
            page.append(session)
            if len(page) == _PAGE:
                for one in await self._counting(page):
                    yield one
                page = []
        for one in await self._counting(page):
            yield one

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher what we change; never to trust."""
        self._ours.watch(_Teller(watcher))

    async def _add(self, session: Session) -> None:
        if not session.anonymous:
            await self._rows.add(session.key, session.user, session.expires_at)

    async def _counting(self, found: Sequence[Session]) -> list[Session]:
        if not found:
            return []
        alive = await self._rows.alive([session.key for session in found])
        return [session for session in found if _counts(session, alive)]


class _Teller(Watcher):
    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def changed(self, key: SessionKey) -> None:
        self._watcher.changed(key)

    def all_changed(self) -> None:
        self._watcher.all_changed()

    def trust(self, trusted: bool) -> None:
        """Say nothing: of what the app changes we do not hear."""


def _counts(session: Session, alive: set[str]) -> bool:
    return session.anonymous or session.key in alive
