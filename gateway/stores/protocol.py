"""What every session store promises; ``tests/stores/contract.py`` holds each of them to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from gateway.model import Session, SessionId, SessionKey


class Watcher(Protocol):
    """Whoever keeps copies of sessions, and must hear when one is no longer true.

    Called on the event loop; returns at once.
    """

    def changed(self, key: SessionKey) -> None:
        """The session under this key was changed or removed, by anybody; or made, in this process.

        That somebody else has made one need not be told: a key is random, so nobody has asked
        before.
        """

    def all_changed(self) -> None:
        """All sessions were changed or removed at once: nothing of before is true, not even as far
        as who asked for it would put up with.
        """

    def trust(self, trusted: bool) -> None:
        """Say whether changes are heard at all. From True on, they are; on False, copies count as
        unverified, and those made before the next True must be thrown away.
        """


class Codec(Protocol):
    """Turns a session into the bytes that a store keeps of it, and back; knows about secrets, so
    that stores need not.

    Neither holds ``touched_at`` and ``expires_at``, which a store keeps beside them.
    """

    def encode(self, session: Session) -> bytes:
        """Return what is kept of a session, good under its key alone."""
        ...

    def decode(
        self, key: SessionKey, payload: bytes, touched_at: float, expires_at: float
    ) -> Session:
        """Return the session that is kept under this key.

        Raises:
            CorruptRecord: It cannot be read: not ours, newer than we are, or sealed under a secret
                that we do not have.
        """
        ...


class LookupStore(Protocol):
    """Where sessions are looked up by their key, whoever makes them: all that copies are kept of.

    Every method raises ``StoreUnavailable`` when the backend does not answer within the store's
    time limit, and nothing else for a fault of the backend.
    """

    async def open(self) -> None:
        """Make the store usable (create tables, connect). Called once, before anything else."""

    async def close(self) -> None:
        """Release everything. Safe to call twice."""

    async def ping(self) -> None:
        """Return if the backend can answer now."""

    async def load(self, keys: Sequence[SessionKey]) -> list[Session | None]:
        """Return the session under each key, in order, in one round trip.

        None where there never was one, where it ended, and where it expired. What cannot be read
        as a session is None too, and is logged: a broken record signs nobody in.
        """
        ...

    async def touch(self, session: Session) -> bool:
        """Move ``touched_at`` and ``expires_at`` of a session that is still there; True if done.

        Never brings back one that was deleted, and changes nothing else of it.
        """
        ...

    async def find(self, session_id: SessionId) -> Session | None:
        """Return the live session with this public id; None also where none is looked up by it."""

    def watch(self, watcher: Watcher) -> None:
        """Tell this watcher of every change from now on until ``close``.

        Who is never told to trust hears of none, and keeps no copies.
        """


class SessionStore(LookupStore, Protocol):
    """Keeps sessions by the hash of their token.

    A session that nobody has signed in to (``Session.anonymous``) is no user's: ``of_user`` never
    finds it.
    """

    async def create(self, session: Session) -> None:
        """Keep a new session until ``expires_at``.

        Where there is one under its key, that one stays, and this raises ``StoreUnavailable``.
        """

    async def update(self, session: Session) -> bool:
        """Write anew what is kept of a session, but for its key, ids and times; True if it was
        there.

        It is there if what lies under its key is alive and has its id: what was deleted, expired or
        replaced meanwhile does not come back. Of two updates the later one counts. Its
        ``touched_at`` and ``expires_at`` stay as the store has them, and copies are told.
        """
        ...

    async def replace(self, old: Session, new: Session, *, left: Session | None = None) -> bool:
        """Put one session in another's place, in one step; True if it was done.

        Done only if what lies under ``old.key`` is alive, has ``old.id``, and was not replaced
        itself: of many who try at once, one succeeds. The new one may have the key of the old one,
        or its id, or its user, or none of them; not the key of a third, as with ``create``.

        Args:
            left: What stays under the old key (which it has, too) until its own ``expires_at``;
                its ``replaced_by`` is set. ``load`` alone finds it: no id, user or ``all`` does.
                It cannot be touched beyond its ``ends_at``, updated or replaced; deleting it takes
                nothing else away.
        """
        ...

    async def delete(self, key: SessionKey) -> bool:
        """End a session; True if it was there."""

    async def delete_many(self, keys: Sequence[SessionKey]) -> int:
        """End several sessions at once; return how many were there."""
        ...

    async def of_user(self, user_id: str) -> list[Session]:
        """Return a user's live sessions, of any provider, the newest first."""

    def all(self) -> AsyncIterator[Session]:
        """Go through all live sessions, in no particular order, never loading them all."""
