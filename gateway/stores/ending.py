"""End a session wherever it answers, whatever happens to its token at the same moment."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import StoreUnavailable
from gateway.model import Session, SessionKey
from gateway.stores.protocol import SessionStore

_TRIES = 10


async def end(store: SessionStore, session: Session) -> None:
    """End this session, and what it became meanwhile."""
    found: Session | None = session
    for _ in range(_TRIES):
        if found is None:
            return
        # By itself, for what it says: nothing there means that somebody was faster.
        there = await store.delete_many([found.key])
        if others := await others_of(store, found):
            await store.delete_many(others)
        # A renewal at this very moment has moved it to a key that was not known yet.
        moved = await store.find(session.id)
        found = await _successor(store, found) if moved is None and not there else moved
    raise StoreUnavailable("a session is renewed faster than it can be ended")


async def keys_of(store: SessionStore, sessions: Iterable[Session]) -> list[SessionKey]:
    """Return every key under which something of these sessions answers."""
    seen: dict[SessionKey, None] = {}
    asked = list(sessions)
    while asked:
        seen.update((session.key, None) for session in asked)
        others = {
            key
            for session in asked
            for key in (session.replaces, session.replaced_by)
            if key is not None and key not in seen
        }
        asked = [one for one in await store.load(list(others)) if one] if others else []
    return list(seen)


async def others_of(store: SessionStore, session: Session) -> list[SessionKey]:
    """Return every other key under which something of a session answers."""
    return [key for key in await keys_of(store, [session]) if key != session.key]


async def _successor(store: SessionStore, session: Session) -> Session | None:
    """Return what a session became that got other rights, and so another id."""
    sessions = await store.of_user(session.user.id)
    return next((one for one in sessions if one.replaces == session.key), None)
