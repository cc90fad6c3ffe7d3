"""Writes what counts against sessions that are kept in cookies; ``rules.not_before`` reads it."""

from __future__ import annotations

from collections.abc import Callable
from os import urandom

from gateway.errors import StoreUnavailable
from gateway.formats.token import ID_BYTES, new_session_id
from gateway.model import Session, SessionKey
from gateway.rules import not_before
from gateway.rules.not_before import NotBefore
from gateway.stores.protocol import SessionStore

_TRIES = 10


class Marks:
    """The records of one store.

    Args:
        max_age: Seconds that a session lives at most.
        wall: Returns Unix seconds.
        random: Returns that many bytes nobody can guess.
    """

    def __init__(
        self,
        store: SessionStore,
        *,
        max_age: float,
        wall: Callable[[], float],
        random: Callable[[int], bytes] = urandom,
    ) -> None:
        self._store = store
        self._max_age = max_age
        self._wall = wall
        self._random = random

    async def end(
        self, session: Session, there: Session | None, *, moved_to: SessionKey | None = None
    ) -> bool:
        """Let nothing that was sealed under a key count any more; False: somebody was faster.

        Args:
            there: What the store has under that key.
        """
        record = not_before.end_record(
            session.key,
            new_session_id(self._random(ID_BYTES)),
            now=self._wall(),
            ends_at=session.ends_at,
            moved_to=moved_to,
        )
        if there is not None:
            return not not_before.is_record(there) and await self._store.replace(there, record)
        return await self._put(record)

    async def change(
        self,
        user_id: str,
        provider: str,
        change: Callable[[NotBefore, float], NotBefore],
        *,
        after: float = 0.0,
    ) -> not_before.Marks:
        """Change what is known about a user's sessions; return it.

        The record is there from the first sign-in on: that one is changed, everybody hears of at
        once; not so, on some stores, that one is made.

        Args:
            change: Given the moment that this counts as, too.
            after: When something began, by another clock perhaps, that this comes after.
        """
        key, now, max_age = not_before.user_key(user_id), self._wall(), self._max_age
        for _ in range(_TRIES):
            [there] = await self._store.load([key])
            before = not_before.marks_of(there)
            moment = not_before.moment(before, max(now, after))
            new = before | {provider: change(before.get(provider, NotBefore()), moment)}
            if there is not None and new == before and there.ends_at >= now + max_age:
                return before
            # Twice: so that not every sign-in has to prolong it.
            record = not_before.user_record(
                key,
                new_session_id(self._random(ID_BYTES)),
                new,
                now=now,
                ends_at=now + 2 * max_age,
            )
            if await (self._put(record) if there is None else self._store.replace(there, record)):
                return new
        raise StoreUnavailable("what is known of a user's sessions changes too fast")

    async def _put(self, record: Session) -> bool:
        """Keep a record where there is none; False: look again."""
        try:
            await self._store.create(record)
        except StoreUnavailable:
            [there] = await self._store.load([record.key])
            if there is None:  # but something that has expired, and is not yet cleared away
                await self._store.delete(record.key)
            return False
        return True
